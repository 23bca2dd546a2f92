from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from proxy.net.deadline import Deadline


class Timer:
    def __init__(self, at: float, fire: Callable[[], None]) -> None:
        self.at = at
        self.fire = fire
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class SteppedLoop:
    """Time passes by `step` only; counts the timers that were set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, fire: Callable[[], None]) -> Timer:
        timer = Timer(at, fire)
        self.timers.append(timer)
        return timer

    def step(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.at <= self.now and not timer.is_cancelled]:
            timer.is_cancelled = True
            timer.fire()


class Passed:
    def __init__(self) -> None:
        self.loop = SteppedLoop()
        self.count = 0
        self.deadline = Deadline(cast(asyncio.AbstractEventLoop, self.loop), self._on_passed)

    def _on_passed(self) -> None:
        self.count += 1


def test_it_passes_once_at_its_instant() -> None:
    passed = Passed()
    passed.deadline.set(10)
    passed.loop.step(9.9)
    before = passed.count
    passed.loop.step(0.1)
    passed.loop.step(100)

    assert (before, passed.count) == (0, 1)


def test_moved_away_it_passes_at_the_later_instant() -> None:
    passed = Passed()
    passed.deadline.set(10)
    passed.loop.step(5)
    passed.deadline.set(10)
    passed.loop.step(9.9)
    before = passed.count
    passed.loop.step(0.1)

    assert (before, passed.count) == (0, 1)


def test_moved_nearer_it_passes_at_the_earlier_instant_and_only_then() -> None:
    passed = Passed()
    passed.deadline.set(10)
    passed.deadline.set(1)
    passed.loop.step(1)
    passed.loop.step(100)

    assert passed.count == 1


def test_cleared_it_does_not_pass() -> None:
    passed = Passed()
    passed.deadline.set(10)
    passed.deadline.clear()
    passed.loop.step(100)

    assert passed.count == 0


def test_set_again_after_clear_it_passes() -> None:
    passed = Passed()
    passed.deadline.set(10)
    passed.deadline.clear()
    passed.loop.step(100)
    passed.deadline.set(10)
    passed.loop.step(10)

    assert passed.count == 1


def test_closed_it_leaves_no_timer_behind() -> None:
    passed = Passed()
    passed.deadline.set(10)
    passed.deadline.close()

    assert all(timer.is_cancelled for timer in passed.loop.timers)


def test_a_deadline_moved_a_thousand_times_sets_few_timers() -> None:
    passed = Passed()
    for _ in range(1000):
        passed.deadline.set(10)
        passed.loop.step(0.1)

    assert passed.count == 0
    assert len(passed.loop.timers) <= 12
