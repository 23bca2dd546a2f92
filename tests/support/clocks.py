"""Clocks and pauses that move only when the test says so."""

from __future__ import annotations

import asyncio


class SteppedClock:
    """Seconds on a clock that stands still between steps."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def step(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds


class GatedPause:
    """Stands in for `asyncio.sleep`: a pause lasts until the test ends it, and the clock moves with it."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._begun: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()
        self._current: tuple[float, asyncio.Event] | None = None

    async def __call__(self, seconds: float) -> None:
        over = asyncio.Event()
        await self._begun.put((seconds, over))
        await over.wait()

    async def begun(self) -> float:
        """Wait for the next pause to begin; how many seconds it is to last."""
        async with asyncio.timeout(10):
            self._current = await self._begun.get()
        return self._current[0]

    def end(self) -> None:
        """Let the pause that has begun pass."""
        assert self._current is not None
        seconds, over = self._current
        self._clock.step(seconds)
        over.set()

    async def end_next(self) -> float:
        """Let the next pause pass; how many seconds it was."""
        seconds = await self.begun()
        self.end()
        return seconds
