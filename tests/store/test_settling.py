"""Who waits for writes: each is told once, in order, and after a second in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from proxy.store import settling
from proxy.store.settling import Settling


class Timer:
    def __init__(self, at: float, fire: Callable[[], None]) -> None:
        self.at = at
        self.fire = fire
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class SteppedLoop:
    """Of a loop, its clock and its timers, which the test steps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(when, lambda: callback(*args))
        self.timers.append(timer)
        return timer

    def step(self, seconds: float) -> None:
        """What is due by then fires at its instant, as `time()` may be a little behind it: before."""
        ends_at = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= ends_at]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = timer.at - 0.001
            if not timer.is_cancelled:
                timer.fire()
        self.now = ends_at


class Stage:
    def __init__(self) -> None:
        self.loop = SteppedLoop()
        self.settling = Settling(1.0, loop=self.loop)  # type: ignore[arg-type]
        self.told: list[tuple[str, bool]] = []

    def ask(self, count: int, name: str) -> None:
        self.settling.ask(count, lambda has_settled: self.told.append((name, has_settled)))


def test_those_whose_count_is_reached_are_told_in_order() -> None:
    stage = Stage()
    for count, name in ((1, "a"), (1, "b"), (2, "c"), (4, "d")):
        stage.ask(count, name)

    stage.settling.reached(0, has_settled=True)
    assert stage.told == []
    stage.settling.reached(1, has_settled=True)
    assert stage.told == [("a", True), ("b", True)]
    stage.settling.reached(3, has_settled=False)
    assert stage.told[2:] == [("c", False)]
    assert len(stage.settling) == 1


def test_nobody_waits_longer_than_a_second() -> None:
    stage = Stage()
    stage.ask(1, "a")
    stage.loop.step(0.4)
    stage.ask(1, "b")
    stage.loop.step(0.5)
    assert stage.told == []
    stage.loop.step(0.1)
    assert stage.told == [("a", False)]
    stage.loop.step(0.39)
    assert len(stage.told) == 1
    stage.loop.step(0.01)
    assert stage.told == [("a", False), ("b", False)]

    stage.settling.reached(1, has_settled=True)
    assert len(stage.told) == 2


def test_one_timer_is_enough_and_there_is_none_where_nobody_waits() -> None:
    stage = Stage()
    for number in range(100):
        stage.ask(number, str(number))
        stage.settling.reached(number, has_settled=True)
        stage.loop.step(0.001)
    assert len(stage.loop.timers) == 1
    stage.loop.step(1)
    assert (stage.loop.timers, len(stage.told)) == ([], 100)

    stage.ask(200, "later")
    stage.loop.step(1)
    assert stage.told[100:] == [("later", False)]


def test_at_the_end_all_are_told_and_no_timer_is_left() -> None:
    stage = Stage()
    stage.ask(1, "a")
    stage.ask(2, "b")
    stage.settling.end()
    stage.settling.end()

    assert stage.told == [("a", False), ("b", False)]
    assert [timer.is_cancelled for timer in stage.loop.timers] == [True]


def test_who_crashes_leaves_the_others_told() -> None:
    stage = Stage()

    def crash(has_settled: bool) -> None:
        raise RuntimeError("a bug")

    stage.settling.ask(1, crash)
    stage.ask(1, "b")
    with capture_logs() as lines:
        stage.settling.reached(1, has_settled=True)

    assert stage.told == [("b", True)]
    assert [line["event"] for line in lines] == ["who waited for a write crashed"]


def test_who_asks_again_when_told_waits_anew() -> None:
    stage = Stage()
    stage.settling.ask(1, lambda has_settled: stage.ask(2, f"again, {has_settled}"))
    stage.loop.step(1)
    assert stage.told == []
    stage.loop.step(1)

    assert stage.told == [("again, False", False)]
    assert stage.loop.timers == []


def test_so_many_wait_and_no_more(monkeypatch: Any) -> None:
    monkeypatch.setattr(settling, "MOST_WAITING", 2)
    stage = Stage()
    for name in "abc":
        stage.ask(1, name)

    assert stage.told == [("c", False)]
    stage.settling.reached(1, has_settled=True)
    assert stage.told[1:] == [("a", True), ("b", True)]


async def test_the_loop_that_runs_keeps_the_time() -> None:
    waiting = Settling(0.01)
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    waiting.ask(1, answer.set_result)

    async with asyncio.timeout(5):
        assert not await answer
