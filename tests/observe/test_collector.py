"""What the collector is told after start."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from proxy.observe.collector import MIDDLE, OLD, YOUNG, settle


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_lives_after_start_is_not_looked_at_again() -> None:
    before_start = [object() for _ in range(3)], {}

    settle()

    assert gc.get_freeze_count() > 1000
    assert not any(tracked is before_start for tracked in gc.get_objects())
    assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)


def test_later_cycles_are_still_found() -> None:
    settle()
    cycle: list[object] = []
    cycle.append(cycle)
    address = id(cycle)
    del cycle

    gc.collect()

    assert not any(id(tracked) == address for tracked in gc.get_objects())
