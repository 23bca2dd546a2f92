"""What is promised of a purge (docs/invalidation.md), and to whom: the least version that an answer may have.

A request is bound by what held when it arrived. Fresh answers obey hard and soft purges, stale ones the hard.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.model import Position
from proxy.policy.invalidation import Selector


@dataclass(eq=False)
class Purge:
    """One purge, and the origin's versions of what it names when its call began."""

    number: int
    selector: Selector
    soft: bool
    versions: Mapping[bytes, int]
    uids: list[str] = field(default_factory=list)
    position: Position | None = None
    """Where it was appended last; None: never yet."""
    appended_at: float = -1.0
    missing_since: float | None = None
    """The log that counts does not have it, and does not distrust what is older either."""
    is_void: bool = False
    """Nothing is promised: all who knew of it died, or stayed away too long."""
    exempt: frozenset[Hashable] = frozenset()
    """Processes that were not registered when the call was answered."""

    def __str__(self) -> str:
        mode = "soft" if self.soft else "hard"
        return f"purge {self.number} ({mode} {self.selector.kind.value} {self.selector.value!r})"


class Owed(NamedTuple):
    """The least version, and by which promise."""

    version: int
    promise: str
    purge: Purge | None


NOTHING = Owed(0, "", None)


class Bounds:
    """The purges by which somebody is bound."""

    def __init__(self, promise: str) -> None:
        self._promise = promise
        self._purges: dict[Purge, None] = {}
        self._hard: dict[bytes, Owed] = {}
        self._any: dict[bytes, Owed] = {}

    def add(self, purge: Purge) -> None:
        """From now on."""
        if purge not in self._purges and not purge.is_void:
            self._purges[purge] = None
            self._enter(purge)

    def rebuild(self) -> None:
        """Some purges have become void."""
        self._hard.clear()
        self._any.clear()
        self._purges = {purge: None for purge in self._purges if not purge.is_void}
        for purge in self._purges:
            self._enter(purge)

    def owed(self, target: bytes, *, stale: bool) -> Owed:
        """The least version of the target."""
        return (self._hard if stale else self._any).get(target, NOTHING)

    def _enter(self, purge: Purge) -> None:
        for target, version in purge.versions.items():
            owed = Owed(version, self._promise, purge)
            if owed.version > self._any.get(target, NOTHING).version:
                self._any[target] = owed
            if not purge.soft and owed.version > self._hard.get(target, NOTHING).version:
                self._hard[target] = owed


class Debts(NamedTuple):
    """What one request may not fall below: in a fresh answer, in a stale one, and in an emergency."""

    fresh: Owed
    stale: Owed
    known: Owed
    """What this very process has applied: even a replica that is cut off keeps to that."""
    at: float
    """When it arrived."""


class Promises:
    """Who is bound by what. `replica` is a name that outlives its processes."""

    APPLIED = "what a process has applied holds while it lives"
    SURVIVES = "what a replica has applied holds after its restart"
    ACKNOWLEDGED = "who was counted as acknowledged obeys"
    COMPLETE = "after a complete ?wait every replica obeys"
    PRESENT = "complete is said only while the record stands in the log"
    LATE = "who is out of step obeys after max_unsynced"

    def __init__(self) -> None:
        self._applied: dict[Hashable, Bounds] = {}
        self._survives: dict[str, Bounds] = {}
        self._acknowledged: dict[Hashable, Bounds] = {}
        self._complete = Bounds(self.COMPLETE)
        self._late = Bounds(self.LATE)

    def applied(self, process: Hashable, replica: str, purge: Purge) -> None:
        """The process has applied its record."""
        self._of(self._applied, process, self.APPLIED).add(purge)
        self._of(self._survives, replica, self.SURVIVES).add(purge)

    def acknowledged(self, process: Hashable, purge: Purge) -> None:
        """A call was answered, and did not name this one as missing."""
        self._of(self._acknowledged, process, self.ACKNOWLEDGED).add(purge)

    def completed(self, purge: Purge, *, exempt: frozenset[Hashable]) -> None:
        """A call was answered: complete."""
        purge.exempt |= exempt
        self._complete.add(purge)

    def overdue(self, purge: Purge) -> None:
        """It stands in the log for longer than max_unsynced."""
        self._late.add(purge)

    def void(self, purges: list[Purge]) -> None:
        """Nothing is promised of these any more but what lives in processes."""
        for purge in purges:
            purge.is_void = True
        for group in (self._survives, self._acknowledged):
            for bounds in group.values():
                bounds.rebuild()
        self._complete.rebuild()
        self._late.rebuild()

    def debts(self, process: Hashable, replica: str, target: bytes, now: float) -> Debts:
        """What a request that arrives now must get at least."""
        return Debts(
            self._owed(process, replica, target, stale=False),
            self._owed(process, replica, target, stale=True),
            self._of(self._applied, process, self.APPLIED).owed(target, stale=True),
            now,
        )

    def _owed(self, process: Hashable, replica: str, target: bytes, *, stale: bool) -> Owed:
        highest = self._of(self._applied, process, self.APPLIED).owed(target, stale=stale)
        for owed in (
            self._of(self._survives, replica, self.SURVIVES).owed(target, stale=stale),
            self._of(self._acknowledged, process, self.ACKNOWLEDGED).owed(target, stale=stale),
            self._late.owed(target, stale=stale),
            self._complete.owed(target, stale=stale),
        ):
            is_exempt = owed.promise == self.COMPLETE and owed.purge and process in owed.purge.exempt
            if owed.version > highest.version and not is_exempt:
                highest = owed
        return highest

    @staticmethod
    def _of(group: dict[Hashable, Bounds], who: Hashable, promise: str) -> Bounds:
        bounds = group.get(who)
        if bounds is None:
            bounds = group[who] = Bounds(promise)
        return bounds
