"""How late the event loop runs: a timer measures itself, the gauge shows the worst of a window.

A single sample is nearly always small; the worst of the last 15 s survives until Prometheus asks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from proxy.observe.metrics import Labels

INTERVAL_SECONDS = 0.25
WINDOW_SECONDS = 15.0


class LoopLag:
    """Sleeps a quarter of a second, again and again, and keeps by how much each sleep overran."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._overruns: deque[float] = deque(maxlen=int(WINDOW_SECONDS / INTERVAL_SECONDS))

    @property
    def worst_seconds(self) -> float:
        """The longest overrun of the window; 0 before the first sample."""
        return max(self._overruns, default=0.0)

    def gauge(self) -> Mapping[Labels, float]:
        """For `metrics.gauges["loop_lag_seconds"]`."""
        return {(): self.worst_seconds}

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began_at = self._clock()
            await self._sleep(INTERVAL_SECONDS)
            self._overruns.append(max(0.0, self._clock() - began_at - INTERVAL_SECONDS))
