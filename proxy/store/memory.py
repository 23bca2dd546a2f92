"""L1: the entries that live in this process, the least recently used giving way.

Owns one invariant: never more entries nor more bytes than allowed, every entry in exactly one share.
Remembered absences have a share of their own, so that a flood of random 404s pushes out only its like.
Knows no clock (`now` in epoch seconds is an argument) and nothing of lifetimes but `expires_at`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from itertools import chain, islice
from math import inf

from lru import LRU

from proxy.model import Entry, Held, LifetimeSource, StoredResponse
from proxy.observe.metrics import Metrics
from proxy.store.sizes import entry_bytes

NEGATIVE_SHARE = 0.1
"""Of entries and bytes, for negative entries. Absences are small: a tenth holds thousands, and what good
responses give up for them stays within the noise of a hit ratio. Fixed, not borrowed: a share that good
responses may fill meanwhile has to be taken back from them, which is what the flood is after."""


SHARD_ENTRIES = 4_096
LARGEST_SHARD_COUNT = 256
"""L1 is cut into shards of about so many entries, at most so many shards, for what is done at once stalls the
loop. A dict that grows or has seen many removals is rebuilt: 66 ms when it reaches 700,000 keys, 120 ms in
the churn of a million, below 1 ms in a shard. Keys and copies in order of use lie all over the memory: 7 ms
for 25,000, 1 to 2 ms for a shard. Below 4,096 entries there is one shard."""
ROOM_SHARE = 0.9
"""So full L1 is filled ahead of need: the rest is for what clients ask for meanwhile."""
EXAMINED_SHARDS = 8
"""Of the oldest entries of so many shards the oldest gives way, and all shards take turns. Looking at all
256 shards of a million entries would take longer than storing the new one."""


class Cause(Enum):
    """Why an entry left L1; the word is the metric's label."""

    SIZE = "size"
    EXPIRED = "expired"
    IDLE = "idle"
    INVALIDATED = "invalidated"
    REPLACED = "replaced"


_SIZE = Cause.SIZE.value
_NEGATIVE = LifetimeSource.NEGATIVE
"""Once: to ask an enum for a member, or that for its value, takes as long as to count it."""


class Refusal(Enum):
    """Why L1 did not take an entry; the word is the metric's label."""

    TOO_LARGE = "too-large"
    EXPIRED = "expired"


class _Share:
    """One order of use, with its own bounds, in shards by the first byte of the key, which is a digest."""

    __slots__ = ("_mask", "_turn", "_turns", "count", "max_bytes", "max_entries", "shards", "size", "word")

    def __init__(self, word: str, shard_count: int) -> None:
        self.word = word
        self.size = self.count = self.max_entries = self.max_bytes = 0
        self.shards: tuple[LRU[bytes, Held], ...] = tuple(LRU(1) for _ in range(shard_count))
        self._mask = shard_count - 1
        starts = range(0, shard_count, EXAMINED_SHARDS)
        self._turns = tuple(self.shards[start : start + EXAMINED_SHARDS] for start in starts)
        self._turn = 0

    def limit(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        for shard in self.shards:
            # A full LRU drops its oldest by itself, uncounted: room for one more, and we are always first.
            shard.set_size(max(self.count, max_entries) + 1)

    def add(self, key: bytes, held: Held) -> bool:
        """True: more is here now than may be."""
        self.shards[key[0] & self._mask][key] = held
        self.size += held.size
        self.count += 1
        return self.size > self.max_bytes or self.count > self.max_entries

    def take(self, key: bytes) -> Held | None:
        held = self.shards[key[0] & self._mask].pop(key, None)
        if held is not None:
            self.size -= held.size
            self.count -= 1
        return held

    def oldest(self) -> bytes | None:
        """The key that was used the longest ago, as far as the next shards know; None: there is no entry."""
        for _ in self._turns:
            examined = self._turns[self._turn]
            self._turn = (self._turn + 1) % len(self._turns)
            found, used_at = None, inf
            for shard in examined:
                end = shard.peek_last_item()
                if end is not None and end[1].used_at < used_at:
                    found, used_at = end[0], end[1].used_at
            if found is not None:
                return found
        return None


class MemoryStore:
    """L1. All methods are synchronous; `peek` is what a hit pays."""

    def __init__(self, metrics: Metrics, *, max_entries: int, max_bytes: int, max_entry_bytes: int) -> None:
        self._metrics = metrics
        shard_count = min(LARGEST_SHARD_COUNT, 1 << (max_entries // SHARD_ENTRIES).bit_length())
        self._responses = _Share("response", shard_count)
        self._negatives = _Share("negative", shard_count)
        # What a hit asks, without a call between.
        self._mask = shard_count - 1
        self._shards = tuple(zip(self._responses.shards, self._negatives.shards, strict=True))
        self._unswept: Iterator[tuple[bytes, Held]] = iter(())
        self._next_swept = 0
        self.resize(max_entries=max_entries, max_bytes=max_bytes, max_entry_bytes=max_entry_bytes)

    def __len__(self) -> int:
        return self._responses.count + self._negatives.count

    def __contains__(self, key: bytes) -> bool:
        """Whether there is a copy, which may have expired; not counted as a use."""
        responses, negatives = self._shards[key[0] & self._mask]
        return key in responses or key in negatives

    def __repr__(self) -> str:
        shares = (self._responses, self._negatives)
        filled = (f"{s.count}/{s.max_entries} {s.word}, {s.size}/{s.max_bytes} bytes" for s in shares)
        return f"<MemoryStore {'; '.join(filled)}>"

    def peek(self, key: bytes, now: float) -> Held | None:
        """The copy, counted as a use; None when absent, expired or idle."""
        responses, negatives = self._shards[key[0] & self._mask]
        held = responses.get(key) or negatives.get(key)
        if held is None:
            return None
        # Of most copies that is all there is to ask.
        if held.idle is not None or now >= held.entry.expires_at:
            cause = _end_of(held, now)
            if cause is not None:
                self._remove(key, cause)
                return None
        held.used_at = now
        return held

    def entry(self, key: bytes) -> Entry | None:
        """What is held, if only until the next `peek`: for comparing, not for use."""
        responses, negatives = self._shards[key[0] & self._mask]
        held = responses.get(key) or negatives.get(key)
        return None if held is None else held.entry

    def put(self, key: bytes, entry: Entry, now: float, idle: float | None = None) -> Held:
        """Keep `entry`, dropping it after `idle` seconds without use (None: never).

        What L1 refuses is returned all the same, for the request that waits for it; what it replaces is gone.
        """
        held = Held(entry, _shared_size(entry_bytes(key, entry)), now, idle)
        # Most that is stored is new, and neither too old nor too large: told here, without a call for each.
        responses, negatives = self._shards[key[0] & self._mask]
        if key in responses or key in negatives:
            self._remove(key, Cause.REPLACED)
        share = self._share_of(entry)
        if entry.expires_at <= now or held.size > self._welcome_bytes:
            refusal = self._refusal(held, share, now)
            if refusal is not None:
                self._metrics.l1_refused.add(refusal.value)
                return held
        if share.add(key, held):
            self._make_room(share)
        return held

    def drop(self, key: bytes, cause: str) -> None:
        """Forget the entry, if there is one; `cause` is a word of `Cause`."""
        self._remove(key, Cause(cause))

    def entries(self) -> Iterator[tuple[bytes, Held]]:
        """All copies, responses first, each most recently used first within its shard, not counted as uses.

        One shard at a time is taken as it is when the iteration reaches it, so the reader may yield to the
        loop meanwhile: what was dropped by then is left out.
        """
        for shard in (*self._responses.shards, *self._negatives.shards):
            for key, held in _copies(shard):
                if shard.has_key(key):
                    yield key, held

    @property
    def shard_count(self) -> int:
        """In how many parts `recently_used` is asked."""
        return len(self._shards)

    def shard_number(self, key: bytes) -> int:
        """In which of them the key is."""
        return key[0] & self._mask

    def recently_used(self, shard: int, most: int) -> Iterator[tuple[bytes, Held]]:
        """What was used last in one shard, of each share at most so many copies; not counted as uses."""
        for copies in map(_copies, self._shards[shard]):
            yield from islice(copies, most)

    @property
    def has_room(self) -> bool:
        """More responses fit in without any giving way."""
        share = self._responses
        return share.count < share.max_entries * ROOM_SHARE and share.size < share.max_bytes * ROOM_SHARE

    def sweep(self, now: float, limit: int) -> int:
        """Drop what has expired or is idle among the next `limit` entries; how many were dropped.

        Called now and then, so that what nobody asks for any more gives its memory back.
        """
        examined = list(islice(self._unswept, limit)) or list(islice(self._begin_sweep(), limit))
        return sum(self._drop_if_ended(key, held, now) for key, held in examined)

    def clear(self) -> None:
        """Forget everything."""
        for shard in (*self._responses.shards, *self._negatives.shards):
            for key in shard.keys():  # noqa: SIM118 - a list; the LRU itself is no iterable
                self._remove(key, Cause.INVALIDATED)

    def resize(self, *, max_entries: int, max_bytes: int, max_entry_bytes: int) -> None:
        """Take new limits at once; the least recently used entries above them go, but one a share."""
        negative_entries = max(1, int(max_entries * NEGATIVE_SHARE))
        negative_bytes = int(max_bytes * NEGATIVE_SHARE)
        self._max_entry_bytes = max_entry_bytes
        self._max_bytes = max_bytes
        self._negatives.limit(negative_entries, negative_bytes)
        self._responses.limit(max(1, max_entries - negative_entries), max_bytes - negative_bytes)
        self._welcome_bytes = min(max_entry_bytes, self._responses.max_bytes, self._negatives.max_bytes)
        """What takes no more, with all that it is made of, is too large for neither share."""
        self._make_room(self._responses)
        self._make_room(self._negatives)

    def gauges(self) -> Mapping[str, Callable[[], Mapping[tuple[str, ...], float]]]:
        """The metrics of L1 that are read on scrape, by the name in the table of metrics."""
        shares = (self._responses, self._negatives)
        return {
            "l1_entries": lambda: {(share.word,): share.count for share in shares},
            "l1_bytes": lambda: {(share.word,): share.size for share in shares},
            "l1_limit_bytes": lambda: {(): self._max_bytes},
        }

    def _share_of(self, entry: Entry) -> _Share:
        is_negative = isinstance(entry, StoredResponse) and entry.source is _NEGATIVE
        return self._negatives if is_negative else self._responses

    def _refusal(self, held: Held, share: _Share, now: float) -> Refusal | None:
        if held.entry.expires_at <= now:
            return Refusal.EXPIRED
        # The limit is the body's, as everywhere: one of just max_entry_bytes is welcome in both tiers.
        body_bytes = len(held.entry.body) if isinstance(held.entry, StoredResponse) else 0
        is_too_large = body_bytes > self._max_entry_bytes or held.size > share.max_bytes
        return Refusal.TOO_LARGE if is_too_large else None

    def _begin_sweep(self) -> Iterator[tuple[bytes, Held]]:
        """The copies in the next shard of both shares."""
        self._unswept = chain.from_iterable(map(_copies, self._shards[self._next_swept]))
        self._next_swept = (self._next_swept + 1) % len(self._shards)
        return self._unswept

    def _drop_if_ended(self, key: bytes, held: Held, now: float) -> bool:
        cause = _end_of(held, now)
        share = self._share_of(held.entry)
        if cause is None or (current := share.take(key)) is None:
            return False
        if current is not held:  # replaced since: the newer copy goes back, as one that was used lately
            share.add(key, current)
            return False
        self._metrics.l1_evictions.add(cause.value)
        return True

    def _make_room(self, share: _Share) -> None:
        while share.size > share.max_bytes or share.count > share.max_entries:
            oldest = share.oldest()
            if oldest is None:
                raise RuntimeError(f"{share.word}: {share.size} bytes counted without an entry")
            share.take(oldest)
            self._metrics.l1_evictions.add(_SIZE)

    def _remove(self, key: bytes, cause: Cause) -> None:
        if self._responses.take(key) is None and self._negatives.take(key) is None:
            return
        self._metrics.l1_evictions.add(cause.value)


@lru_cache(maxsize=1024)
def _shared_size(size: int) -> int:
    """One number for all entries of a size: they are multiples of 16, so a thousand cover most."""
    return size


def _copies(shard: LRU[bytes, Held]) -> Iterator[tuple[bytes, Held]]:
    """Taken at once, as two lists: a list of pairs takes three times as long."""
    return zip(shard.keys(), shard.values(), strict=True)


def _end_of(held: Held, now: float) -> Cause | None:
    """Why the copy may not be used any more; None while it may."""
    if now >= held.entry.expires_at:
        return Cause.EXPIRED
    if held.idle is not None and now - held.used_at >= held.idle:
        return Cause.IDLE
    return None
