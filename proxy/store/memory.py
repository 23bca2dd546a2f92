"""L1: the entries that live in this process, the least recently used giving way.

Owns one invariant: never more entries nor more bytes than allowed, every entry in exactly one share.
Remembered absences have a share of their own, so that a flood of random 404s pushes out only its like.
Knows no clock (`now` in epoch seconds is an argument) and nothing of lifetimes but `expires_at`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from lru import LRU

from proxy.model import Entry, Held, LifetimeSource, StoredResponse
from proxy.observe.metrics import Metrics
from proxy.store.sizes import entry_bytes

NEGATIVE_SHARE = 0.1
"""Of entries and bytes, for negative entries. Absences are small: a tenth holds thousands, and what good
responses give up for them stays within the noise of a hit ratio. Fixed, not borrowed: a share that good
responses may fill meanwhile has to be taken back from them, which is what the flood is after."""


class Cause(Enum):
    """Why an entry left L1; the word is the metric's label."""

    SIZE = "size"
    EXPIRED = "expired"
    IDLE = "idle"
    INVALIDATED = "invalidated"
    REPLACED = "replaced"


class Refusal(Enum):
    """Why L1 did not take an entry; the word is the metric's label."""

    TOO_LARGE = "too-large"
    EXPIRED = "expired"


class _Share:
    """One order of use, with its own bounds."""

    __slots__ = ("max_bytes", "max_entries", "order", "size", "word")

    def __init__(self, word: str) -> None:
        self.word = word
        self.size = 0
        self.max_entries = self.max_bytes = 0
        self.order: LRU[bytes, Held] = LRU(1)

    def limit(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        # A full LRU drops its oldest by itself, uncounted: room for one more, and we are always first.
        self.order.set_size(max(len(self.order), max_entries) + 1)

    def add(self, key: bytes, held: Held) -> None:
        self.order[key] = held
        self.size += held.size

    def remove(self, key: bytes, held: Held) -> None:
        del self.order[key]
        self.size -= held.size

    @property
    def is_over(self) -> bool:
        return self.size > self.max_bytes or len(self.order) > self.max_entries


class MemoryStore:
    """L1. All methods are synchronous; `peek` is what a hit pays."""

    def __init__(self, metrics: Metrics, *, max_entries: int, max_bytes: int, max_entry_bytes: int) -> None:
        self._metrics = metrics
        self._responses = _Share("response")
        self._negatives = _Share("negative")
        # The LRU cannot be asked without counting as a use: this one answers inspections and sweeps.
        self._held: dict[bytes, Held] = {}
        self._unswept: list[bytes] = []
        self.resize(max_entries=max_entries, max_bytes=max_bytes, max_entry_bytes=max_entry_bytes)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        shares = (self._responses, self._negatives)
        filled = (f"{len(s.order)}/{s.max_entries} {s.word}, {s.size}/{s.max_bytes} bytes" for s in shares)
        return f"<MemoryStore {'; '.join(filled)}>"

    def peek(self, key: bytes, now: float) -> Held | None:
        """The copy, counted as a use; None when absent, expired or idle."""
        held = self._responses.order.get(key) or self._negatives.order.get(key)
        if held is None:
            return None
        cause = _end_of(held, now)
        if cause is not None:
            self._remove(key, cause)
            return None
        held.used_at = now
        return held

    def put(self, key: bytes, entry: Entry, now: float, idle: float | None = None) -> Held:
        """Keep `entry`, dropping it after `idle` seconds without use (None: never).

        What L1 refuses is returned all the same, for the request that waits for it; what it replaces is gone.
        """
        held = Held(entry, entry_bytes(key, entry), now, idle)
        self.drop(key, Cause.REPLACED.value)
        share = self._share_of(entry)
        refusal = self._refusal(held, share, now)
        if refusal is not None:
            self._metrics.l1_refused.add(refusal.value)
            return held
        share.add(key, held)
        self._held[key] = held
        self._make_room(share)
        return held

    def drop(self, key: bytes, cause: str) -> None:
        """Forget the entry, if there is one; `cause` is a word of `Cause`."""
        if key in self._held:
            self._remove(key, Cause(cause))

    def inspect(self, key: bytes) -> Held | None:
        """The copy as it is, without counting as a use; it may have expired."""
        return self._held.get(key)

    def entries(self) -> Iterator[tuple[bytes, Held]]:
        """A snapshot of the order, responses first, each most recently used first, not counted as uses.

        The copies are read as the iteration reaches them, so the reader may yield to the loop meanwhile:
        what was dropped by then is left out.
        """
        for key in (*self._responses.order.keys(), *self._negatives.order.keys()):
            held = self._held.get(key)
            if held is not None:
                yield key, held

    def sweep(self, now: float, limit: int) -> int:
        """Drop what has expired or is idle among the next `limit` entries; how many were dropped.

        Called now and then, so that what nobody asks for any more gives its memory back.
        """
        if not self._unswept:
            self._unswept = list(self._held)
        examined = self._unswept[-limit:]
        del self._unswept[-limit:]
        ended = [(key, cause) for key in examined if (cause := self._cause_to_drop(key, now))]
        for key, cause in ended:
            self._remove(key, cause)
        return len(ended)

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._held):
            self._remove(key, Cause.INVALIDATED)

    def resize(self, *, max_entries: int, max_bytes: int, max_entry_bytes: int) -> None:
        """Take new limits at once; the least recently used entries above them go, but one a share."""
        negative_entries = max(1, int(max_entries * NEGATIVE_SHARE))
        negative_bytes = int(max_bytes * NEGATIVE_SHARE)
        self._max_entry_bytes = max_entry_bytes
        self._max_bytes = max_bytes
        self._negatives.limit(negative_entries, negative_bytes)
        self._responses.limit(max(1, max_entries - negative_entries), max_bytes - negative_bytes)
        self._make_room(self._responses)
        self._make_room(self._negatives)

    def gauges(self) -> Mapping[str, Callable[[], Mapping[tuple[str, ...], float]]]:
        """The metrics of L1 that are read on scrape, by the name in the table of metrics."""
        shares = (self._responses, self._negatives)
        return {
            "l1_entries": lambda: {(share.word,): len(share.order) for share in shares},
            "l1_bytes": lambda: {(share.word,): share.size for share in shares},
            "l1_limit_bytes": lambda: {(): self._max_bytes},
        }

    def _share_of(self, entry: Entry) -> _Share:
        is_negative = isinstance(entry, StoredResponse) and entry.source is LifetimeSource.NEGATIVE
        return self._negatives if is_negative else self._responses

    def _refusal(self, held: Held, share: _Share, now: float) -> Refusal | None:
        if held.entry.expires_at <= now:
            return Refusal.EXPIRED
        # The limit is the body's, as everywhere: one of just max_entry_bytes is welcome in both tiers.
        body_bytes = len(held.entry.body) if isinstance(held.entry, StoredResponse) else 0
        is_too_large = body_bytes > self._max_entry_bytes or held.size > share.max_bytes
        return Refusal.TOO_LARGE if is_too_large else None

    def _cause_to_drop(self, key: bytes, now: float) -> Cause | None:
        held = self._held.get(key)
        return None if held is None else _end_of(held, now)

    def _make_room(self, share: _Share) -> None:
        while share.is_over:
            oldest = share.order.peek_last_item()
            if oldest is None:
                raise RuntimeError(f"{share.word}: {share.size} bytes counted without an entry")
            self._remove(oldest[0], Cause.SIZE)

    def _remove(self, key: bytes, cause: Cause) -> None:
        held = self._held.pop(key)
        self._share_of(held.entry).remove(key, held)
        self._metrics.l1_evictions.add(cause.value)


def _end_of(held: Held, now: float) -> Cause | None:
    """Why the copy may not be used any more; None while it may."""
    if now >= held.entry.expires_at:
        return Cause.EXPIRED
    if held.idle is not None and now - held.used_at >= held.idle:
        return Cause.IDLE
    return None
