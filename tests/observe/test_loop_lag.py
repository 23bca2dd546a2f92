"""The clock and the sleep are stepped by the tests."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.observe.loop_lag import LoopLag


class Stepped:
    """A clock whose sleeps overrun by given seconds, then end the run."""

    def __init__(self, *overruns: float) -> None:
        self.now = 100.0
        self._overruns = list(overruns)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if not self._overruns:
            raise asyncio.CancelledError
        self.now += seconds + self._overruns.pop(0)


async def lag_after(*overruns: float) -> LoopLag:
    stepped = Stepped(*overruns)
    lag = LoopLag(clock=stepped.clock, sleep=stepped.sleep)
    with contextlib.suppress(asyncio.CancelledError):
        await lag.run()
    return lag


def test_the_gauge_is_zero_before_the_first_sample():
    assert LoopLag().gauge() == {(): 0.0}


async def test_the_gauge_shows_the_worst_overrun():
    lag = await lag_after(0.001, 0.5, 0.002)

    assert lag.worst_seconds == pytest.approx(0.5)


async def test_an_overrun_is_forgotten_after_sixty_samples():
    still_seen = await lag_after(0.5, *[0.0] * 59)
    forgotten = await lag_after(0.5, *[0.0] * 60)

    assert still_seen.worst_seconds == pytest.approx(0.5)
    assert forgotten.worst_seconds == pytest.approx(0.0)


async def test_a_sleep_that_ends_early_counts_as_none():
    lag = await lag_after(-0.01)

    assert lag.worst_seconds == 0.0
