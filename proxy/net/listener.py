"""The data port: sockets, the number of connections, draining, and the end.

Owns no request: connections hand them to the service. Every wait here has a deadline.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import aiohttp
import structlog
from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler

from proxy.config.schema import Address, Config, Limits
from proxy.net import wire
from proxy.net.aiohttp_shapes import Incoming
from proxy.net.client_connection import ClientConnection
from proxy.net.client_output import ClientOutput
from proxy.net.client_service import ClientService, Flow, Record
from proxy.net.departures import Departures
from proxy.net.lane_check import disagreement
from proxy.net.origin import OriginClient
from proxy.net.plain_lane import PlainLane, missing_internals
from proxy.net.refusals import problem_answer
from proxy.net.relay import Relay
from proxy.net.wire import Persistence
from proxy.observe.metrics import Metrics

BACKLOG = 1024
"""Connections that the kernel holds for us (asyncio's default is 100)."""
_LAST_MOMENT_SECONDS = 1.0
"""For what was cancelled to come to its end."""


_log = structlog.get_logger("sidecache.clients")


class ParserMissing(Exception):
    """aiohttp runs on its Python parser, in which most of its request-smuggling faults were."""


class Listener:
    """Accepts clients until told to stop; answers with what the flow says. Made where the loop runs."""

    def __init__(
        self, flow: Flow, config: Config, metrics: Metrics, record: Record, origin: OriginClient
    ) -> None:
        self._service = ClientService(flow, config, metrics, record)
        self._relay = Relay(origin, self._service, flow)
        self._lane = self._plain_lane(flow, config.limits.head) if config.plain_lane else None
        self._connections = Connections(self._service, config.limits, metrics, self._lane)
        self._servers: list[asyncio.Server] = []
        metrics.gauges["client_connections"] = lambda: {(): len(self._connections.open)}

    def __repr__(self) -> str:
        state = "draining" if self.is_draining else "accepting" if self._servers else "not started"
        return f"<Listener {state} connections={len(self._connections.open)}>"

    @property
    def is_draining(self) -> bool:
        """Every answer is its connection's last."""
        return self._service.is_draining

    async def start(self, at: Address | Path) -> tuple[Address, ...]:
        """Bind and accept. The addresses bound, ports filled in; none for a unix socket. Raises OSError."""
        require_c_parser()
        loop = asyncio.get_running_loop()
        if isinstance(at, Path):
            self._servers = [await loop.create_unix_server(self._connections, str(at), backlog=BACKLOG)]
            return ()
        server = await loop.create_server(self._connections, at.host, at.port, backlog=BACKLOG)
        self._servers = [server]
        return tuple(Address(*bound.getsockname()[:2]) for bound in server.sockets)

    async def start_on(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on sockets that are bound already, and that others may listen on too."""
        require_c_parser()
        loop = asyncio.get_running_loop()
        for bound in sockets:
            self._servers.append(await loop.create_server(self._connections, sock=bound, backlog=BACKLOG))

    def use(self, config: Config) -> None:
        """Put what may change while running in force: the routes, and whether X-Cache-Status is sent."""
        if self._lane is not None:
            self._lane.forget()
            for connection in self._connections.open:
                connection.shape = None
        self._service.with_x_cache_status = config.x_cache_status
        self._relay.forget()

    def _plain_lane(self, flow: Flow, max_head: int) -> PlainLane | None:
        """None, with a warning, where aiohttp is not as the lane knows it."""
        missing = missing_internals()
        if missing:
            _log.warning("plain lane off: unknown aiohttp", version=aiohttp.__version__, missing=missing)
            return None
        head = disagreement(asyncio.get_running_loop())
        if head is not None:
            told = {"version": aiohttp.__version__, "head": head.decode()}
            _log.warning("plain lane off: aiohttp reads a head otherwise", **told)
            return None
        return PlainLane(flow, self._service, relay=self._relay, max_head=max_head)

    def drain(self) -> None:
        """Make every answer the last of its connection; go on accepting.

        What is idle stays open: a request may be on its way to it, and would be lost.
        """
        self._service.is_draining = True

    def undo_drain(self) -> None:
        """Serve on as if nothing had been."""
        self._service.is_draining = False

    def stop_accepting(self) -> None:
        """Close the listening sockets; open connections stay."""
        for server in self._servers:
            server.close()

    async def finish(self, timeout: float) -> None:
        """Close what is idle, give requests `timeout` seconds to end, then cut off what is left."""
        self._service.is_draining = True
        self.stop_accepting()
        for connection in tuple(self._connections.open):
            connection.leave()
        await self._connections.wait_until_none(timeout)
        for connection in tuple(self._connections.open):
            connection.abort()
        self._relay.hand_over()
        await asyncio.sleep(0)  # who is cancelled before its first step gives nothing back
        await _cancel(self._service.under_way)
        await self._connections.wait_until_none(_LAST_MOMENT_SECONDS)


class Connections(web.Server):
    """The open connections; as aiohttp's server, makes them and is told of their beginning and end."""

    def __init__(
        self, service: ClientService, limits: Limits, metrics: Metrics, lane: PlainLane | None
    ) -> None:
        # aiohttp passes these on to the connection, whose own types for them are narrower than what it needs.
        super().__init__(cast(Any, service.serve), request_factory=cast(Any, Incoming))
        self.open: set[ClientConnection] = set()
        self._limits = limits
        self._metrics = metrics
        self._lane = lane
        self._departures = Departures()
        self._is_empty = asyncio.Event()

    def __call__(self) -> RequestHandler:
        """A protocol for a connection just accepted."""
        if len(self.open) >= self._limits.connections:
            self._metrics.connections_refused.add()
            return cast(RequestHandler, RefusedConnection())
        output = ClientOutput(
            idle_seconds=self._limits.write_idle,
            metrics=self._metrics,
            loop=asyncio.get_running_loop(),
            departures=self._departures,
        )
        connection = ClientConnection(self, self._limits, self._metrics, self._lane, output)
        self.open.add(connection)
        return connection

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """By the connection; it is counted already, for many may be accepted before the first is made."""

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """By the connection."""
        self.open.discard(cast(ClientConnection, handler))
        if not self.open:
            self._is_empty.set()

    async def wait_until_none(self, timeout: float) -> None:
        """Return when the last one has closed, after `timeout` seconds at the latest."""
        try:
            async with asyncio.timeout(timeout):
                while self.open:
                    self._is_empty.clear()
                    await self._is_empty.wait()
        except TimeoutError:
            return


class RefusedConnection(asyncio.Protocol):
    """One connection too many: told so without reading a byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer before the client has asked, and close."""
        answer = problem_answer(503, "Too many connections.", now=time.time(), lines=b"Retry-After: 1\r\n")
        framing = wire.frame(answer, method="GET", version=(1, 1))
        head = wire.response_head(answer, framing, Persistence.CLOSE, with_x_cache_status=False)
        stream = cast(asyncio.Transport, transport)
        stream.write(head + cast(bytes, answer.body))
        stream.close()


def require_c_parser() -> None:
    """Raise ParserMissing unless aiohttp parses with llhttp."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ParserMissing(
            "aiohttp's C parser is missing or switched off (AIOHTTP_NO_EXTENSIONS); "
            "install an aiohttp wheel for this platform, or unset the variable"
        )


async def _cancel(tasks: set[asyncio.Task[object]]) -> None:
    for task in tuple(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(tuple(tasks), timeout=_LAST_MOMENT_SECONDS)
