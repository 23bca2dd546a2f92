"""L2: the entries in a Redis or Valkey server that replicas may share.

Owns the keys, `<namespace>:e2:<32 hex digits>`, and what is asked of the server: MGET and SET only.
An ACL needs `+mget +set ~<namespace>:e2:*`. Nothing here is an error to anybody: what cannot be read is a
miss, what cannot be written is dropped, both are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, time

from redis.asyncio import Redis

from proxy.model import Entry
from proxy.observe.metrics import Metrics
from proxy.store.batching import Batcher
from proxy.store.codec import KEY_FORMAT, Garbage, decode, encode
from proxy.store.redis_client import get_all
from proxy.store.redis_link import Failure, Fault, RedisLink, failure_of
from proxy.store.write_behind import Drop, WriteBehind
from proxy.store.write_pause import WritePause

FLUSH_SECONDS = 1.0
"""How long anybody waits for the writes that are queued."""
LONGEST_TTL_SECONDS = 10 * 365 * 86400.0
"""An origin may state any lifetime, even one that the server would refuse as a number."""

_Writes = list[tuple[bytes, bytes, int]]
"""Key in the server, value, time to live in milliseconds."""


class RedisStore:
    """L2. Takes the client over: closing the store closes it."""

    def __init__(
        self,
        client: Redis,
        *,
        namespace: str,
        timeout: float,
        metrics: Metrics,
        now: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._prefix = f"{namespace}:{KEY_FORMAT}:".encode()
        self._metrics = metrics
        self._now = now
        self.link = RedisLink(
            client, timeout=timeout, probe=self._read_probe, metrics=metrics, clock=clock, pause=pause
        )
        """The one way to the server: whoever else asks it in these deadlines shares the breaker."""
        self._reads = Batcher(self._fetch)
        self._writes = WriteBehind(self._write, metrics)
        self._pause = WritePause(clock)

    def __repr__(self) -> str:
        return f"<RedisStore {self.link!r} {self._writes!r}>"

    @property
    def is_open(self) -> bool:
        """The breaker is open: L2 is not asked, every look-up is a miss."""
        return self.link.is_open

    async def start(self) -> None:
        """Ask the server once, for at most `timeout`; it may be down."""
        await self.link.start()

    async def aclose(self) -> None:
        """Write what is queued, for at most FLUSH_SECONDS, and close the connections."""
        await self._writes.aclose(FLUSH_SECONDS)
        await self.link.aclose()

    async def look_up(self, key: bytes) -> Entry | None:
        """The entry, within the deadline; None when there is none or L2 failed."""
        if self.link.is_open:
            self._metrics.l2_operations.add("get", Fault.BREAKER.value)
            return None
        # What L1 is too small to hold must be found from its store on, not only once it was written.
        pending = self._writes.pending(key)
        if pending is not None:
            self._metrics.l2_operations.add("get", "queued")
            return pending
        return await self._reads.look_up(key)

    def put(self, key: bytes, entry: Entry) -> None:
        """Write the entry soon, for as long as it may be needed."""
        if self.link.is_open:
            self._count_failed_writes(Fault.BREAKER)
            return
        refusal = self._pause.failure
        if refusal is not None:
            self._count_failed_writes(refusal.fault)
            return
        self._writes.put(key, entry)

    async def written(self) -> bool:
        """Wait, FLUSH_SECONDS at most, for what was put so far; False: L2 may not have it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._writes.settled()
                return not self.link.is_open and self._pause.failure is None
        return False

    def gauges(self) -> Mapping[str, Callable[[], Mapping[tuple[str, ...], float]]]:
        """The metrics of L2 that are read on scrape, by the name in the table of metrics."""
        return {
            "l2_breaker_open": lambda: {(): int(self.is_open)},
            "l2_queue_entries": lambda: {(): len(self._writes)},
            "l2_queue_bytes": lambda: {(): self._writes.waiting_bytes},
        }

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key.hex().encode()

    async def _read_probe(self, client: Redis) -> object:
        """What look-ups do, so that a server that answers only PING does not pass."""
        return await get_all(client, [self._prefix + b"probe"])

    async def _fetch(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        names = [self._name(key) for key in keys]
        values = await self.link.ask("get", lambda client: get_all(client, names))
        if isinstance(values, Failure):
            self._metrics.l2_operations.add("get", values.fault.value, by=len(keys))
            return {}
        self._reads.learn([len(value) for value in values if isinstance(value, bytes)])
        found = {
            key: entry
            for key, value in zip(keys, values, strict=True)
            if (entry := self._decoded(key, value)) is not None
        }
        if found:
            self._metrics.l2_operations.add("get", "hit", by=len(found))
        return found

    def _decoded(self, key: bytes, value: object) -> Entry | None:
        # A key that holds something other than a string reads as None: a miss, and overwritten likewise.
        if not isinstance(value, bytes):
            self._metrics.l2_operations.add("get", "miss")
            return None
        entry = decode(key, value)
        if isinstance(entry, Garbage):
            self._metrics.l2_operations.add("get", "garbage")
            self._metrics.l2_garbage.add(entry.value)
            return None
        return entry

    async def _write(self, batch: Mapping[bytes, Entry]) -> None:
        writes = self._encoded(batch)
        if not writes:
            return
        replies = await self.link.ask("set", lambda client: _set_all(client, writes))
        if isinstance(replies, Failure):
            self._count_failed_writes(replies.fault, len(writes))
            return
        self._note(replies)

    def _encoded(self, batch: Mapping[bytes, Entry]) -> _Writes:
        now = self._now()
        writes: _Writes = []
        for key, entry in batch.items():
            ttl_ms = int(min(entry.expires_at - now, LONGEST_TTL_SECONDS) * 1000)
            if ttl_ms > 0:
                writes.append((self._name(key), encode(key, entry), ttl_ms))
            else:
                self._writes.drop(Drop.EXPIRED)
        return writes

    def _note(self, replies: Sequence[object]) -> None:
        """Count each write of a batch that was answered."""
        failures = [failure_of(reply) for reply in replies if isinstance(reply, Exception)]
        self._metrics.l2_operations.add("set", "stored", by=len(replies) - len(failures))
        for failure in failures:
            self._count_failed_writes(failure.fault)
        if failures:
            self._refused(failures[0])
        else:
            self._pause.accepted()

    def _refused(self, failure: Failure) -> None:
        self._pause.refused(failure)
        if failure.fault is Fault.READ_ONLY:
            # The name may lead to another server by now, and only new connections ask it again.
            self.link.trip(failure)

    def _count_failed_writes(self, fault: Fault, count: int = 1) -> None:
        self._metrics.l2_operations.add("set", fault.value, by=count)
        self._metrics.l2_dropped_writes.add(fault.value, by=count)


async def _set_all(client: Redis, writes: _Writes) -> list[object]:
    """One round trip; an exception among the replies belongs to its own command only."""
    async with client.pipeline(transaction=False) as pipeline:
        for name, value, ttl_ms in writes:
            pipeline.execute_command("SET", name, value, "PX", ttl_ms)
        replies: list[object] = await pipeline.execute(raise_on_error=False)
    return replies
