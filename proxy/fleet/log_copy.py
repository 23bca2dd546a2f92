"""This replica's copy of the log: what it has read, what it wants to add, and the answers it gives from that.

No I/O: pages and places are handed in by `redis_log.py`, the clock is given. Every answer is synchronous, so
that an entry is judged in the same step that uses it (R7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf

from proxy.fleet.log import Condition, Draft, Id, Page, Registration, WhenUnsynced
from proxy.fleet.outbox import Outbox
from proxy.fleet.reach import Reach, reach_of
from proxy.fleet.reader import Progress, Reader, Rebuild
from proxy.fleet.recent import Recent
from proxy.fleet.trust import Trust
from proxy.fleet.watching import Watch, Watches
from proxy.model import Capture, Held, Position, StoredResponse, Validity, VaryRecord
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Selector
from proxy.policy.invalidation_index import Index, worse
from proxy.policy.selected import Keyed


class LogCopy:
    """Reader, index, outbox and trust of one replica, as one. `clock` is monotonic.

    `hurry` is called for an entry that was born where we have not read: poll at once (R7).
    """

    def __init__(
        self,
        *,
        keyed: Keyed,
        max_unsynced: float,
        when_unsynced: WhenUnsynced,
        metrics: Metrics,
        new_uid: Callable[[], str],
        hurry: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.index = Index(keyed)
        self._keyed = keyed
        self._watches = Watches()
        self.outbox = Outbox(keyed, new_uid)
        self.reader = Reader(self.index, Recent())
        self.trust = Trust(max_unsynced=max_unsynced, when_unsynced=when_unsynced, now=clock())
        self._max_unsynced = max_unsynced
        self._metrics = metrics
        self._hurry = hurry
        self._clock = clock
        self._newest_own: Position | None = None
        self._nonce: int | None = None
        self._epoch_known_at = inf
        self._beat = 0

    def __repr__(self) -> str:
        return f"<LogCopy at {self.reader.cursor} {self.index.sizes} unsent={len(self.outbox)}>"

    @property
    def is_synced(self) -> bool:
        """The log was read in time."""
        return self._clock() < self.trust.until

    def capture(self) -> Capture:
        """Before the first byte of an origin request; again before a retry (R3)."""
        return Capture(self._born(), self.index.version, self._clock())

    def is_current(self, held: Held) -> bool:
        """Found alive, nothing applied since, and the log read in time (R6)."""
        return held.version == self.index.version and self._clock() < self.trust.until

    def judge_held(self, held: Held) -> Validity:
        """The rule for a copy in L1; two comparisons when nothing was applied since the last time (R6)."""
        if self.is_current(held):
            return Validity.ALIVE
        if isinstance(held.entry, VaryRecord):
            return Validity.ALIVE  # names fields and answers nothing: the variants are judged
        checked = held.checked if held.generation == self.index.generation else None
        validity = self._judge(held.entry, held.began_at, checked, is_in_l1=True)
        if validity is Validity.ALIVE:
            held.version = self.index.version
            held.checked = self.reader.cursor
            held.generation = self.index.generation
        return validity

    def judge(self, entry: StoredResponse, *, began_at: float | None = None) -> Validity:
        """The rule for any entry, now; `began_at` for our own fetch."""
        return self._judge(entry, began_at, None, is_in_l1=False)

    def watch(self, entry: StoredResponse) -> Watch:
        """Notice what concerns an entry that is in no store yet, from now on."""
        return self._watches.begin(entry)

    def stage(self, selectors: Sequence[Selector], *, soft: bool) -> list[Draft]:
        """Apply them here, queue them for the log."""
        drafts = self.outbox.add(selectors, soft=soft, now=self._clock())
        self._note_applied(selectors, soft=soft)
        return drafts

    def stage_paced(self, selectors: Sequence[Selector]) -> bool:
        """Apply hard purges here, queue them for the pace. True when one is due now."""
        is_due = self.outbox.add_paced(selectors, now=self._clock())
        self._note_applied(selectors, soft=False)
        return is_due

    def published(self, draft: Draft, position: Position) -> None:
        """The draft stands in the log at `position`, maybe ahead of what we have read (R6)."""
        cursor = self.reader.cursor
        if cursor is None or not _is_same_epoch(position, cursor):
            self.outbox.sent([draft.uid])
            self.reader.remember(draft.at(position), now=self._clock())
            return
        self.reader.note_own(draft.at(position), now=self._clock())
        self.outbox.settle([draft.uid])
        self._newest_own = position if self._newest_own is None else max(self._newest_own, position)

    @property
    def after(self) -> Id | None:
        """What the next poll must ask for."""
        return self.reader.after

    def registration(self) -> str:
        """What the next poll says of us: sent after applying, so that it acknowledges (R19)."""
        self._beat += 1
        return Registration(self.reader.cursor, self._beat).encode()

    def accept(self, page: Page, *, sent_at: float) -> Progress:
        """Apply one page; `sent_at` is when it was asked for (R15)."""
        now = self._clock()
        was_followed = self.reader.cause is None
        progress = self.reader.feed(page, now=now)
        if self.reader.cause is not None:
            self.trust.suspend(now)
            if was_followed:
                self._metrics.log_gaps.add(self.reader.cause.value)
        for record in progress.applied:
            if not self.outbox.holds(record.uid):
                self._count(record.selectors, soft=record.soft)
                self._watches.note(record.selectors, self._keyed)
        self.outbox.settle(record.uid for record in progress.seen)
        if progress.rebuilt is not None:
            self._note_rebuilt(progress, progress.rebuilt, now)
        if progress.is_complete:
            epoch_age = (page.server_ms - progress.epoch_began_ms) / 1000
            if self.trust.completed(sent_at=sent_at, now=now, epoch_age=epoch_age):
                self.index.touch()
        return progress

    def read_again(self, keyed: Keyed) -> None:
        """Other routes are in force: what URLs mean is read anew."""
        self._keyed = keyed
        self.index.read_again(keyed)
        self.outbox.read_again(keyed)

    def reach_of(self, position: Position, replicas: Mapping[str, str], tail: Position) -> Reach:
        """Which registered replicas have applied the record at `position`, in a log that ends at `tail`."""
        return reach_of(position, replicas, self.places_of(tail))

    def places_of(self, tail: Position) -> Callable[[Position], bool]:
        """Which positions are places of a log that ends at `tail`."""
        # Of a log that we have not read we know one epoch, its newest. What we read before may be lost, and
        # its places may look newer than any of this log (R19).
        return self.index.knows if tail.nonce == self._nonce else partial(_is_same_epoch, tail)

    def knows_all_replicas(self, tail: Position) -> bool:
        """No live replica is missing among the registrations: a flush empties them, polls fill them (R19)."""
        has_read_epoch = tail.nonce == self._nonce
        return has_read_epoch and self._clock() - self._epoch_known_at >= self._max_unsynced

    def condition(self) -> Condition:
        """How this copy is now, for people."""
        now = self._clock()
        return Condition(
            now < self.trust.until,
            self.trust.seconds_in_state(now),
            self.trust.lag_seconds(now),
            self.reader.cursor,
            len(self.outbox),
        )

    def _born(self) -> Position | None:
        """The newest record known to exist: it need not be applied, only be older than the fetch (R3)."""
        cursor, own = self.reader.cursor, self._newest_own
        return cursor if cursor is None or own is None else max(cursor, own)

    def _judge(
        self, entry: StoredResponse, began_at: float | None, checked: Position | None, *, is_in_l1: bool
    ) -> Validity:
        """R4, then what it is worth now: R15 and R18."""
        now, born = self._clock(), entry.born
        ordered = self.index.judge_born(entry, born, checked)
        validity = worse(ordered, self.outbox.judge(entry, began_at=began_at))
        if born is not None and not self.index.knows(born):
            self._hurry()
        if validity in (Validity.DEAD, Validity.DISTRUSTED):
            return validity
        if now < self.trust.until:
            return Validity.DISTRUSTED if self._is_in_grace(born, began_at, now) else validity
        if self.trust.tolerates(began_at=began_at, is_in_l1=is_in_l1, now=now):
            return validity
        self._metrics.unsynced.add()
        return Validity.UNSYNCED

    def _is_in_grace(self, born: Position | None, began_at: float | None, now: float) -> bool:
        """Could a record that concerns an entry born there still be on its way back into the log (R18)?

        We deviate: not only entries from L2, also our own fetches but the youngest. While this process was
        cut off it missed the same records for both.
        """
        if now >= self.trust.grace_until or born is None or self.reader.cursor is None:
            return False
        is_of_earlier_epoch = born.nonce != self.reader.cursor.nonce
        return is_of_earlier_epoch and not self.trust.is_recent(began_at, now)

    def _note_rebuilt(self, progress: Progress, cause: Rebuild, now: float) -> None:
        self._metrics.log_rebuilds.add(cause.value)
        self._watches.note_all()
        self.outbox.settle_sent()
        self.outbox.add_lost(Draft(record.uid, record.selectors, record.soft) for record in progress.lost)
        self._newest_own = None
        nonce = self.reader.cursor.nonce if self.reader.cursor else None
        if nonce != self._nonce:
            self._nonce = nonce
            self._epoch_known_at = now

    def _note_applied(self, selectors: Sequence[Selector], *, soft: bool) -> None:
        self.index.touch()
        self._count(selectors, soft=soft)
        self._watches.note(selectors, self._keyed)

    def _count(self, selectors: Sequence[Selector], *, soft: bool) -> None:
        for selector in selectors:
            self._metrics.invalidations.add(selector.kind.value, "soft" if soft else "hard")


def _is_same_epoch(one: Position, other: Position) -> bool:
    return (one.number, one.nonce) == (other.number, other.nonce)
