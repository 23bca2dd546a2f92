"""Replicas of the log that tests step by hand: no task runs, and time passes only where a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from redis.asyncio import Redis

from proxy.fleet.log import Appended
from proxy.fleet.log_server import RedisLogServer
from proxy.fleet.redis_log import RedisLog
from proxy.model import Held, StoredResponse, Validity
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.policy.invalidation import Selector
from proxy.store.redis_client import connect
from proxy.store.redis_servers import PerServer
from proxy.store.redis_topology import OneServer, Topology
from tests.support.purging import entry, keyed

NAMESPACE = "shop"
STREAM = f"{NAMESPACE}:log"
REPLICAS = f"{{{NAMESPACE}:log}}:replicas"
MAX_UNSYNCED = 30.0

_bits = count(1)


class SteppedClock:
    """Monotonic seconds that pass when a test says so; one clock for all replicas of a test."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Replica:
    """One process' copy of the log on a real server."""

    def __init__(self, servers: PerServer[Redis], name: str, clock: SteppedClock, **options: Any) -> None:
        self.name = name
        self.clock = clock
        self.metrics = Metrics()
        self.server = RedisLogServer(
            servers,
            namespace=NAMESPACE,
            name=name,
            nonce=lambda: next(_bits) << 32,
            deadline_seconds=options.pop("deadline_seconds", 2.0),
        )
        given: dict[str, Any] = {
            "keyed": keyed,
            "max_unsynced": MAX_UNSYNCED,
            "when_unsynced": "short",
            "metrics": self.metrics,
            "bits": lambda: next(_bits),
            "dice": lambda: 1.0,
            "clock": clock,
        }
        self.log = RedisLog(options.pop("server", self.server), **(given | options))

    async def sync(self) -> None:
        """Step until the log is read and nothing waits to be published."""
        for _ in range(1_000):
            if await self.log.step():
                return
        raise AssertionError(f"{self.log!r} never came to rest")

    async def purge(self, *selectors: Selector, soft: bool = False, wait: float | None = None) -> Appended:
        """Append, stepping until it has an answer; what was published is read then."""
        pending = spawn("purge", self.log.append(selectors, soft=soft, wait=wait))
        await asyncio.sleep(0)
        await self.sync()
        return await pending

    def fetch(self, target: bytes = b"/a", **changes: Any) -> tuple[StoredResponse, float]:
        """An entry whose fetch begins now, and when that is."""
        capture = self.log.capture()
        return entry(target, born=capture.born, **changes), capture.began_at

    def hold(self, fetched: tuple[StoredResponse, float]) -> Held:
        """Keep our own fetch in L1."""
        held = Held(fetched[0], 1, 0.0)
        held.began_at = fetched[1]
        return held

    def back_fill(self, stored: StoredResponse) -> Held:
        """Keep in L1 what L2 answered."""
        return Held(stored, 1, 0.0)

    def judge(self, stored: StoredResponse) -> Validity:
        """What L2 answered, now."""
        return self.log.judge(stored)


@asynccontextmanager
async def replica(
    where: str | Topology,
    name: str = "one",
    clock: SteppedClock | None = None,
    *,
    timeout: float = 2.0,
    **options: Any,
) -> AsyncIterator[Replica]:
    """A replica that has read nothing yet; `where` is one server's URL, or servers that were started."""
    topology = OneServer(where) if isinstance(where, str) else where
    servers = PerServer(topology, lambda url: connect(url, timeout=timeout))
    try:
        yield Replica(servers, name, clock or SteppedClock(), deadline_seconds=timeout, **options)
    finally:
        await servers.aclose()
