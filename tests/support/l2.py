"""An L2 on a real server, with the clocks in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from proxy.model import Entry
from proxy.observe.metrics import Counter, Metrics
from proxy.observe.tasks import running
from proxy.store.redis import RedisStore
from proxy.store.redis_topology import OneServer, Topology
from tests.support.clocks import GatedPause, SteppedClock
from tests.support.entries import NOW

NAMESPACE = "shop"


@dataclass
class L2:
    """A store whose time stands still: `now` is the wall clock, `clock` the monotonic one."""

    where: str | Topology
    """One server's URL, or servers that were started."""
    timeout: float = 0.2
    namespace: str = NAMESPACE
    metrics: Metrics = field(default_factory=Metrics)
    known: dict[bytes, Entry] = field(default_factory=dict)
    """What L1 holds."""
    now: SteppedClock = field(default_factory=lambda: SteppedClock(NOW))
    clock: SteppedClock = field(default_factory=SteppedClock)

    def __post_init__(self) -> None:
        self.pause = GatedPause(self.clock)
        self.store = RedisStore(
            OneServer(self.where) if isinstance(self.where, str) else self.where,
            namespace=self.namespace,
            timeout=self.timeout,
            metrics=self.metrics,
            known=self.known.get,
            now=self.now,
            clock=self.clock,
            pause=self.pause,
        )

    def name(self, key: bytes) -> str:
        """What the key is called in the server."""
        return f"{self.namespace}:e3:{key.hex()}"

    async def written(self) -> None:
        """Wait until the writes of this tick have been sent and answered, or dropped."""
        writers = {task for task in running() if task.get_name() == "l2 writes"}
        if writers:
            await asyncio.wait(writers, timeout=5)

    async def until_closed(self) -> None:
        """Wait for a probe under way to be answered."""
        async with asyncio.timeout(5):
            while self.store.is_open:  # noqa: ASYNC110 - a state, not an event
                await asyncio.sleep(0.001)

    def operations(self, operation: str) -> dict[str, int]:
        """Counted so far, by result."""
        counts = self.metrics.l2_operations.values.items()
        return {result: count for (counted, result), count in counts if counted == operation and count}

    def drops(self) -> dict[str, int]:
        return _by_cause(self.metrics.l2_dropped_writes)

    def garbage(self) -> dict[str, int]:
        return _by_cause(self.metrics.l2_garbage)


@asynccontextmanager
async def opened(url: str, *, timeout: float = 0.2, namespace: str = NAMESPACE) -> AsyncIterator[L2]:
    """A store that is not started, closed at the end."""
    l2 = L2(url, timeout=timeout, namespace=namespace)
    try:
        yield l2
    finally:
        await l2.store.aclose()


def _by_cause(counter: Counter) -> dict[str, int]:
    return {cause: count for (cause,), count in counter.values.items()}
