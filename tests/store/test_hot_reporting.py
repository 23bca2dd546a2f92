"""When L1 is looked at and when the fleet is told, with the clock in the test's hands."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.observe.tasks import spawn
from proxy.store.hot_reporting import HotReporter
from tests.support.clocks import GatedPause, SteppedClock
from tests.support.entries import key_of


class Told:
    """Both sides of the reporter, and when what happened."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self.looks: list[float] = []
        self.tells: list[tuple[float, Mapping[bytes, float]]] = []

    def look(self, now: float) -> None:
        self.looks.append(now)

    def rates(self) -> Mapping[bytes, float]:
        return {key_of("a"): float(len(self.looks))}

    async def publish(self, rates: Mapping[bytes, float]) -> None:
        self.tells.append((self._clock(), rates))


@pytest.mark.parametrize(
    ("shard_count", "replicas", "look_seconds", "told_at"),
    [
        (1, 1, 2.0, [6.0, 12.0]),
        (4, 10, 0.5, [5.0, 10.0]),
        (8, 20, 0.25, [10.0]),
        (32, 1, 0.25, [8.0]),
        (256, 1, 0.25, []),
    ],
)
async def test_looks_are_paced_by_shards_and_lists_by_the_fleet(
    shard_count: int, replicas: int, look_seconds: float, told_at: list[float]
) -> None:
    clock = SteppedClock(0.0)
    told, pause = Told(clock), GatedPause(clock)
    reporter = HotReporter(
        told, told, shard_count=shard_count, replicas=lambda: replicas, now=clock, pause=pause
    )
    running = spawn("reporter", reporter.run())
    while clock.now < 12.0:
        assert await pause.end_next() == look_seconds
    await pause.begun()
    running.cancel()

    assert told.looks == [look_seconds * (number + 1) for number in range(int(12 / look_seconds))]
    assert [at for at, _ in told.tells] == told_at
    assert [rates for _, rates in told.tells] == [{key_of("a"): at / look_seconds} for at in told_at]
