"""Keeps the private server running: one that ended is started again at its address.

Owns when that is tried. Knows nothing of what was stored, which is gone: look-ups are misses, and the readers
of the invalidation log find another epoch and distrust what is older.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol

import structlog

from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.store.unavailable import StoreUnavailable

CHECK_SECONDS = 0.1
FIRST_RETRY_SECONDS = 0.1
RETRY_SECONDS = 5.0
"""The longest pause before a start: a server that ends each time costs a process in so many seconds."""
STEADY_SECONDS = 60.0
"""After having run for so long the next end counts as the first."""
CLOSE_SECONDS = 5.0

_log = structlog.get_logger("sidecache.l2")


class Server(Protocol):
    """What is kept running."""

    @property
    def is_running(self) -> bool:
        """Its process lives."""

    @property
    def exit_code(self) -> int | None:
        """What its last process ended with."""

    async def restart(self) -> None:
        """Start it again, within a deadline. Raises StoreUnavailable."""


class Supervisor:
    """Watches a server that was started. `clock` and `pause` are asyncio's but for tests."""

    def __init__(
        self,
        server: Server,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._server = server
        self._metrics = metrics
        self._clock = clock
        self._pause = pause
        self._ends = 0
        """In a row, each soon after a start."""
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Supervisor {self._server!r} ends={self._ends}>"

    def start(self) -> None:
        """Watch from now on. On the main thread, like the server's start."""
        self._task = spawn("embedded server", self._watch())

    async def aclose(self) -> None:
        """Leave the server alone; a start under way is undone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _watch(self) -> None:
        while True:
            started_at = self._clock()
            while self._server.is_running:
                await self._pause(CHECK_SECONDS)
            if self._clock() - started_at >= STEADY_SECONDS:
                self._ends = 0
            self._ends += 1
            await self._revive()

    async def _revive(self) -> None:
        # One line for the first end, not one for each of a server that cannot live.
        if self._ends == 1:
            _log.warning("the embedded server ended", exit_code=self._server.exit_code)
        await self._pause(min(FIRST_RETRY_SECONDS * 2 ** min(self._ends - 1, 10), RETRY_SECONDS))
        try:
            await self._server.restart()
        except StoreUnavailable as error:
            self._metrics.l2_restarts.add("failed")
            if self._ends == 1:
                _log.error("the embedded server was not started again, trying on", error=str(error))
            return
        self._metrics.l2_restarts.add("ok")
        _log.warning("the embedded server was started again", tries=self._ends)
