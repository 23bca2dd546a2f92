"""The words of the invalidation log: what is appended, what a read gives, what a server must be able to do.

`local_log.py` and `redis_log.py` are the two logs that the engine can be given; this file knows neither.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from proxy.model import Position
from proxy.policy.invalidation import Record, Selector

Id = tuple[int, int]
"""A record's id in its stream: (ms, seq)."""
WhenUnsynced = Literal["short", "serve", "bypass"]


def boot_clock() -> float:
    """Monotonic seconds that also pass while the machine is suspended, where the system has such a clock.

    A replica that slept through a purge must notice that it has not read the log for long (R15).
    """
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Appended:
    """How far an invalidation has come; this replica has applied it in any case."""

    id: str
    """The record's id in the log; its uid while it is not published."""
    published: bool
    """The record is in the log. False: kept, and appended once the log's server answers again."""
    known: int
    """Registered replicas, this one included."""
    acknowledged: int
    """How many of them have said that they applied it; without `wait` only this one is counted."""
    missing: tuple[str, ...] = ()
    """Those that have not said so in time."""
    complete: bool = False
    """No replica, also no future one, serves what was purged before (R19)."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be appended, under a uid that it keeps however often it is tried."""

    uid: str
    selectors: tuple[Selector, ...]
    soft: bool

    def at(self, position: Position) -> Record:
        """The record that it has become. Its predecessor was not told: only the reader asks for that."""
        return Record(position, (0, 0), self.uid, self.selectors, self.soft)


class Page(NamedTuple):
    """One poll's answer: what follows the asked id, as far as it fits."""

    records: Sequence[Record | None]
    """None for an entry of the stream that is no record of ours."""
    last: Id | None
    """The id of the last of them."""
    tail: Position
    """The newest record in the log: whoever has read up to there has read all of it."""
    server_ms: int
    """The server's clock, for the age of epochs only."""
    known: int
    """How many replicas are registered."""


class Roll(NamedTuple):
    """One append's answer: where each draft is, and who has applied what."""

    positions: tuple[Position, ...]
    """In the order of the drafts."""
    replicas: dict[str, str]
    """Name -> registration; empty unless asked for."""
    known: int
    """How many replicas are registered."""
    tail: Position
    """The newest record in the log: of the epoch in which all this was seen."""


class Survey(NamedTuple):
    """Who is registered and what they may lack, for people to look at."""

    replicas: dict[str, str]
    """Name -> registration."""
    newest: tuple[Id, ...]
    """Ids of the newest records, the newest first: all that a registered replica lacks, up to `most`."""
    most: int
    """More are not told."""
    tail: Position | None
    """The newest record; None: the log is empty, or ends with what is no record of ours."""
    server_ms: int
    """The server's clock, which also dates registrations."""


class Condition(NamedTuple):
    """How one replica's copy of the log is, for people to look at. Durations are seconds."""

    is_synced: bool
    state_seconds: float
    """For how long it has been so."""
    lag_seconds: float | None
    """Since the sending of the last poll that completed the copy; None: none has."""
    position: Position | None
    """The newest record that was read in order."""
    unpublished: int
    """Purges that are applied here and wait for the server."""


class LogFailure(NamedTuple):
    """The server could not be asked, or refused; as a value."""

    detail: str


class LogServer(Protocol):
    """Where the log is kept. Every call has a deadline."""

    async def poll(self, after: Id | None, registration: str) -> Page | LogFailure:
        """What follows `after` (None: from the beginning), in the run that registers this replica (R16)."""

    async def append(
        self,
        drafts: Sequence[Draft],
        *,
        after: Id | None,
        at: Sequence[Position] = (),
        roll_call: bool = False,
    ) -> Roll | LogFailure:
        """Append the drafts that are not there yet: neither at `at`, nor anywhere behind `after`.

        With `roll_call` also who is registered, seen in the same run (R19).
        """

    async def forget(self, name: str, registration: str) -> LogFailure | None:
        """Remove a replica's registration, if it is still this one."""

    async def leave(self) -> LogFailure | None:
        """Remove our own registration."""


class Registration(NamedTuple):
    """What a replica says of itself with every poll; written as text."""

    position: Position | None
    """Up to here it has applied the log; None: not read yet."""
    beat: int
    """Differs from poll to poll: a registration that stays the same is a dead replica's."""
    polled_ms: int | None = None
    """When it came, by the server's clock, which adds it. For people: nothing is decided by it (R19)."""

    def encode(self) -> str:
        """`number nonce ms seq beat`; the server adds when."""
        number, ms, seq, nonce = self.position or (0, 0, 0, 0)
        return f"{number} {nonce:x} {ms} {seq} {self.beat}"

    @classmethod
    def decode(cls, text: str) -> Registration:
        """The inverse of `encode`; whatever else stands there has applied nothing."""
        try:
            number, nonce, ms, seq, beat, *added = text.split(" ")
            position = Position(int(number), int(ms), int(seq), int(nonce, 16))
            (polled_ms,) = map(int, added) if added else (None,)
            return cls(position if position.number else None, int(beat), polled_ms)
        except ValueError:
            return cls(None, 0)
