"""Worlds of replicas in virtual time keep every promise.

`make test-fleet` runs 100,000 interleavings more, and the wrong orders. A fault tells how to replay it.
"""

import pytest

from tests.simulation.kinds import KINDS
from tests.simulation.outcome import said
from tests.simulation.simulation import simulate


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_no_promise_is_broken(kind):
    worlds = [simulate(seed, kind) for seed in range(100, 102)]

    assert [said(world) for world in worlds if world.faults] == []
    assert all(world.bound for world in worlds)
    assert sum(world.races.total() for world in worlds)


def test_a_large_fleet_keeps_them_too():
    world = simulate(1, KINDS["basic"]._replace(seconds=1.0), replicas=1_000)

    assert world.faults == []
    assert world.bound > 50


def test_the_same_seed_is_the_same_world():
    first, second = (simulate(3, KINDS["mixed"], is_traced=True) for _ in range(2))

    assert first.trace == second.trace
    assert len(first.trace) > 1_000
