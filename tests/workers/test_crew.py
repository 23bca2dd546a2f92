"""Workers that end are replaced after a pause; who does not answer a purge is dead before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.observe.metrics import Metrics
from proxy.observe.totals import Snapshot, snapshot
from proxy.workers.backoff import Backoff
from proxy.workers.channel import Call, Reply, Silence
from proxy.workers.crew import STUCK_SECONDS, Crew

PURGE = Call("POST", "/purge")


class FakeWorker:
    """Serves until told otherwise; `hits` are counted in its snapshot."""

    def __init__(self, *, is_ready: bool = True) -> None:
        self.is_ready = is_ready
        self.reply: Reply | Silence = Reply(200, b"{}", "application/json")
        self.last_snapshot: Snapshot | None = None
        self.exit_code: int | None = None
        self.hits = 0
        self.is_told = 0
        self._ended = asyncio.Event()

    async def ask(self, call: Call, *, seconds: float) -> Reply | Silence:
        return self.reply

    async def answers(self) -> bool:
        if self.is_ready:
            metrics = Metrics()
            metrics.connections_refused.add(by=self.hits)
            self.last_snapshot = snapshot(metrics)
        return self.is_ready

    def tell_to_end(self) -> None:
        self.is_told += 1
        self.end(0)

    def kill(self) -> None:
        self.end(-9)

    def end(self, code: int) -> None:
        self.exit_code = code
        self._ended.set()

    async def ends_within(self, seconds: float) -> bool:
        await asyncio.sleep(0)
        return self._ended.is_set()


class Stage:
    """A crew whose time passes only in its pauses."""

    def __init__(self, size: int = 2, make: Callable[[], FakeWorker] = FakeWorker) -> None:
        self.now = 0.0
        self.hired: list[tuple[int, FakeWorker]] = []
        self.pauses: list[float] = []
        self.away: list[int] = []
        self.welcomed: list[int] = []
        self.metrics = Metrics()
        self._make = make
        self.crew = Crew(
            self,
            size,
            self.metrics,
            on_serving=self._welcome,
            backoff=lambda: Backoff(clock=lambda: self.now, dice=lambda: 1.0),
            clock=lambda: self.now,
            pause=self._pause,
        )

    async def hire(self, index: int) -> FakeWorker:
        worker = self._make()
        self.hired.append((index, worker))
        return worker

    def stay_away(self, index: int) -> None:
        self.away.append(index)

    async def _welcome(self, index: int, worker: object) -> None:
        self.welcomed.append(index)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(1_000):
            if is_so():
                return
            await asyncio.sleep(0)
        raise AssertionError("it did not come to pass")

    async def started(self) -> list[FakeWorker]:
        self.crew.start()
        await self.crew.until_serving(all_within=5)
        return [worker for _, worker in self.hired]


async def test_all_are_hired_welcomed_and_counted() -> None:
    stage = Stage(3)
    await stage.started()

    assert sorted(stage.welcomed) == [0, 1, 2]
    assert stage.crew.totals().gauges["workers"]() == {(): 3.0}
    await stage.crew.end_within(0)


async def test_one_that_was_killed_is_replaced_and_no_sum_falls() -> None:
    stage = Stage()
    one, other = await stage.started()
    one.hits, other.hits = 5, 3
    await stage.crew.refresh()
    one.kill()
    await stage.until(lambda: len(stage.hired) == 3 and stage.crew.serving == 2)

    assert stage.pauses == [0.1]
    assert stage.away == []
    assert stage.crew.totals().connections_refused.get() == 8
    assert stage.crew.totals().worker_ends.values == {("killed",): 1}
    await stage.crew.end_within(0)


async def test_one_that_ends_at_each_start_does_not_spin_and_its_sockets_are_taken_away() -> None:
    def doomed() -> FakeWorker:
        worker = FakeWorker(is_ready=False)
        worker.end(1)
        return worker

    stage = Stage(1, doomed)
    stage.crew.start()
    await stage.until(lambda: len(stage.pauses) == 9)

    assert stage.pauses[:9] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert stage.away[:8] == [0] * 8
    assert stage.crew.serving == 0
    assert stage.metrics.worker_ends.get("exited") >= 9
    stage.crew.tell_to_end()
    await stage.crew.end_within(0)


async def test_who_is_silent_to_a_purge_is_dead_before_it_is_answered() -> None:
    stage = Stage()
    silent, other = await stage.started()
    silent.reply = Silence("nothing came", is_unheard=False)

    replies = await stage.crew.ask_all(PURGE, seconds=1)

    assert [index for index, _ in replies] == [1]
    assert (silent.exit_code, other.exit_code) == (-9, None)
    await stage.crew.end_within(0)


async def test_who_is_silent_to_a_question_lives() -> None:
    stage = Stage()
    silent, _ = await stage.started()
    silent.reply = Silence("nothing came", is_unheard=False)

    await stage.crew.ask_all(Call("GET", "/entries"), seconds=1, must_reach=False)

    assert silent.exit_code is None
    await stage.crew.end_within(0)


async def test_one_that_does_not_listen_yet_has_nothing_to_purge() -> None:
    stage = Stage(1, lambda: FakeWorker(is_ready=False))
    stage.crew.start()
    await stage.until(lambda: bool(stage.hired))
    (_, starting), *_ = stage.hired
    starting.reply = Silence("refused", is_unheard=True)

    assert await stage.crew.ask_all(PURGE, seconds=1) == []
    assert starting.exit_code is None
    await stage.crew.end_within(0)


async def test_the_one_that_told_is_not_asked() -> None:
    stage = Stage()
    await stage.started()

    assert [index for index, _ in await stage.crew.ask_all(PURGE, seconds=1, besides=0)] == [1]
    await stage.crew.end_within(0)


async def test_one_that_answers_nothing_for_long_is_replaced() -> None:
    stage = Stage(1)
    (stuck,) = await stage.started()
    stuck.is_ready = False
    stage.now += STUCK_SECONDS
    await stage.until(lambda: len(stage.hired) == 2 and stage.crew.serving == 1)

    assert stuck.exit_code == -9
    assert stage.metrics.worker_ends.values == {("stuck",): 1}
    await stage.crew.end_within(0)


async def test_whoever_is_told_to_end_is_not_replaced() -> None:
    stage = Stage()
    workers = await stage.started()
    stage.crew.tell_to_end()
    await stage.crew.end_within(5)

    assert [worker.is_told for worker in workers] == [1, 1]
    assert len(stage.hired) == 2
    assert stage.metrics.worker_ends.values == {}
