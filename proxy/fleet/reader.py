"""Follows the log record by record, and reads all of it again when it cannot be followed (R13, R17).

Decides from pages alone: no I/O, no clock. A record is applied only if it names the one before it and is of
the same epoch; anything else (a trim, an eviction, a flush, a failover, garbage) takes the one way back.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from proxy.fleet.log import Id, Page
from proxy.fleet.recent import Recent
from proxy.model import Position
from proxy.policy.invalidation import Record
from proxy.policy.invalidation_index import Index

MOST_FOUND = 5_000
"""How many of a full read's newest records are remembered against their loss."""


class Rebuild(Enum):
    """Why the whole log is read; the word is the metric's label."""

    START = "start"
    GAP = "gap"
    EPOCH = "epoch"
    TAIL = "tail"
    """The log ends elsewhere than where we have read to."""


class Progress(NamedTuple):
    """What one page has changed."""

    is_complete: bool
    """Everything that was in the log has been applied; False: ask again at once."""
    seen: tuple[Record, ...] = ()
    """Records that were read, in order; of a full read the newest ones."""
    applied: tuple[Record, ...] = ()
    """Those of them that are new to the index; none of a full read, which replaces it."""
    rebuilt: Rebuild | None = None
    """A full read has come to its end."""
    lost: tuple[Record, ...] = ()
    """Records that the log no longer has: to be appended again under their uids."""
    epoch_began_ms: int = 0
    """When the newest epoch began, on the server's clock, or later."""


class Reader:
    """The cursor of one replica, and its index of what stands up to there."""

    def __init__(self, index: Index, recent: Recent) -> None:
        self.cursor: Position | None = None
        """The newest record read in order; kept while the log is read again, None before (R3)."""
        self._index = index
        self._recent = recent
        self._epoch_began_ms = 0
        self._full_read: _FullRead | None = _FullRead(index, Rebuild.START)

    @property
    def after(self) -> Id | None:
        """Where the next page begins; None: at the beginning of the log."""
        if self._full_read is not None:
            return self._full_read.after
        return _id_of(self.cursor)

    @property
    def is_reading_all(self) -> bool:
        """The log could not be followed: the index is of no use until this read is complete."""
        return self._full_read is not None

    @property
    def cause(self) -> Rebuild | None:
        """Why all of the log is being read; None: it is followed."""
        return self._full_read.cause if self._full_read is not None else None

    def feed(self, page: Page, *, now: float) -> Progress:
        """Apply a page that was asked for with `after`; `now` is monotonic."""
        if self._full_read is not None:
            return self._feed_full_read(self._full_read, page, now)
        return self._follow(page, now)

    def note_own(self, record: Record, *, now: float) -> None:
        """Apply a record of ours ahead of the cursor, which only the log moves (R6, R13)."""
        self._index.apply(record)
        self.remember(record, now=now)

    def remember(self, record: Record, *, now: float) -> None:
        """It was published: should the log lose it, it is appended again (R17)."""
        self._recent.add(record, at=now)

    def _follow(self, page: Page, now: float) -> Progress:
        seen: list[Record] = []
        applied: list[Record] = []
        for record in page.records:
            cause = self._gap_before(record)
            if record is None or cause is not None:
                self._full_read = _FullRead(self._index, cause or Rebuild.GAP)
                return Progress(False, tuple(seen), tuple(applied))
            if self._apply(record, now):
                applied.append(record)
            seen.append(record)
        if not page.records and self.cursor != page.tail:
            self._full_read = _FullRead(self._index, Rebuild.TAIL)
            return Progress(is_complete=False)
        is_complete = self.cursor == page.tail
        return Progress(is_complete, tuple(seen), tuple(applied), epoch_began_ms=self._epoch_began_ms)

    def _gap_before(self, record: Record | None) -> Rebuild | None:
        if record is None or self.cursor is None or record.predecessor != _id_of(self.cursor):
            return Rebuild.GAP
        return None if _is_same_epoch(record.position, self.cursor) else Rebuild.EPOCH

    def _apply(self, record: Record, now: float) -> bool:
        self.cursor = record.position
        known = self._recent.get(record.uid)
        self._recent.add(record, at=now)
        if known is not None and known.position == record.position:
            return False
        self._index.apply(record)
        return True

    def _feed_full_read(self, reading: _FullRead, page: Page, now: float) -> Progress:
        for record in page.records:
            reading.add(record)
        if page.last is not None:
            reading.after = page.last
        newest = reading.newest
        if newest is not None and newest == page.tail:
            return self._finish(reading, newest, now)
        if not page.records:  # nothing follows, yet the log ends elsewhere: it was replaced meanwhile
            self._full_read = _FullRead(self._index, reading.cause)
        return Progress(is_complete=False)

    def _finish(self, reading: _FullRead, newest: Position, now: float) -> Progress:
        lost = tuple(record for record in self._recent if reading.has_lost(record))
        for record in lost:
            reading.keep_lost(record, newest)
        self._index.replace(reading.contents)
        for record in reading.found:
            self._recent.add(record, at=now)
        self.cursor = newest
        self._epoch_began_ms = reading.epoch_began_ms
        self._full_read = None
        return Progress(
            True,
            tuple(reading.found),
            rebuilt=reading.cause,
            lost=lost,
            epoch_began_ms=self._epoch_began_ms,
        )


class _FullRead:
    """All pages of the log, from its first record to its tail."""

    def __init__(self, index: Index, cause: Rebuild) -> None:
        self.cause = cause
        self.after: Id | None = None
        self.newest: Position | None = None
        self.epoch_began_ms = 0
        self.contents = index.empty(None)
        self.found: deque[Record] = deque(maxlen=MOST_FOUND)
        self._index = index
        self._floor: Position | None = None
        self._uids: set[str] = set()

    def add(self, record: Record | None) -> None:
        """The next entry. Where the chain is broken, whatever stood before lies below the floor."""
        if record is None:
            self.newest = None
            return
        position = record.position
        if self.newest is None or not _follows(record, self.newest):
            self._begin_at(record)
        elif not _is_same_epoch(position, self.newest):
            self.epoch_began_ms = position.ms
        self.contents.add(record)
        self.newest = position
        if record.uid:
            self._uids.add(record.uid)
            self.found.append(record)

    def has_lost(self, record: Record) -> bool:
        """We know of it, and neither the log nor what was trimmed from it does."""
        if record.uid in self._uids:
            return False
        is_trimmed = self._is_known(record.position) and self._is_below_floor(record.position)
        return not is_trimmed

    def keep_lost(self, record: Record, newest: Position) -> None:
        """As if it stood at the tail; where its epoch is still there, at its own place if that is newer."""
        own = record.position
        place = max(own, newest) if self._is_known(own) else newest
        self.contents.add(Record(place, (0, 0), record.uid, record.selectors, record.soft))

    def _begin_at(self, record: Record) -> None:
        ms, seq = record.predecessor
        is_beginning = record.predecessor == (0, 0)
        self._floor = None if is_beginning else record.position._replace(ms=ms, seq=seq)
        self.contents = self._index.empty(self._floor)
        self.epoch_began_ms = record.position.ms
        self.found.clear()
        self._uids.clear()

    def _is_known(self, position: Position) -> bool:
        return position.nonce in self.contents.nonces

    def _is_below_floor(self, position: Position) -> bool:
        return self._floor is not None and position <= self._floor


def _follows(record: Record, newest: Position) -> bool:
    if record.predecessor != _id_of(newest):
        return False
    return _is_same_epoch(record.position, newest) or record.position.number == newest.number + 1


def _is_same_epoch(one: Position, other: Position) -> bool:
    return (one.number, one.nonce) == (other.number, other.nonce)


def _id_of(position: Position | None) -> Id | None:
    return None if position is None else (position.ms, position.seq)
