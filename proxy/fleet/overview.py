"""The fleet as one replica shows it to people: itself as it is, others as they said with their last polls.

The server is asked when somebody looks and never by a poll; whoever looks gets an answer in time, also where
the server gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.fleet.log import Condition, LogFailure, Survey
from proxy.fleet.reach import Standing, standings_of
from proxy.model import Position

MOST_SHOWN = 1_000
"""Replicas, the longest silent first."""

Facts = Mapping[str, object]


class Surveyor(Protocol):
    """Who can say where all replicas stand; it has a deadline."""

    async def survey(self) -> Survey | LogFailure:
        """Who is registered, and what they lack."""


class OwnLog(Protocol):
    """This replica's log."""

    @property
    def known(self) -> int:
        """How many replicas were registered when the server answered last."""

    def condition(self) -> Condition:
        """How its copy is now."""

    def places_of(self, tail: Position) -> Callable[[Position], bool]:
        """Which positions are places of a log that ends at `tail`."""


class Overview:
    """What `/stats` says of the fleet; `name` is this replica's."""

    def __init__(self, name: str, surveyor: Surveyor, log: OwnLog) -> None:
        self._name = name
        self._surveyor = surveyor
        self._log = log

    async def facts(self) -> Facts:
        """Ready to be shown. `replicas` is null, and `detail` says why, where the server cannot tell."""
        survey = await self._surveyor.survey()
        here = [_own_facts(self._name, self._log.condition())]
        if isinstance(survey, LogFailure):
            detail = f"Redis does not say where they are: {survey.detail}"
            return {"here": here, "known": self._log.known, "replicas": None, "detail": detail}
        is_place = self._log.places_of(survey.tail) if survey.tail is not None else _is_nowhere
        standings = standings_of(survey, is_place)
        shown = [_facts(standing) for standing in standings[:MOST_SHOWN]]
        return {"here": here, "known": len(standings), "replicas": shown, "detail": None}


def _own_facts(name: str, condition: Condition) -> Facts:
    return {
        "name": name,
        "state": "trusted" if condition.is_synced else "unsynced",
        "state_seconds": _rounded(condition.state_seconds),
        "lag_seconds": _rounded(condition.lag_seconds),
        **_place(condition.position),
        "unpublished": condition.unpublished,
    }


def _facts(standing: Standing) -> Facts:
    return {
        "name": standing.name,
        **_place(standing.position),
        "behind_records": standing.behind_records,
        "silent_seconds": _rounded(standing.silent_seconds),
    }


def _place(position: Position | None) -> Facts:
    """As the `id` in the answer to a purge, and the number of its epoch."""
    if position is None:
        return {"epoch": None, "position": None}
    return {"epoch": position.number, "position": f"{position.ms}-{position.seq}"}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _is_nowhere(_position: Position) -> bool:
    return False
