"""A log as a list of records, cut into pages as the server would: for whatever reads pages."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.fleet.log import Id, Page
from proxy.model import Position
from proxy.policy.invalidation import Record, Selector

NONCES = {1: 0xA1, 2: 0xA2, 3: 0xA3}


class Stream:
    """Records that name their predecessors. Times are milliseconds of the server's clock."""

    def __init__(self, *, nonce: int = NONCES[1], first_ms: int = 1_000) -> None:
        self.records: list[Record | None] = []
        self.ids: list[Id] = []
        self.number = 0
        self.nonce = nonce
        self.now_ms = first_ms
        self.tick_ms = 1
        """How much time passes before each record."""
        self.begin_epoch(nonce)

    def begin_epoch(self, nonce: int) -> Record:
        """What the scripts do when the server has another history."""
        self.number += 1
        self.nonce = nonce
        return self.append(uid="")

    def append(self, *selectors: Selector, uid: str | None = None, soft: bool = False) -> Record:
        """Another record, a tick later; ids grow although the clock may not."""
        before = self.ids[-1] if self.ids else (0, 0)
        self.now_ms += self.tick_ms
        ms, seq = max((self.now_ms, 0), (before[0], before[1] + 1))
        position = Position(self.number, ms, seq, self.nonce)
        record = Record(position, before, f"u{ms}-{seq}" if uid is None else uid, selectors, soft)
        self.records.append(record)
        self.ids.append((ms, seq))
        return record

    def append_garbage(self) -> None:
        """An entry that nobody of ours has written."""
        self.now_ms += 1
        self.records.append(None)
        self.ids.append((self.now_ms, 0))

    def trim(self, kept: int) -> None:
        """Only the newest records stay."""
        self.records = self.records[-kept:]
        self.ids = self.ids[-kept:]

    def copy(self) -> Stream:
        """The same log on another server."""
        other = Stream.__new__(Stream)
        other.__dict__ = {**self.__dict__, "records": self.records[:], "ids": self.ids[:]}
        return other

    @property
    def tail(self) -> Position:
        return Position(self.number, *self.ids[-1], self.nonce)

    def page(self, after: Id | None, *, most: int = 500, known: int = 1) -> Page:
        """What the poll script answers."""
        chosen = [index for index, id_ in enumerate(self.ids) if after is None or id_ > after][:most]
        records: Sequence[Record | None] = [self.records[index] for index in chosen]
        last = self.ids[chosen[-1]] if chosen else None
        return Page(records, last, self.tail, self.now_ms, known)
