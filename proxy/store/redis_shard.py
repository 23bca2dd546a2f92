"""The part of L2 that one server holds: MGET and SET, and whether it takes writes at the moment.

Knows names and bytes, nothing of entries. Nothing here is an error to anybody: failures are values, and what
could not be written is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from time import monotonic

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import AskError

from proxy.observe.metrics import Metrics
from proxy.store.redis_client import GET_ALL, Form, get_all
from proxy.store.redis_link import Failure, Fault, RedisLink
from proxy.store.write_pause import PAUSE_SECONDS, WritePause

_SET: Form = ("SET", None, None, "PX", None)

Write = tuple[bytes, bytes, int]
"""Name, value, time to live in milliseconds."""


class RedisShard:
    """One server. `is_slotted`: it is a node of a cluster, where a command names keys of one slot only."""

    def __init__(
        self,
        client: Redis,
        *,
        timeout: float,
        probe_name: bytes,
        is_slotted: bool,
        metrics: Metrics,
        doubt: Callable[[], None],
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._probe_name = probe_name
        self._is_slotted = is_slotted
        self._metrics = metrics
        self._pause = WritePause(clock)
        self.link = RedisLink(
            client, timeout=timeout, probe=self._probe, metrics=metrics, doubt=doubt, clock=clock, pause=pause
        )
        """The one way to the server: whoever else asks it in these deadlines shares the breaker."""
        self.start = self.link.start
        self.aclose = self.link.aclose

    def __repr__(self) -> str:
        return f"<RedisShard {self.link!r} {self._pause!r}>"

    @property
    def refusal(self) -> Fault | None:
        """Why no write is sent now; None when writes may be tried."""
        if self.link.is_open:
            return Fault.BREAKER
        refusal = self._pause.failure
        return None if refusal is None else refusal.fault

    async def get(self, names: Sequence[bytes]) -> Sequence[object] | Failure:
        """One value a name: bytes, or None, or a Failure of its own."""
        if self._is_slotted:
            return await self._get_by_slot(names)
        return await self.link.ask("get", lambda client: get_all(client, names))

    async def set(self, writes: Sequence[Write]) -> None:
        """Write them, or count why not."""
        commands = [(_SET, (name, value, b"%d" % ttl_ms)) for name, value, ttl_ms in writes]
        replies = await self.link.ask_all("set", commands)
        if isinstance(replies, Failure):
            count_failed_writes(self._metrics, replies.fault, len(writes))
            return
        failures = [reply for reply in replies if isinstance(reply, Failure)]
        self._metrics.l2_operations.add("set", "stored", by=len(replies) - len(failures))
        for failure in failures:
            count_failed_writes(self._metrics, failure.fault)
        self._note(failures)

    def _note(self, failures: Sequence[Failure]) -> None:
        refusal = next((failure for failure in failures if failure.fault in PAUSE_SECONDS), None)
        if refusal is not None:
            self._pause.refused(refusal)
        elif not failures:
            self._pause.accepted()

    async def _probe(self, client: Redis) -> object:
        """What look-ups do, so that a server that answers only PING does not pass."""
        # A node that sends us elsewhere is alive, and no name is in a slot of every node.
        with suppress(AskError):
            return await get_all(client, [self._probe_name])
        return None

    async def _get_by_slot(self, names: Sequence[bytes]) -> Sequence[object] | Failure:
        order = sorted(names, key=key_slot)
        parts = [tuple(part) for _, part in groupby(order, key_slot)]
        replies = await self.link.ask_all("get", [(GET_ALL, part) for part in parts])
        if isinstance(replies, Failure):
            return replies
        values: dict[bytes, object] = {}
        for part, reply in zip(parts, replies, strict=True):
            found = reply if isinstance(reply, list) else [reply] * len(part)
            values.update(zip(part, found, strict=True))
        return [values[name] for name in names]


def count_failed_writes(metrics: Metrics, fault: Fault, count: int = 1) -> None:
    """Count writes that were given up because of L2."""
    metrics.l2_operations.add("set", fault.value, by=count)
    metrics.l2_dropped_writes.add(fault.value, by=count)
