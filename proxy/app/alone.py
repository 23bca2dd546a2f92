"""The post of a process that is the whole sidecar: all three ports and the file are its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from proxy.admin.operations import admin_application
from proxy.admin.ops import ops_application
from proxy.admin.server import Port
from proxy.app.process import Process
from proxy.config.loading import Loaded
from proxy.config.reloading import FixedConfiguration, Reloader, ResultCounter
from proxy.config.schema import Address, Config
from proxy.fleet.local_log import LocalLog
from proxy.observe.tasks import spawn


class Alone:
    """Reloads what it was loaded from."""

    ready_word = "ready"

    def __init__(self, loaded: Loaded, source: Path | None) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._source = source
        self.replica = f"{socket.gethostname()}-{os.getpid()}"
        self._ports: tuple[Port, ...] = ()
        self._reloading: asyncio.Task[None] | None = None

    def log_for(self, local: LocalLog) -> LocalLog:
        """There is nobody to tell."""
        return local

    def build(self, process: Process) -> None:
        """Ports and the reloader."""
        metrics = process.metrics
        self._reloader = reloader_of(self._loaded, self._source, process.use, metrics.config_reloads)
        if self._reloader is not None:
            metrics.gauges.update(self._reloader.gauges())

        async def exposition() -> bytes:
            return metrics.exposition()

        configuration = self._reloader or FixedConfiguration(self._config)
        self._ops = Port(ops_application(process.lifecycle, exposition))
        operations = process.operations(configuration)
        self._admin = Port(admin_application(operations, token=self._config.admin.token))
        self._ports = (self._ops, self._admin)

    async def open(self, process: Process) -> Mapping[str, str]:
        """The data port first: who finds us ready may connect."""
        config = self._config
        bound = await process.listener.start(config.listen)
        ops = await self._ops.open(config.ops.listen) if config.ops.listen else None
        admin = await self._admin.open(config.admin.listen) if config.admin.listen else None
        if self._reloader is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reloader.ask)
            self._reloading = spawn("reloader", self._reloader.run())
        return {"listen": text_of(*bound), "ops": text_of(ops), "admin": text_of(admin)}

    async def close(self) -> None:
        """Stop reloading and listening."""
        if self._reloading is not None:
            self._reloading.cancel()
        for port in self._ports:
            await port.close()


def reloader_of(
    loaded: Loaded, source: Path | None, apply: Callable[[Config], None], counter: ResultCounter
) -> Reloader | None:
    """None: without a file there is nothing to reload."""
    if source is None:
        return None
    return Reloader(source, loaded, environ=os.environ, apply=apply, counter=counter)


def text_of(*addresses: Address | None) -> str:
    """For the log."""
    return ", ".join(str(address) for address in addresses if address is not None) or "off"
