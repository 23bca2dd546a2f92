"""Several workers as one sidecar: one data port, one ops port, one admin port, one file, one drain, one end.

Serves no request itself. What a worker may do without asking is in the worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import structlog

from proxy.admin.control import supervisor_application
from proxy.admin.fan_out import Asked, Told, fan_out_application
from proxy.admin.inspection import ProcessInspection, fleet_of
from proxy.admin.lifecycle import ProcessLifecycle
from proxy.admin.operations import InspectionPages
from proxy.admin.ops import ops_application
from proxy.admin.protocols import Facts
from proxy.admin.server import Port
from proxy.app.alone import reloader_of, text_of
from proxy.config.container import memory_limit_bytes
from proxy.config.loading import Loaded
from proxy.config.reloading import FixedConfiguration, Result
from proxy.config.schema import Config
from proxy.end_signals import EndSignals
from proxy.model import Held
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.store import supervision
from proxy.store.embedded import EmbeddedServer
from proxy.workers.channel import Call
from proxy.workers.child import Child, launch
from proxy.workers.crew import Crew, Worker
from proxy.workers.orders import Order, encoded_config
from proxy.workers.shares import worker_config
from proxy.workers.sockets import DataPort

READY_SECONDS = 10.0
"""So long readiness waits for all workers; then for one."""
WARM_SLACK_SECONDS = 2.0
"""Each worker keeps to `warm.timeout` itself, from its own start on, or waits a second for the log."""
WARM_CHECK_SECONDS = 0.1
"""Between two questions whether workers still fill their L1."""
APPLY_SECONDS = 2.0
"""For a worker to apply what another has purged; it takes milliseconds."""
CONFIG_SECONDS = 5.0
FLEET_SECONDS = 1.0
"""For a worker to ask Redis where all replicas stand, which has a deadline of its own."""
END_SECONDS = 4.0
"""For a worker to end, beyond what `drain` allows it."""
OCTETS = "application/octet-stream"
_SOCKET_NAME_BYTES = 12
_LONGEST_SOCKET_PATH = 100

_log = structlog.get_logger("sidecache")


class Supervisor:
    """One running sidecar of several workers. Make it and `run` it inside the loop, on the main thread."""

    def __init__(self, loaded: Loaded, source: Path | None) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._source = source
        self._metrics = Metrics()
        self._signals = EndSignals()
        self._crew = Crew(self, loaded.config.workers, self._metrics, on_serving=self._welcome)
        self._l2_url = loaded.config.l2.url
        self._embedded: EmbeddedServer | None = None
        self._revival: supervision.Supervisor | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._place = Path()
        """Of the folder; none may be opened by others."""
        self._is_warming = loaded.config.warm.from_ != "off"
        """Readiness waits for workers that fill their L1."""
        self._data: DataPort | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._ports: list[Port] = []
        self._hired_with: dict[int, Config] = {}
        self._spreading: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start, watch until told to end, drain, stop. Raises StoreUnavailable and OSError."""
        try:
            # First of all: as PID 1 of a container a process ignores the signals that it does not handle.
            self._signals.heed()
            await self._start()
            await self._signals.first.wait()
            await self._end()
        finally:
            await self._stop()
            self._signals.ignore()

    async def _start(self) -> None:
        self._folder = TemporaryDirectory(prefix="sidecache-")  # mode 0700
        self._place = Path(self._folder.name)
        if len(self._folder.name) + _SOCKET_NAME_BYTES > _LONGEST_SOCKET_PATH:
            raise OSError(f"the path is too long for sockets in it: {self._folder.name}")
        self._data = DataPort(self._config.listen)
        await self._start_private_server()
        self._build_ports()
        await self._private.open_private(self._path("supervisor"))
        config = self._config
        ops = await self._ops.open(config.ops.listen) if config.ops.listen else None
        admin = await self._admin.open(config.admin.listen) if config.admin.listen else None
        self._crew.start()
        if self._reloader is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reloader.ask)
            self._reloading = spawn("reloader", self._reloader.run())
        if await self._is_told_before_serving():
            return
        addresses = {"listen": text_of(*self._data.addresses), "ops": text_of(ops), "admin": text_of(admin)}
        _log.info("ready", **addresses, workers=self._crew.serving)

    async def _is_told_before_serving(self) -> bool:
        """No deadline: the container's start-up probe has one."""
        serving = spawn("until serving", self._until_serving())
        told = spawn("first signal", self._signals.first.wait())
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        told.cancel()
        return self._signals.first.is_set()

    async def _until_serving(self) -> None:
        await self._crew.until_serving(all_within=READY_SECONDS)
        self._lifecycle.started()
        try:
            async with asyncio.timeout(self._config.warm.timeout + WARM_SLACK_SECONDS):
                while self._is_warming:
                    await self._crew.refresh()
                    read = self._crew.totals().gauges.get("warming")
                    if read is None or not any(read().values()):
                        break
                    await asyncio.sleep(WARM_CHECK_SECONDS)
        except TimeoutError:
            _log.warning("ready, though workers still fill their L1")
        self._is_warming = False

    async def _start_private_server(self) -> None:
        if self._l2_url != "embedded":
            return
        self._embedded = EmbeddedServer()
        await self._embedded.start()
        self._l2_url = self._embedded.url
        self._revival = supervision.Supervisor(self._embedded, self._metrics)
        self._revival.start()

    def _build_ports(self) -> None:
        crew = self._crew
        self._lifecycle = ProcessLifecycle(
            on_drain=self._drain,
            on_undo=lambda: self._spread(Call("POST", "/-/undo-drain")),
            serves=lambda: crew.serving > 0,
            warms=lambda: self._is_warming,
        )
        self._metrics.gauges["draining"] = lambda: {(): float(self._lifecycle.is_draining)}
        self._reloader = reloader_of(self._loaded, self._source, self._use, self._metrics.config_reloads)
        if self._reloader is not None:
            self._metrics.gauges.update(self._reloader.gauges())
        whole = Whole(crew, lambda: self._config)
        shown = InspectionPages(whole, self)
        is_shared = self._l2_url != "off"
        token = self._config.admin.token
        self._ops = Port(ops_application(self._lifecycle, whole.exposition))
        self._admin = Port(fan_out_application(whole, shown, self, token=token, is_shared=is_shared))
        self._private = Port(supervisor_application(self._apply))
        self._ports = [self._ops, self._admin, self._private]

    def _drain(self) -> None:
        _log.info("draining")
        # Whoever is told to end drains by itself.
        if not self._signals.first.is_set():
            self._spread(Call("POST", "/-/drain"))

    # What the crew asks.

    async def hire(self, index: int) -> Child:
        """Start a worker with the configuration in force. Raises OSError."""
        sockets = self._data.sockets(index) if self._data is not None else ()
        self._hired_with[index] = self._config
        return await launch(
            Order(
                index,
                f"{socket.gethostname()}-{os.getpid()}-{index}",
                self._share(index),
                tuple(bound.fileno() for bound in sockets),
                self._path(str(index)),
                self._path("supervisor"),
            )
        )

    def stay_away(self, index: int) -> None:
        """Its clients need not wait for its successor."""
        if self._data is not None:
            self._data.withdraw(index)

    async def _welcome(self, index: int, worker: Worker) -> None:
        """Tell it what has changed since it was hired."""
        if self._hired_with[index] is not self._config:
            await worker.ask(self._config_call(), seconds=CONFIG_SECONDS)
        if self._lifecycle.is_draining:
            await worker.ask(Call("POST", "/-/drain"), seconds=APPLY_SECONDS)

    def _share(self, index: int) -> Config:
        container = memory_limit_bytes()
        return worker_config(self._config, index, container_bytes=container, l2_url=self._l2_url)

    def _path(self, name: str) -> Path:
        return self._place / name

    # What workers and operators ask.

    async def _apply(self, selectors: bytes, besides: int) -> None:
        await self._crew.ask_all(
            Call("POST", "/-/apply", selectors, OCTETS), seconds=APPLY_SECONDS, besides=besides
        )

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config

    async def reload(self) -> Result:
        """Read the file again; when this returns, all workers have it in force, or have been replaced."""
        result = await (self._reloader or FixedConfiguration(self._config)).reload()
        if self._spreading:
            await asyncio.wait(tuple(self._spreading))
        return result

    def _use(self, config: Config) -> None:
        self._config = config
        logs.configure(level=config.logs.level, form=config.logs.format)
        self._spread(self._config_call(), CONFIG_SECONDS)

    def _config_call(self) -> Call:
        # What a reload changes is the same for all; shares of bounds need a restart.
        return Call("POST", "/-/config", encoded_config(self._share(0)), OCTETS)

    def _spread(self, call: Call, seconds: float = APPLY_SECONDS) -> None:
        task = spawn(f"spread {call.target}", self._ask_all(call, seconds))
        self._spreading.add(task)
        task.add_done_callback(self._spreading.discard)

    async def _ask_all(self, call: Call, seconds: float) -> None:
        await self._crew.ask_all(call, seconds=seconds)

    # Ending.

    async def _end(self) -> None:
        self._lifecycle.end()
        self._crew.tell_to_end()
        # From here on the port is the workers' alone, and ends with the last of them.
        if self._data is not None:
            self._data.leave()
        drain = self._config.drain
        ending = spawn("end", self._crew.end_within(drain.delay + drain.timeout + END_SECONDS))
        at_once = spawn("second signal", self._signals.second.wait())
        await asyncio.wait({ending, at_once}, return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not ending.done():
            self._crew.tell_to_end()
            ending.cancel()
            await self._crew.end_within(END_SECONDS)

    async def _stop(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
        self._crew.tell_to_end()
        await self._crew.end_within(END_SECONDS)
        if self._data is not None:
            self._data.leave()
        for port in self._ports:
            await port.close()
        if self._revival is not None:
            await self._revival.aclose()
        if self._embedded is not None:
            await self._embedded.stop()
        if self._folder is not None:
            self._folder.cleanup()
        _log.info("ended")


class Whole:
    """The crew as the ports see it."""

    def __init__(self, crew: Crew, config: Callable[[], Config]) -> None:
        self._crew = crew
        self._config = config

    async def ask(self, asked: Asked, *, seconds: float, must_reach: bool) -> Sequence[tuple[int, Told]]:
        """The answers of all workers that live."""
        replies = await self._crew.ask_all(Call(*asked), seconds=seconds, must_reach=must_reach)
        return [(index, Told(*reply)) for index, reply in replies]

    async def refresh(self) -> None:
        """Have the totals be of now."""
        await self._crew.refresh()

    async def exposition(self) -> bytes:
        """The metrics of all workers as one."""
        await self.refresh()
        return self._crew.totals().exposition()

    def entries(self) -> Iterable[tuple[bytes, Held]]:
        """L1 is the workers'."""
        return ()

    def stats(self) -> Facts:
        """Sizes and sums of all workers."""
        return self._inspection().stats()

    async def fleet(self) -> Facts | None:
        """Each worker is a replica of it. Who does not answer in time is shown as Redis knows it."""
        told = await self._crew.ask_all(Call("GET", "/stats"), seconds=FLEET_SECONDS, must_reach=False)
        return fleet_of([orjson.loads(reply.body)["fleet"] for _, reply in told if reply.status == 200])

    def routes(self) -> Sequence[Facts]:
        """The routes in force."""
        return self._inspection().routes()

    def pool(self) -> Facts:
        """The connections of all workers to the origin."""
        return self._inspection().pool()

    def _inspection(self) -> ProcessInspection:
        return ProcessInspection(
            self._crew.totals(), entries=self.entries, config=self._config, fleet=self.fleet
        )
