"""Who has applied what: acknowledgements of one invalidation, registrations of the dead (R16, R19).

Decides from what replicas registered; asks nobody. Never by the server's clock, which may jump: that only
tells people how long a replica has been silent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import NamedTuple

from proxy.fleet.log import Registration, Survey
from proxy.model import Position


class Reach(NamedTuple):
    """How many replicas are registered, and which of them have not applied a record."""

    known: int
    missing: tuple[str, ...]

    @property
    def acknowledged(self) -> int:
        """Those that have."""
        return self.known - len(self.missing)


def reach_of(target: Position, replicas: Mapping[str, str], is_in_log: Callable[[Position], bool]) -> Reach:
    """Which registrations reach `target`. One of an epoch that the log does not have says nothing."""
    missing = [name for name, text in replicas.items() if not _has_reached(text, target, is_in_log)]
    return Reach(len(replicas), tuple(sorted(missing)))


def _has_reached(text: str, target: Position, is_in_log: Callable[[Position], bool]) -> bool:
    position = Registration.decode(text).position
    return position is not None and is_in_log(position) and position >= target


class Standing(NamedTuple):
    """Where one replica stands, as it said with its last poll."""

    name: str
    position: Position | None
    """The newest record that it has applied; None: it has not read the log yet."""
    behind_records: int | None
    """How many newer ones the log has, `Survey.most` at most; None: its position is of another log."""
    silent_seconds: float | None
    """Since that poll, by the server's clock."""


def standings_of(survey: Survey, is_in_log: Callable[[Position], bool]) -> list[Standing]:
    """All that are registered, the longest silent first."""
    standings = [_standing(name, text, survey, is_in_log) for name, text in survey.replicas.items()]
    return sorted(standings, key=lambda one: (-(one.silent_seconds or 0.0), one.name))


def _standing(name: str, text: str, survey: Survey, is_in_log: Callable[[Position], bool]) -> Standing:
    said = Registration.decode(text)
    behind, silent_seconds = None, None
    if said.position is not None and is_in_log(said.position):
        place = (said.position.ms, said.position.seq)
        behind = bisect_left(survey.newest, True, key=lambda id_: id_ <= place)
    if said.polled_ms is not None:
        silent_seconds = max(0, survey.server_ms - said.polled_ms) / 1000
    return Standing(name, said.position, behind, silent_seconds)


class Census:
    """Notices registrations that no longer change. `silent_seconds` is our own monotonic time."""

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._seen: dict[str, tuple[str, float]] = {}

    def silent(self, replicas: Mapping[str, str], *, now: float) -> dict[str, str]:
        """Those that stayed the same for longer than any replica trusts the log without reading it."""
        seen: dict[str, tuple[str, float]] = {}
        for name, text in replicas.items():
            known = self._seen.get(name)
            seen[name] = known if known is not None and known[0] == text else (text, now)
        self._seen = seen
        return {name: text for name, (text, since) in seen.items() if now - since > self._silent_seconds}
