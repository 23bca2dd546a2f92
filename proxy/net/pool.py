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
        self._present: set[OriginConnection] = set()
        """All that take room: the idle ones and those in use."""
        self._opening = 0
        self._changed: asyncio.Event | None = None
        """Only while somebody waits for it."""

    def __repr__(self) -> str:
        return f"<Pool idle={self.idle} in_use={self.in_use} opening={self._opening}>"

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Connections that serve a request."""
        return len(self._present) - len(self._idle)

    def states(self) -> dict[tuple[str, ...], float]:
        """For the gauge."""
        return {("idle",): self.idle, ("in-use",): self.in_use, ("opening",): self._opening}

    def start(self) -> None:
        """Keep `min_idle` open from now on, in the background."""
        self._maintenance = spawn("origin pool", self._maintain())

    async def acquire(self, *, fresh: bool, timeout: float) -> OriginConnection | OriginFailure:
        """A connection, idle or new; `fresh`: a new one in any case."""
        if not fresh and (connection := self.take_idle(self._monotonic())):
            return connection
        try:
            async with asyncio.timeout(timeout):
                return await self._wait_or_open(fresh=fresh)
        except TimeoutError:
            return OriginFailure(FailureKind.POOL_EXHAUSTED, "no connection within pool.acquire_timeout")

    def release(self, connection: OriginConnection, cause: CloseCause | None) -> None:
        """Give a connection back; with a cause it is closed for it."""
        if cause is None:
            self.give_back(connection, self._monotonic())
        else:
            connection.close(cause, gently=cause is CloseCause.TUNNEL)

    def give_back(self, connection: OriginConnection, now: float) -> None:
        """The same, of one without fault; `now` on the monotonic clock."""
        if self._is_closed:
            connection.close(CloseCause.SHUTDOWN)
        elif now - connection.opened_at >= self._max_lifetime:
            connection.close(CloseCause.LIFETIME)
        else:
            connection.idle_since = now
            self._idle.append(connection)
            if self._changed is not None:
                self._tell()

    def let_go(self, connection: OriginConnection) -> None:
        """It has become a tunnel: others get its room. Its end is still counted."""
        self._present.discard(connection)
        self._tell()

    def sweep(self) -> None:
        """Close the idle connections that have become too old."""
        now = self._monotonic()
        for connection in tuple(self._idle):
            cause = self._cause_of_age(connection, now)
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
        self._tell()

    async def _maintain(self) -> None:
        while True:
            self.sweep()
            await self.top_up()
            await asyncio.sleep(MAINTENANCE_SECONDS)

    def take_idle(self, now: float) -> OriginConnection | None:
        """The idle connection that was used last; None: there is none that can be used."""
        while self._idle:
            connection = self._idle[-1]
            cause = self._cause_of_age(connection, now)
            if cause is None and connection.is_usable():
                connection.is_reused = True
                return self._idle.pop()
            connection.close(cause or CloseCause.ORIGIN_CLOSED)
        return None

    async def _wait_or_open(self, *, fresh: bool) -> OriginConnection | OriginFailure:
        """Only connections being opened ahead of need can take a request's room, and not for long."""
        while not self._is_closed:
            if not fresh and (connection := self.take_idle(self._monotonic())):
                return connection
            if not self._has_room() and self._idle:
                self._idle[0].close(CloseCause.IDLE)
            if self._has_room():
                return await self._open()
            self._changed = self._changed or asyncio.Event()
            await self._changed.wait()
        return _CLOSED

    async def _open(self) -> OriginConnection | OriginFailure:
        self._opening += 1
        try:
            connection = await self._dialer.dial(opened_at=self._monotonic())
        finally:
            self._opening -= 1
            self._tell()
        if isinstance(connection, OriginFailure):
            return connection
        connection.on_closed = self._forget
        self._metrics.origin_connections_created.add()
        if self._is_closed:
            connection.close(CloseCause.SHUTDOWN)
            return _CLOSED
        self._present.add(connection)
        return connection

    def _has_room(self) -> bool:
        return len(self._present) + self._opening < self._config.max_connections

    def _cause_of_age(self, connection: OriginConnection, now: float) -> CloseCause | None:
        if now - connection.idle_since >= self._idle_timeout:
            return CloseCause.IDLE
        return CloseCause.LIFETIME if now - connection.opened_at >= self._max_lifetime else None

    def _tell(self) -> None:
        """Who waits looks again."""
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    def _forget(self, connection: OriginConnection, cause: CloseCause) -> None:
        self._metrics.origin_connections_closed.add(cause.value)
        self._present.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._tell()
