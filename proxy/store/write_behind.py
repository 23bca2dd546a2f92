"""A bounded queue of entries on their way to L2, so that no request waits for a write.

Owns the bounds and the order. Knows nothing of how a batch is written. What does not fit is dropped and
counted, never waited for: a lost write costs one more fetch, a growing queue the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

from proxy.model import Entry
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.store.settling import Settling, Then
from proxy.store.sizes import entry_bytes

MOST_ENTRIES = 10_000
MOST_BYTES = 16 * 1024 * 1024
"""Of the 96MiB that `l1.max_bytes` leaves to the process. Most of it is shared with L1's copies."""
FLUSH_SECONDS = 1.0
"""How long anybody waits for the writes that are queued."""
BATCH_ENTRIES = 128
BATCH_BYTES = 1024 * 1024
"""A batch of so many bytes passes a 1 Gbit/s link in 8 ms, well within the default deadline of 50 ms."""


class Drop(Enum):
    """Why a write was given up; the word is the metric's label. The faults of L2 are further causes."""

    QUEUE_FULL = "queue-full"
    TOO_LARGE = "too-large"
    EXPIRED = "expired"
    CLOSING = "closing"


Write = Callable[[Mapping[bytes, Entry]], Awaitable[None]]
"""Writes a batch, or counts why not. Bounded in time by whoever provides it."""


class WriteBehind:
    """Entries by key, oldest first. The writer is a task that lives only while there is work for it.

    `is_taken` says whether L2 took what was sent last.
    """

    def __init__(
        self,
        write: Write,
        metrics: Metrics,
        *,
        is_taken: Callable[[], bool] = lambda: True,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._write = write
        self._is_taken = is_taken
        self._metrics = metrics
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._queue: dict[bytes, tuple[Entry, int, int]] = {}
        """Each with its size, and how many were queued up to it."""
        self._queued = 0
        self._bytes = 0
        self._under_way: dict[bytes, Entry] = {}
        """The batch that is being written."""
        self._settling = Settling(FLUSH_SECONDS)
        self._writer: asyncio.Task[None] | None = None
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._queue)

    def __repr__(self) -> str:
        return (
            f"<WriteBehind {len(self)}/{self._most_entries} writes, {self._bytes}/{self._most_bytes} bytes>"
        )

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the entries that wait."""
        return self._bytes

    def pending(self, key: bytes) -> Entry | None:
        """What a look-up will find once all writes have arrived; None: nothing is on its way."""
        waiting = self._queue.get(key)
        return self._under_way.get(key) if waiting is None else waiting[0]

    def put(self, key: bytes, entry: Entry) -> None:
        """Write `entry` soon; it takes the place of one that waits under the same key."""
        size = entry_bytes(key, entry)
        cause = self._cause_to_drop(key, size)
        if cause is not None:
            self._discard(key)
            self.drop(cause)
            return
        self._queued += 1
        # In its very place: whoever waits for the older is told once the newer is written.
        _, older_size, number = self._queue.get(key, (None, 0, self._queued))
        self._queue[key] = (entry, size, number)
        self._bytes += size - older_size
        # A writer that crashed has been logged; the next write starts another.
        if self._writer is None or self._writer.done():
            self._writer = spawn("l2 writes", self._write_all())

    def drop(self, cause: Drop, *, count: int = 1) -> None:
        """Count writes that were given up."""
        self._metrics.l2_dropped_writes.add(cause.value, by=count)

    def when_settled(self, then: Then) -> None:
        """Tell `then` once what waits now was written or given up, or FLUSH_SECONDS have passed.

        It is told whether L2 may be relied upon to have it; at once, where nothing waits.
        """
        if self._queue or self._under_way:
            self._settling.ask(self._queued, then)
        else:
            then(self._is_taken())

    async def aclose(self, timeout: float) -> None:
        """Write what waits, for at most `timeout` seconds; the rest is dropped."""
        self._is_closing = True
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=timeout)
            self._writer.cancel()
            await asyncio.wait({self._writer}, timeout=timeout)
        if self._queue:
            self.drop(Drop.CLOSING, count=len(self._queue))
            self._queue.clear()
            self._bytes = 0
        self._settling.end()

    def _cause_to_drop(self, key: bytes, size: int) -> Drop | None:
        if self._is_closing:
            return Drop.CLOSING
        if size > self._most_bytes:
            return Drop.TOO_LARGE
        _, older_size, _ = self._queue.get(key, (None, 0, 0))
        entries = len(self._queue) + (not older_size)
        is_full = entries > self._most_entries or self._bytes - older_size + size > self._most_bytes
        return Drop.QUEUE_FULL if is_full else None

    async def _write_all(self) -> None:
        while self._queue:
            self._under_way = self._next_batch()
            try:
                await self._write(self._under_way)
            finally:
                self._under_way = {}
                self._tell()

    def _tell(self) -> None:
        """Whoever waits for none of those that still wait."""
        oldest = next(iter(self._queue.values()), None)
        settled = self._queued if oldest is None else oldest[2] - 1
        self._settling.reached(settled, has_settled=self._is_taken())

    def _next_batch(self) -> dict[bytes, Entry]:
        """The oldest entries that go together, at least one."""
        batch: dict[bytes, Entry] = {}
        batch_bytes = 0
        for key, (entry, size, _) in self._queue.items():
            batch_bytes += size
            if batch and (len(batch) >= BATCH_ENTRIES or batch_bytes > BATCH_BYTES):
                break
            batch[key] = entry
        for key in batch:
            self._discard(key)
        return batch

    def _discard(self, key: bytes) -> None:
        _, size, _ = self._queue.pop(key, (None, 0, 0))
        self._bytes -= size
