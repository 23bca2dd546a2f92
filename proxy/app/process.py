"""One process that serves: builds every object once, starts and stops them in order."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

import structlog

from proxy.admin.inspection import ProcessInspection, no_fleet
from proxy.admin.invalidation import LogInvalidation
from proxy.admin.lifecycle import ProcessLifecycle
from proxy.admin.operations import Operations
from proxy.admin.protocols import Configuration
from proxy.config.container import l1_byte_budget, memory_limit_bytes, spool_byte_budget
from proxy.config.schema import Config
from proxy.end_signals import EndSignals
from proxy.engine.assembly import assemble
from proxy.engine.prefetching import Prefetcher
from proxy.engine.protocols import Log
from proxy.engine.refetching import Refetcher
from proxy.fleet.local_log import LocalLog
from proxy.fleet.siblings_log import SiblingsLog
from proxy.model import LETTER
from proxy.net.descriptors import make_room
from proxy.net.listener import Listener
from proxy.net.origin import OriginClient
from proxy.observe import collector, logs
from proxy.observe.loop_lag import LoopLag
from proxy.observe.metrics import Metrics
from proxy.observe.recorder import Recorder
from proxy.observe.tasks import spawn
from proxy.policy.cache_key import keyed_target
from proxy.policy.routes import Routes
from proxy.policy.selected import Keyed
from proxy.store.heat import Heat
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore

if TYPE_CHECKING:
    from proxy.app.shared_tier import SharedTier
    from proxy.app.warming import Warming
    from proxy.fleet.redis_log import RedisLog
    from proxy.store.redis import RedisStore

READY_SECONDS = 1.0
"""How long readiness waits for the first read of the log; never longer for Redis, never for the origin."""
SWEEP_SECONDS = 1.0
SWEEP_ENTRIES = 1000
"""Expired entries that nobody asks for leave at this pace at least."""

_log = structlog.get_logger("sidecache")


class Post(Protocol):
    """Where a process meets the world: alone with ports of its own, or as one of several workers."""

    @property
    def ready_word(self) -> str:
        """What the log says once it serves."""

    @property
    def replica(self) -> str:
        """Its name among those that share an L2."""

    def log_for(self, local: LocalLog) -> LocalLog | SiblingsLog:
        """The log that the engine asks where no L2 is shared."""

    def build(self, process: Process) -> None:
        """Make what is opened later."""

    async def open(self, process: Process) -> Mapping[str, str]:
        """Bind everything and accept clients; where, for the log. Raises OSError."""

    async def close(self) -> None:
        """Stop listening, the data port aside."""


class Process:
    """A running sidecar, or one of its workers. Make it and `run` it inside the loop."""

    def __init__(self, config: Config, post: Post) -> None:
        self._config = config
        self._post = post
        self.metrics = Metrics()
        self.signals = EndSignals()

    async def run(self) -> None:
        """Start, serve until told to end, drain, stop. Raises StoreUnavailable and OSError."""
        try:
            # First of all: as PID 1 of a container a process ignores the signals that it does not handle.
            self.signals.heed()
            await self._build()
            await self._start()
            await self.signals.first.wait()
            await self._drain()
        finally:
            await self._stop()
            self.signals.ignore()

    # Building: from the stores up to the ports.

    async def _build(self) -> None:
        config, metrics = self._config, self.metrics
        self.recorder = Recorder(metrics, access_share=config.logs.access)
        self._routes = Routes(config)
        self.memory = MemoryStore(
            metrics,
            max_entries=config.l1.max_entries,
            max_bytes=l1_byte_budget(config.l1.max_bytes, memory_limit_bytes()),
            max_entry_bytes=config.l1.max_entry_bytes,
        )
        metrics.gauges.update(self.memory.gauges())
        await self._build_log()
        self._origin = OriginClient(
            config.origin,
            limits=config.limits,
            forwarded=config.forwarded,
            metrics=metrics,
            keyed=_keyed_fields(config),
            relays_codings=config.profile == LETTER,
        )
        self._build_engine()
        warming = self._warming
        self.lifecycle = ProcessLifecycle(
            on_drain=self.drain,
            on_undo=self.undo_drain,
            warms=lambda: warming is not None and warming.is_filling,
        )
        self.listener = Listener(self.flow, config, metrics, self.recorder, self._origin)
        self._post.build(self)
        metrics.gauges["draining"] = lambda: {(): float(self.lifecycle.is_draining)}
        self._lag = LoopLag()
        metrics.gauges["loop_lag_seconds"] = self._lag.gauge

    async def _build_log(self) -> None:
        self._tier: SharedTier | None = None
        self._shared: RedisStore | None = None
        self.log: LocalLog | RedisLog
        self._engine_log: Log
        if self._config.l2.url == "off":
            self.log = local = LocalLog(keyed=self._keyed(), nonce=secrets.randbits(64), metrics=self.metrics)
            self._engine_log = self._post.log_for(local)
            return
        # The clients of Redis take 7 MiB and an eighth of the time of a start: not without L2.
        from proxy.app.shared_tier import SharedTier  # noqa: PLC0415

        self._tier = tier = SharedTier(self._config.l2, self.metrics, known=self.memory.entry)
        self._shared, log = await tier.build(replica=self._post.replica, keyed=self._keyed())
        self.log = self._engine_log = log

    def _build_engine(self) -> None:
        tiers = TieredStore(self.memory, self._shared, on_error=self._config.l2.on_error)
        self._build_warming(tiers)
        self.flow = assemble(
            self._config,
            origin=self._origin,
            tiers=tiers,
            shared=tiers,
            log=self._engine_log,
            leases=self._tier.leases if self._tier is not None else None,
            metrics=self.metrics,
            spool_bytes=spool_byte_budget(self._config.limits.spool, memory_limit_bytes()),
        )
        self.prefetcher = Prefetcher(self.flow, self.metrics)
        most = self._config.limits.refresh_entries
        self.refetcher = Refetcher(self.flow, self.prefetcher, most=most)

    def _build_warming(self, tiers: TieredStore) -> None:
        self._heat = Heat(self.memory, most_keys=self._config.warm.keys)
        self._warming: Warming | None = None
        tier = self._tier
        if self._config.warm.from_ == "off" or tier is None or tier.store is None or tier.log is None:
            return
        from proxy.app.warming import Warming  # noqa: PLC0415 - as with L2 itself

        self._warming = Warming(
            self._config,
            tiers=tiers,
            heat=self._heat,
            store=tier.store,
            log=tier.log,
            metrics=self.metrics,
        )

    def operations(self, configuration: Configuration) -> Operations:
        """What an admin port of this process works on."""
        overview = self._tier.overview if self._tier is not None else None
        inspection = ProcessInspection(
            self.metrics,
            entries=self.memory.entries,
            config=lambda: self._config,
            fleet=overview.facts if overview is not None else no_fleet,
        )
        invalidation = LogInvalidation(
            self.log,
            entries=self.memory.entries,
            keyed=self._keyed,
            refreshing=self.refetcher,
            most_refreshed=self._config.limits.refresh_entries,
            seconds_idle=self._heat.seconds_idle,
        )
        return Operations(invalidation, inspection, configuration, self.prefetcher)

    def _keyed(self) -> Keyed:
        """How a URL to purge becomes keys: through the code of the routes in force."""
        routes = self._routes

        def keyed(host: bytes | None, target: bytes) -> Collection[tuple[str, bytes]]:
            found = routes.cacheable_for_url(host, target)
            return [(route.name, keyed_target(route, target)) for route in found]

        return keyed

    # Starting and serving.

    async def _start(self) -> None:
        make_room(self._config)
        if self._tier is not None:
            await self._tier.start()
        self.log.start()
        await self._origin.start()
        where = await self._post.open(self)
        self._background = [spawn("loop lag", self._lag.run()), spawn("L1 sweep", self._sweep())]
        began_at = time.monotonic()
        await self.log.first_read(READY_SECONDS)
        collector.settle()
        self.lifecycle.started()
        if self._warming is not None:
            waited_seconds = time.monotonic() - began_at
            await self._warming.fill(waited_seconds=waited_seconds, told_to_end=self.signals.first)
            self._background.append(spawn("hot lists", self._warming.report()))
        _log.info(self._post.ready_word, **where)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.memory.sweep(time.time(), SWEEP_ENTRIES)

    def use(self, config: Config) -> None:
        """Put a reloaded configuration in force; all is built before anything is swapped."""
        routes = Routes(config)
        self.flow.use(config)
        self._routes, self._config = routes, config
        self.log.read_again(self._keyed())
        self._origin.use(config.forwarded, _keyed_fields(config))
        self.listener.use(config)
        logs.configure(level=config.logs.level, form=config.logs.format)
        self.recorder.sample(config.logs.access)

    # Ending.

    def drain(self) -> None:
        """Make every answer the last of its connection."""
        _log.info("draining")
        self.refetcher.stop()
        self.listener.drain()

    def undo_drain(self) -> None:
        """Serve on as if nothing had been."""
        _log.info("drain undone")
        self.listener.undo_drain()

    async def _drain(self) -> None:
        self.lifecycle.end()
        finishing = spawn("drain", self._finish_requests())
        at_once = spawn("second signal", self.signals.second.wait())
        # Bounded by drain.delay and drain.timeout, both inside.
        await asyncio.wait({finishing, at_once}, return_when=asyncio.FIRST_COMPLETED)
        finishing.cancel()
        at_once.cancel()

    async def _finish_requests(self) -> None:
        drain = self._config.drain
        await asyncio.sleep(drain.delay)
        await self.listener.finish(drain.timeout)

    async def _stop(self) -> None:
        for task in getattr(self, "_background", []):
            task.cancel()
        refetcher: Refetcher | None = getattr(self, "refetcher", None)
        if refetcher is not None:
            refetcher.stop()
        tier: SharedTier | None = getattr(self, "_tier", None)
        for part in ("listener", "_origin", "log"):
            await _close(getattr(self, part, None))
        if tier is not None:
            await tier.aclose()
        await self._post.close()
        if tier is not None:
            await tier.disconnect()
        _log.info("ended")


async def _close(part: object) -> None:
    match part:
        case Listener():
            await part.finish(0)
        case OriginClient():
            await part.aclose(0)
        case LocalLog():
            await part.aclose()
        case _:
            pass


def _keyed_fields(config: Config) -> frozenset[bytes]:
    """Request fields that cache keys hold or that decide about the cache, lower case."""
    names: set[str] = set()
    for policy in (config.defaults, *config.routes):
        names.update(policy.key.headers, policy.bypass_when.headers)
        if policy.identity.kind == "header":
            names.add(policy.identity.name)
    return frozenset(name.lower().encode() for name in names)
