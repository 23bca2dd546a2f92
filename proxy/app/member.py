"""The post of a worker: its part of the data port, and a control port for its supervisor."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

from proxy.admin.control import worker_application
from proxy.admin.server import Port
from proxy.app.process import Process
from proxy.config.reloading import FixedConfiguration
from proxy.fleet.local_log import LocalLog
from proxy.fleet.siblings_log import SiblingsLog
from proxy.observe.totals import Snapshot, snapshot
from proxy.policy.invalidation import Selector
from proxy.workers.channel import Channel
from proxy.workers.orders import Order, decoded_config
from proxy.workers.siblings import Siblings


class Member:
    """Does what the order says."""

    ready_word = "worker serves"

    def __init__(self, order: Order) -> None:
        self._order = order
        self.replica = order.name
        self._siblings: Siblings | None = None
        self._port: Port | None = None

    def log_for(self, local: LocalLog) -> SiblingsLog:
        """Nothing but the supervisor leads from one L1 to another."""
        self._siblings = Siblings(Channel(self._order.supervisor), self._order.index)
        return SiblingsLog(local, self._siblings)

    def build(self, process: Process) -> None:
        """The control port."""
        operations = process.operations(FixedConfiguration(self._order.config))
        self._port = Port(worker_application(operations, Control(process)))

    async def open(self, process: Process) -> Mapping[str, str]:
        """The control port first: from the first client on, a purge must reach us."""
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._supervisor_is_gone, process)
        loop.add_signal_handler(signal.SIGHUP, _ignore)
        if self._port is not None:
            await self._port.open_private(self._order.control)
        await process.listener.start_on([socket.socket(fileno=number) for number in self._order.sockets])
        return {"index": str(self._order.index)}

    async def close(self) -> None:
        """Tell nobody anything more."""
        if self._siblings is not None:
            await self._siblings.aclose()
        if self._port is not None:
            await self._port.close()

    def _supervisor_is_gone(self, process: Process) -> None:
        """The pipe has ended. Where the kernel kills us with our parent, this comes too late to matter."""
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        process.signals.first.set()
        process.signals.second.set()


class Control:
    """What only the supervisor may ask."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def snapshot(self) -> Snapshot:
        """All metrics now."""
        return snapshot(self._process.metrics)

    async def apply(self, selectors: Sequence[Selector], *, soft: bool) -> object:
        """What another worker has purged."""
        return await self._process.log.append(selectors, soft=soft)

    def use(self, encoded: bytes) -> None:
        """Put a reloaded configuration in force."""
        self._process.use(decoded_config(encoded))

    def drain(self) -> None:
        """Every answer is its connection's last; undone by the supervisor."""
        self._process.drain()

    def undo_drain(self) -> None:
        """Serve on as if nothing had been."""
        self._process.undo_drain()


def _ignore() -> None:
    """SIGHUP is the supervisor's: whoever sends it to all our processes means a reload, not an end."""
