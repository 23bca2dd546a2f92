"""Fills L1 before readiness with what the fleet asks for most, and tells the fleet what is hot here.

Only where `warm.from` is `l2`. Readiness waits for it; clients that come all the same are served.
"""

from __future__ import annotations

import asyncio
import random
import time

import structlog

from proxy.config.schema import Config
from proxy.engine.warming import Warmer
from proxy.fleet.redis_log import RedisLog
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.policy.routes import Routes
from proxy.store.heat import Heat
from proxy.store.hot_lists import HotLists
from proxy.store.hot_reporting import HotReporter
from proxy.store.redis import RedisStore
from proxy.store.tiered import TieredStore

PROGRESS_SECONDS = 1.0
"""Between two lines of the log while L1 is filled."""

_log = structlog.get_logger("sidecache.warm")


class Warming:
    """Of one process: `fill` once, then `report` as long as it runs."""

    def __init__(
        self,
        config: Config,
        *,
        tiers: TieredStore,
        heat: Heat,
        store: RedisStore,
        log: RedisLog,
        metrics: Metrics,
    ) -> None:
        self._config = config.warm
        self._log = log
        lists = HotLists(store.link_of, prefix=store.prefix, metrics=metrics, dice=random.random)
        self._warmer = Warmer(
            tiers=tiers,
            log=log,
            hot_keys=lists,
            policies=Routes(config).caching,
            metrics=metrics,
            clock=time.time,
        )
        self._reporter = HotReporter(heat, lists, shard_count=heat.shard_count, replicas=lambda: log.known)
        self.is_filling = True
        """From the beginning until readiness need not wait any more."""
        metrics.gauges["warming"] = lambda: {(): float(self.is_filling)}

    async def fill(self, *, waited_seconds: float, told_to_end: asyncio.Event) -> None:
        """Until all is filled, `timeout` is over, or the process is told to end.

        `waited_seconds`: so long readiness has waited already.
        """
        filling = spawn("warm", self._run())
        told = spawn("warm until told", told_to_end.wait())
        telling = spawn("warm progress", self._tell())
        started_at = time.monotonic()
        try:
            timeout = max(0.0, self._config.timeout - waited_seconds)
            ends = {filling, told}
            done, _ = await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (filling, told, telling):
                task.cancel()
            self.is_filling = False
        seconds = round(time.monotonic() - started_at, 3)
        # None that crashed, nor one that was never let at L2.
        is_complete = filling in done and filling.exception() is None and filling.result()
        _log.info("warmed", complete=is_complete, seconds=seconds, **self._warmer.progress())

    async def report(self) -> None:
        """Look at what is used here, and tell it, for ever."""
        await self._reporter.run()

    async def _run(self) -> bool:
        """False: it was not let at L2."""
        # Nothing of L2 may be used before the log was read once (R16).
        if not await self._log.first_read(self._config.timeout):
            return False
        await self._warmer.run(self._config.keys)
        return True

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            _log.info("warming", **self._warmer.progress())
