"""The index of live records, and the rule: may this response answer this request? (R4-R6, R12, R13)

Built anew by every full read of the log, then kept up record by record. Pure: positions are read elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from proxy.model import Position, StoredResponse, Validity
from proxy.policy.invalidation import Record, Selector
from proxy.policy.selected import Bounds, Keyed, Mark, Selected, keys_of

DEFAULT_BOUNDS = Bounds()

_SEVERITY = (Validity.ALIVE, Validity.STALE, Validity.DISTRUSTED, Validity.DEAD)


def worse(one: Validity, other: Validity) -> Validity:
    """The one of two answers of the rule that allows less."""
    return other if one is Validity.ALIVE else max(one, other, key=_SEVERITY.index)


class Modes(Generic[Mark]):
    """Hard and soft apart: one kind never hides the other (R5)."""

    def __init__(self, keyed: Keyed, bounds: Bounds, floor: Mark | None = None) -> None:
        self.hard: Selected[Mark] = Selected(keyed, bounds, floor)
        self.soft: Selected[Mark] = Selected(keyed, bounds)

    def add(self, selectors: Iterable[Selector], mark: Mark, *, soft: bool) -> None:
        """All of them were applied at `mark`."""
        selected = self.soft if soft else self.hard
        for selector in selectors:
            selected.add(selector, mark)

    def judge(self, entry: StoredResponse, since: Mark | None) -> Validity:
        """What the selectors newer than `since` make of the entry; None: each of them counts."""
        # What nearly every entry comes to, so it is asked first: two comparisons instead of all its keys.
        hard, soft = self.hard.latest, self.soft.latest
        if (hard is None or (since is not None and hard <= since)) and (
            soft is None or (since is not None and soft <= since)
        ):
            return Validity.ALIVE
        keys = keys_of(entry)
        if self.hard.selects(entry, keys, since):
            return Validity.DEAD
        if self.hard.may_select(entry, since):
            return Validity.DISTRUSTED
        if self.soft.selects(entry, keys, since) or self.soft.may_select(entry, since):
            return Validity.STALE
        return Validity.ALIVE

    def read_again(self, keyed: Keyed) -> None:
        """Other routes are in force."""
        self.hard = self.hard.read_again(keyed)
        self.soft = self.soft.read_again(keyed)


class Contents:
    """What one full read of the log found: its epochs, and its records above the floor."""

    def __init__(self, keyed: Keyed, bounds: Bounds, floor: Position | None = None) -> None:
        self.keyed = keyed
        self.nonces: set[int] = set()
        self.modes: Modes[Position] = Modes(keyed, bounds, floor)

    def add(self, record: Record) -> None:
        """The next record, in order."""
        self.nonces.add(record.position.nonce)
        self.modes.add(record.selectors, record.position, soft=record.soft)


class Index:
    """The records that this replica has applied."""

    def __init__(self, keyed: Keyed, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self.version = 0
        """Raised by whatever may change an answer: equal to before means that nothing did (R6)."""
        self.generation = 0
        """Raised by every full read: what was checked before holds no longer."""
        self._keyed = keyed
        self._bounds = bounds
        self._contents = Contents(keyed, bounds)

    @property
    def was_read(self) -> bool:
        """The log was read in full at least once."""
        return bool(self._contents.nonces)

    @property
    def sizes(self) -> dict[str, int]:
        """Selectors known exactly, by mode, and hashed slots in use."""
        modes = self._contents.modes
        folded = modes.hard.folded + modes.soft.folded
        return {"hard": len(modes.hard), "soft": len(modes.soft), "folded": folded}

    def knows(self, position: Position) -> bool:
        """Is the position in an epoch of the log as last read in full?"""
        return position.nonce in self._contents.nonces

    def empty(self, floor: Position | None) -> Contents:
        """To be filled by a full read and put in force by `replace`."""
        return Contents(self._keyed, self._bounds, floor)

    def replace(self, contents: Contents) -> None:
        """A full read is complete: nothing of the old index or floor stays (R13)."""
        if contents.keyed is not self._keyed:  # the policy was reloaded during the read
            contents.modes.read_again(self._keyed)
        self._contents = contents
        self.generation += 1
        self.version += 1

    def apply(self, record: Record) -> None:
        """A record of an epoch that is known."""
        self._contents.add(record)
        self.version += 1

    def touch(self) -> None:
        """Something outside the index may change an answer."""
        self.version += 1

    def read_again(self, keyed: Keyed) -> None:
        """Other routes are in force: URLs may mean other entries, so nothing that was checked holds."""
        self._keyed = keyed
        self._contents.modes.read_again(keyed)
        self.generation += 1
        self.version += 1

    def judge(self, entry: StoredResponse, checked: Position | None = None) -> Validity:
        """The rule (R4). `checked`: where the entry was found alive, in this generation.

        We deviate from R4's order: a match is looked for first, so that an entry that cannot be placed in
        the log (unknown epoch, below the floor) yet was purged is dead, and no 304 can revive it.
        """
        return self.judge_born(entry, entry.born, checked)

    def judge_born(self, entry: StoredResponse, born: Position | None, checked: Position | None) -> Validity:
        """The same for who has asked already where the entry was born."""
        contents = self._contents
        if born is not None and born.nonce in contents.nonces:
            return contents.modes.judge(entry, born if checked is None else max(born, checked))
        validity = contents.modes.judge(entry, None)
        if born is None and not self.was_read:
            # The fetch began before the log was read, and it still has not been: nothing was missed yet.
            return validity
        return worse(validity, Validity.DISTRUSTED)
