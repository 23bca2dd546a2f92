"""The connections to the origin: which are idle, which are in use, when they end and why.

Last used, first reused, so that those not needed grow old and go. Knows neither requests nor
responses; whoever takes a connection gives it back with the cause for closing it, or None.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from proxy.config.schema import OriginPool
from proxy.model import FailureKind, OriginFailure
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn

MAINTENANCE_SECONDS = 1.0
"""How often old idle connections are closed and missing ones opened."""

_CLOSED = OriginFailure(FailureKind.CLOSED, "shutting down")


class Dial(Protocol):
    """Opens a connection."""

    async def dial(self, *, opened_at: float) -> OriginConnection | OriginFailure:
        """A new connection, or why there is none."""


class Pool:
    """At most `max_connections`, of which `min_idle` are kept open ahead of need."""

    def __init__(
        self, config: OriginPool, dialer: Dial, metrics: Metrics, *, monotonic: Callable[[], float]
    ) -> None:
        self._config = config
        self._dialer = dialer
        self._metrics = metrics
        self._monotonic = monotonic
        self._maintenance: asyncio.Task[None] | None = None
        self._is_closed = False
        self._max_lifetime = config.max_lifetime
        self._idle_timeout = config.idle_timeout
        self._idle: deque[OriginConnection] = deque()
        """Longest idle first."""
        self._in_use: set[OriginConnection] = set()
        self._opening = 0
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Pool idle={self.idle} in_use={self.in_use} opening={self._opening}>"

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Connections that serve a request."""
        return len(self._in_use)

    def states(self) -> dict[tuple[str, ...], float]:
        """For the gauge."""
        return {("idle",): self.idle, ("in-use",): self.in_use, ("opening",): self._opening}

    def start(self) -> None:
        """Keep `min_idle` open from now on, in the background."""
        self._maintenance = spawn("origin pool", self._maintain())

    async def acquire(self, *, fresh: bool, timeout: float) -> OriginConnection | OriginFailure:
        """A connection, idle or new; `fresh`: a new one in any case."""
        if not fresh and (connection := self.take_idle()):
            return connection
        try:
            async with asyncio.timeout(timeout):
                return await self._wait_or_open(fresh=fresh)
        except TimeoutError:
            return OriginFailure(FailureKind.POOL_EXHAUSTED, "no connection within pool.acquire_timeout")

    def release(self, connection: OriginConnection, cause: CloseCause | None) -> None:
        """Give a connection back; with a cause it is closed for it."""
        now = self._monotonic()
        cause = cause or self._cause_to_retire(connection, now)
        if cause is not None:
            connection.close(cause, gently=cause is CloseCause.TUNNEL)
            return
        self._in_use.discard(connection)
        connection.idle_since = now
        self._idle.append(connection)
        self._changed.set()

    def let_go(self, connection: OriginConnection) -> None:
        """It has become a tunnel: others get its room. Its end is still counted."""
        self._in_use.discard(connection)
        self._changed.set()

    def sweep(self) -> None:
        """Close the idle connections that have become too old."""
        now = self._monotonic()
        for connection in tuple(self._idle):
            cause = self._cause_to_close_idle(connection, now)
            if cause is not None:
                connection.close(cause)

    async def top_up(self) -> None:
        """Open idle connections up to `min_idle`, while there is room and the origin takes them."""
        while self.idle < self._config.min_idle and self._has_room() and not self._is_closed:
            connection = await self._open()
            if isinstance(connection, OriginFailure):
                return
            self.release(connection, None)

    def close(self) -> None:
        """Close what is idle, and what comes back from now on."""
        self._is_closed = True
        if self._maintenance is not None:
            self._maintenance.cancel()
        for connection in tuple(self._idle):
            connection.close(CloseCause.SHUTDOWN)
        self._changed.set()

    async def _maintain(self) -> None:
        while True:
            self.sweep()
            await self.top_up()
            await asyncio.sleep(MAINTENANCE_SECONDS)

    def take_idle(self) -> OriginConnection | None:
        """The idle connection that was used last; None: there is none that can be used."""
        now = self._monotonic()
        while self._idle:
            connection = self._idle[-1]
            cause = self._cause_to_close_idle(connection, now)
            if cause is None and not connection.is_usable():
                cause = CloseCause.ORIGIN_CLOSED
            if cause is None:
                connection.is_reused = True
                self._in_use.add(self._idle.pop())
                return connection
            connection.close(cause)
        return None

    async def _wait_or_open(self, *, fresh: bool) -> OriginConnection | OriginFailure:
        """Only connections being opened ahead of need can take a request's room, and not for long."""
        while not self._is_closed:
            if not fresh and (connection := self.take_idle()):
                return connection
            if not self._has_room() and self._idle:
                self._idle[0].close(CloseCause.IDLE)
            if self._has_room():
                return await self._open()
            self._changed.clear()
            await self._changed.wait()
        return _CLOSED

    async def _open(self) -> OriginConnection | OriginFailure:
        self._opening += 1
        try:
            connection = await self._dialer.dial(opened_at=self._monotonic())
        finally:
            self._opening -= 1
            self._changed.set()
        if isinstance(connection, OriginFailure):
            return connection
        connection.on_closed = self._forget
        self._metrics.origin_connections_created.add()
        if self._is_closed:
            connection.close(CloseCause.SHUTDOWN)
            return _CLOSED
        self._in_use.add(connection)
        return connection

    def _has_room(self) -> bool:
        return self.idle + self.in_use + self._opening < self._config.max_connections

    def _cause_to_retire(self, connection: OriginConnection, now: float) -> CloseCause | None:
        if self._is_closed:
            return CloseCause.SHUTDOWN
        return CloseCause.LIFETIME if now - connection.opened_at >= self._max_lifetime else None

    def _cause_to_close_idle(self, connection: OriginConnection, now: float) -> CloseCause | None:
        if now - connection.idle_since >= self._idle_timeout:
            return CloseCause.IDLE
        return self._cause_to_retire(connection, now)

    def _forget(self, connection: OriginConnection, cause: CloseCause) -> None:
        self._metrics.origin_connections_closed.add(cause.value)
        self._in_use.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._changed.set()
