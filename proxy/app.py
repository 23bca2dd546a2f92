"""Assembly: builds every object once from the configuration, starts and stops them in order.

The only module that names concrete classes of all layers. Decides nothing about requests.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Collection
from pathlib import Path

import structlog
import uvloop
from redis.asyncio import Redis

from proxy.admin.inspection import ProcessInspection
from proxy.admin.invalidation import LogInvalidation
from proxy.admin.lifecycle import ProcessLifecycle
from proxy.admin.operations import Operations, admin_application
from proxy.admin.ops import ops_application
from proxy.admin.protocols import Configuration
from proxy.admin.server import Port
from proxy.config.container import l1_byte_budget, memory_limit_bytes, spool_byte_budget
from proxy.config.loading import Loaded
from proxy.config.reloading import FixedConfiguration, Reloader
from proxy.config.schema import Address, Config
from proxy.end_signals import EndSignals
from proxy.engine.assembly import assemble
from proxy.fleet.leases import Leases
from proxy.fleet.local_log import LocalLog
from proxy.fleet.log_server import RedisLogServer
from proxy.fleet.redis_log import RedisLog
from proxy.model import LETTER
from proxy.net.descriptors import make_room
from proxy.net.listener import Listener
from proxy.net.origin import OriginClient
from proxy.observe import logs
from proxy.observe.loop_lag import LoopLag
from proxy.observe.metrics import Metrics
from proxy.observe.recorder import Recorder
from proxy.observe.tasks import spawn
from proxy.policy.cache_key import keyed_target
from proxy.policy.routes import Routes
from proxy.policy.selected import Keyed
from proxy.store.embedded import EmbeddedServer
from proxy.store.memory import MemoryStore
from proxy.store.redis import RedisStore
from proxy.store.redis_client import StoreUnavailable, connect
from proxy.store.supervision import Supervisor
from proxy.store.tiered import TieredStore

READY_SECONDS = 1.0
"""How long readiness waits for the first read of the log; never longer for Redis, never for the origin."""
SWEEP_SECONDS = 1.0
SWEEP_ENTRIES = 1000
"""Expired entries that nobody asks for leave at this pace at least."""
LOG_TIMEOUT_SECONDS = 1.0
"""A read of the log holds up no request, so it may take longer than a look-up in L2."""
EXIT_FAULTY = 2

_log = structlog.get_logger("sidecache")


def serve(loaded: Loaded, *, source: Path | None) -> int:
    """Run the sidecar until SIGTERM or SIGINT; the exit code. `source` is watched for changes."""
    config = loaded.config
    logs.configure(level=config.logs.level, form=config.logs.format)
    for warning in loaded.warnings:
        _log.warning("configuration", warning=str(warning))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Process(loaded, source).run())
    except (StoreUnavailable, OSError) as error:
        _log.error("cannot start", error=str(error))
        return EXIT_FAULTY
    return 0


class Process:
    """One running sidecar. Make it and `run` it inside the loop."""

    def __init__(self, loaded: Loaded, source: Path | None) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._source = source
        self.metrics = Metrics()
        self._embedded: EmbeddedServer | None = None
        self._supervisor: Supervisor | None = None
        self._log_client: Redis | None = None
        self._signals = EndSignals()

    async def run(self) -> None:
        """Start, serve until told to end, drain, stop. Raises StoreUnavailable and OSError."""
        try:
            # First of all: as PID 1 of a container a process ignores the signals that it does not handle.
            self._signals.heed()
            await self._build()
            await self._start()
            await self._signals.first.wait()
            await self._drain()
        finally:
            await self._stop()
            self._signals.ignore()

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
        await self._build_shared_tier()
        self._origin = OriginClient(
            config.origin,
            limits=config.limits,
            forwarded=config.forwarded,
            metrics=metrics,
            keyed=_keyed_fields(config),
            relays_codings=config.profile == LETTER,
        )
        self._build_engine()
        self.lifecycle = ProcessLifecycle(on_drain=self._begin_drain, on_undo=self._undo_drain)
        self._listener = Listener(self.flow, config, metrics, self.recorder)
        self._build_ports()
        metrics.gauges["draining"] = lambda: {(): float(self.lifecycle.is_draining)}
        self._lag = LoopLag()
        metrics.gauges["loop_lag_seconds"] = self._lag.gauge

    async def _build_shared_tier(self) -> None:
        l2 = self._config.l2
        url = l2.url
        self._shared: RedisStore | None = None
        self._leases: Leases | None = None
        self.log: LocalLog | RedisLog
        if url == "off":
            self.log = LocalLog(keyed=self._keyed(), nonce=_random_bits(), metrics=self.metrics)
            return
        is_private = url == "embedded"
        if is_private:
            self._embedded = EmbeddedServer()
            await self._embedded.start()
            self._supervisor = Supervisor(self._embedded, self.metrics)
            url = self._embedded.url
        self._shared = RedisStore(
            connect(url, timeout=l2.timeout), namespace=l2.namespace, timeout=l2.timeout, metrics=self.metrics
        )
        self.metrics.gauges.update(self._shared.gauges())
        if not is_private:
            self._leases = Leases(
                self._shared.link, namespace=l2.namespace, token=lambda: secrets.token_bytes(8)
            )
            self.metrics.gauges.update(self._leases.gauges())
        self._log_client = connect(url, timeout=LOG_TIMEOUT_SECONDS)
        server = RedisLogServer(
            self._log_client,
            namespace=l2.namespace,
            name=f"{socket.gethostname()}-{os.getpid()}",
            nonce=_random_bits,
        )
        self.log = RedisLog(
            server,
            keyed=self._keyed(),
            max_unsynced=l2.max_unsynced,
            when_unsynced=l2.when_unsynced,
            metrics=self.metrics,
            bits=_random_bits,
            dice=random.random,
        )

    def _build_engine(self) -> None:
        tiers = TieredStore(self.memory, self._shared, on_error=self._config.l2.on_error)
        self.flow = assemble(
            self._config,
            origin=self._origin,
            tiers=tiers,
            shared=tiers,
            log=self.log,
            leases=self._leases,
            metrics=self.metrics,
            spool_bytes=spool_byte_budget(self._config.limits.spool, memory_limit_bytes()),
        )

    def _build_ports(self) -> None:
        self._reloader = self._reloader_of_source()
        self._ops = Port(ops_application(self.lifecycle, self.metrics.exposition))
        operations = Operations(
            LogInvalidation(self.log, entries=self.memory.entries, keyed=self._keyed),
            ProcessInspection(self.metrics, entries=self.memory.entries, config=lambda: self._config),
            self._configuration(),
        )
        self._admin = Port(admin_application(operations, token=self._config.admin.token))

    def _reloader_of_source(self) -> Reloader | None:
        if self._source is None:
            return None
        reloader = Reloader(
            self._source,
            self._loaded,
            environ=os.environ,
            apply=self._apply,
            counter=self.metrics.config_reloads,
        )
        self.metrics.gauges.update(reloader.gauges())
        return reloader

    def _configuration(self) -> Configuration:
        return self._reloader or FixedConfiguration(self._config)

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
        if self._supervisor is not None:
            self._supervisor.start()
        if self._shared is not None:
            await self._shared.start()
        self.log.start()
        await self._origin.start()
        bound = await self._listener.start(self._config.listen)
        ops = await self._ops.open(self._config.ops.listen) if self._config.ops.listen else None
        admin = await self._admin.open(self._config.admin.listen) if self._config.admin.listen else None
        if self._reloader is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reloader.ask)
        self._background = [spawn("loop lag", self._lag.run()), spawn("L1 sweep", self._sweep())]
        if self._reloader is not None:
            self._background.append(spawn("reloader", self._reloader.run()))
        await self.log.first_read(READY_SECONDS)
        self.lifecycle.started()
        _log.info("ready", listen=_text(*bound), ops=_text(ops), admin=_text(admin))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.memory.sweep(time.time(), SWEEP_ENTRIES)

    def _apply(self, config: Config) -> None:
        """Put a reloaded configuration in force; all is built before anything is swapped."""
        routes = Routes(config)
        self.flow.use(config)
        self._routes, self._config = routes, config
        self.log.read_again(self._keyed())
        self._listener.use(config)
        self._origin.use(config.forwarded, _keyed_fields(config))
        logs.configure(level=config.logs.level, form=config.logs.format)
        self.recorder.sample(config.logs.access)

    # Ending.

    def _begin_drain(self) -> None:
        _log.info("draining")
        self._listener.drain()

    def _undo_drain(self) -> None:
        _log.info("drain undone")
        self._listener.undo_drain()

    async def _drain(self) -> None:
        self.lifecycle.end()
        finishing = spawn("drain", self._finish_requests())
        at_once = spawn("second signal", self._signals.second.wait())
        # Bounded by drain.delay and drain.timeout, both inside.
        await asyncio.wait({finishing, at_once}, return_when=asyncio.FIRST_COMPLETED)
        finishing.cancel()
        at_once.cancel()

    async def _finish_requests(self) -> None:
        drain = self._config.drain
        await asyncio.sleep(drain.delay)
        await self._listener.finish(drain.timeout)

    async def _stop(self) -> None:
        for task in getattr(self, "_background", []):
            task.cancel()
        for part in ("_listener", "_origin", "log", "_leases", "_shared", "_ops", "_admin"):
            await _close(getattr(self, part, None))
        if self._log_client is not None:
            await self._log_client.aclose()
        if self._supervisor is not None:
            await self._supervisor.aclose()
        if self._embedded is not None:
            await self._embedded.stop()
        _log.info("ended")


async def _close(part: object) -> None:
    match part:
        case Listener():
            await part.finish(0)
        case OriginClient():
            await part.aclose(0)
        case RedisStore() | LocalLog() | RedisLog() | Leases():
            await part.aclose()
        case Port():
            await part.close()
        case _:
            pass


def _random_bits() -> int:
    return secrets.randbits(64)


def _text(*addresses: Address | None) -> str:
    return ", ".join(str(address) for address in addresses if address is not None) or "off"


def _keyed_fields(config: Config) -> frozenset[bytes]:
    """Request fields that cache keys hold or that decide about the cache, lower case."""
    names: set[str] = set()
    for policy in (config.defaults, *config.routes):
        names.update(policy.key.headers, policy.bypass_when.headers)
        if policy.identity.kind == "header":
            names.add(policy.identity.name)
    return frozenset(name.lower().encode() for name in names)
