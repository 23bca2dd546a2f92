"""L2: the entries in Redis or Valkey servers that replicas may share.

Owns the keys, `<namespace>:e3:<32 hex digits>`, and which server is asked for which (redis_shard.py asks it).
An ACL needs `+mget +set ~<namespace>:e3:*`. Nothing here is an error to anybody: what cannot be read is a
miss, what cannot be written is dropped, both are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic, time

from proxy.model import Entry
from proxy.observe.metrics import Metrics
from proxy.store.batching import Batcher, Then
from proxy.store.codec import KEY_FORMAT, Garbage, decode, encode
from proxy.store.redis_client import GET_ALL, Command, Form, connect
from proxy.store.redis_link import Failure, Fault, RedisLink
from proxy.store.redis_servers import PerServer
from proxy.store.redis_shard import RedisShard, Write, count_failed_writes
from proxy.store.redis_topology import Topology
from proxy.store.write_behind import FLUSH_SECONDS, Drop, WriteBehind

LONGEST_TTL_SECONDS = 10 * 365 * 86400.0
"""An origin may state any lifetime, even one that the server would refuse as a number."""

_GET_ONE: Form = ("MGET", None)

Reading = tuple[RedisLink, Command, Callable[[object], Entry | None]]


class RedisStore:
    """L2. Makes its own connections to the servers of the topology, which somebody else starts and closes.

    `known` has what this replica holds of a key: where L2 has the same, that is what is found.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        namespace: str,
        timeout: float,
        metrics: Metrics,
        known: Callable[[bytes], Entry | None],
        now: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.prefix = f"{namespace}:{KEY_FORMAT}:".encode()
        """Begins the names of all that is here."""
        self._metrics = metrics
        self._known = known
        self._now = now
        self._is_slotted = topology.is_slotted

        def shard_at(url: str) -> RedisShard:
            return RedisShard(
                connect(url, timeout=timeout),
                timeout=timeout,
                probe_name=self.prefix + b"probe",
                is_slotted=topology.is_slotted,
                metrics=metrics,
                doubt=topology.doubt,
                clock=clock,
                pause=pause,
            )

        self._shards = PerServer(topology, shard_at)
        self._reads = Batcher(self._fetch)
        self._writes = WriteBehind(self._write, metrics, is_taken=self._takes_writes)

    def __repr__(self) -> str:
        return f"<RedisStore {self._shards!r} {self._writes!r}>"

    @property
    def is_open(self) -> bool:
        """A breaker is open, or nobody knows the servers: not all of L2 is asked."""
        return not self._shards.is_complete or any(shard.link.is_open for shard in self._shards.all())

    def link_of(self, name: bytes) -> RedisLink | None:
        """The one way to the server of a key, for whoever else asks it; None while nobody knows."""
        shard = self._shards.of(name)
        return None if shard is None else shard.link

    async def start(self) -> None:
        """Ask each server once, for at most `timeout`; they may be down."""
        await asyncio.gather(*(shard.start() for shard in self._shards.all()))

    async def aclose(self) -> None:
        """Write what is queued, for at most FLUSH_SECONDS, and close the connections."""
        await self._writes.aclose(FLUSH_SECONDS)
        await self._shards.aclose()

    async def look_up(self, key: bytes) -> Entry | None:
        """The entry, within the deadline; None when there is none or L2 failed."""
        shard = self._shard_of(key)
        if shard is None or shard.link.is_open:
            self._metrics.l2_operations.add("get", Fault.BREAKER.value)
            return None
        # What L1 is too small to hold must be found from its store on, not only once it was written.
        pending = self._writes.pending(key)
        if pending is not None:
            self._metrics.l2_operations.add("get", "queued")
            return pending
        return await self._reads.look_up(key)

    def reading(self, key: bytes, *, together: int) -> Reading | None:
        """For who asks the same server something else: how it reads an entry in the same round trip.

        Gives the way, the command, and what its reply means; one that takes any number of words may be joined
        with others, and its reply is its value of theirs. None: `look_up` knows at once, or the values of as
        many as may travel `together` would be too large.
        """
        shard = self._shard_of(key)
        if shard is None or shard.link.is_open or self._writes.pending(key) is not None:
            return None
        if self._reads.keys_together < together:
            return None
        # On a node of a cluster, a command names keys of one slot only.
        form = _GET_ONE if self._is_slotted else GET_ALL
        return shard.link, (form, (self._name(key),)), partial(self._read, key)

    def ask(self, key: bytes, then: Then) -> bool:
        """Look up without a wait: `then` is called once, in a later step. False: `look_up` knows at once."""
        shard = self._shard_of(key)
        if shard is None or shard.link.is_open or self._writes.pending(key) is not None:
            return False
        self._reads.ask(key, then)
        return True

    def put(self, key: bytes, entry: Entry) -> None:
        """Write the entry soon, for as long as it may be needed."""
        shard = self._shard_of(key)
        refusal = Fault.BREAKER if shard is None else shard.refusal
        if refusal is None:
            self._writes.put(key, entry)
        else:
            count_failed_writes(self._metrics, refusal)

    def when_written(self, then: Callable[[bool], None]) -> None:
        """Tell `then` once, within FLUSH_SECONDS, that what was put so far is there; False: it may not be."""
        self._writes.when_settled(then)

    def gauges(self) -> Mapping[str, Callable[[], Mapping[tuple[str, ...], float]]]:
        """The metrics of L2 that are read on scrape, by the name in the table of metrics."""
        return {
            "l2_breaker_open": lambda: {(): int(self.is_open)},
            "l2_queue_entries": lambda: {(): len(self._writes)},
            "l2_queue_bytes": lambda: {(): self._writes.waiting_bytes},
        }

    def _takes_writes(self) -> bool:
        return self._shards.is_complete and all(shard.refusal is None for shard in self._shards.all())

    def _name(self, key: bytes) -> bytes:
        return self.prefix + key.hex().encode()

    def _shard_of(self, key: bytes) -> RedisShard | None:
        # Where all keys are on one server, none need be named to find it.
        return self._shards.of(self._name(key) if self._is_slotted else b"")

    async def _fetch(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        if not self._is_slotted:
            return await self._fetch_from(self._shards.of(b""), keys)
        parts = self._by_server(keys)
        found = await asyncio.gather(*(self._fetch_from(shard, part) for shard, part in parts.items()))
        return {key: entry for part in found for key, entry in part.items()}

    async def _fetch_from(self, shard: RedisShard | None, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        values = _NOT_KNOWN if shard is None else await shard.get([self._name(key) for key in keys])
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

    def _read(self, key: bytes, reply: object) -> Entry | None:
        value = reply[0] if isinstance(reply, list) and len(reply) == 1 else reply
        if isinstance(value, bytes):
            self._reads.learn([len(value)])
        entry = self._decoded(key, value)
        if entry is not None:
            self._metrics.l2_operations.add("get", "hit")
        return entry

    def _by_server(self, keys: Iterable[bytes]) -> dict[RedisShard | None, list[bytes]]:
        """All keys that travel together."""
        if not self._is_slotted:
            return {self._shards.of(b""): list(keys)}
        parts: dict[RedisShard | None, list[bytes]] = {}
        for key in keys:
            parts.setdefault(self._shard_of(key), []).append(key)
        return parts

    def _decoded(self, key: bytes, value: object) -> Entry | None:
        if isinstance(value, Failure):
            self._metrics.l2_operations.add("get", value.fault.value)
            return None
        # A key that holds something other than a string reads as None: a miss, and overwritten likewise.
        if not isinstance(value, bytes):
            self._metrics.l2_operations.add("get", "miss")
            return None
        entry = decode(key, value, self._known(key))
        if isinstance(entry, Garbage):
            self._metrics.l2_operations.add("get", "garbage")
            self._metrics.l2_garbage.add(entry.value)
            return None
        return entry

    async def _write(self, batch: Mapping[bytes, Entry]) -> None:
        parts = self._by_server(batch)
        await asyncio.gather(*(self._write_to(shard, part, batch) for shard, part in parts.items()))

    async def _write_to(
        self, shard: RedisShard | None, keys: Sequence[bytes], batch: Mapping[bytes, Entry]
    ) -> None:
        writes = self._encoded({key: batch[key] for key in keys})
        if shard is None:
            count_failed_writes(self._metrics, Fault.BREAKER, len(writes))
        elif writes:
            await shard.set(writes)

    def _encoded(self, batch: Mapping[bytes, Entry]) -> list[Write]:
        now = self._now()
        writes: list[Write] = []
        for key, entry in batch.items():
            ttl_ms = int(min(entry.expires_at - now, LONGEST_TTL_SECONDS) * 1000)
            if ttl_ms > 0:
                writes.append((self._name(key), encode(key, entry), ttl_ms))
            else:
                self._writes.drop(Drop.EXPIRED)
        return writes


_NOT_KNOWN = Failure(Fault.BREAKER, "nobody knows the server")
