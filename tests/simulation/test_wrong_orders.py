"""Each wrong order breaks a promise in some world of the simulation: the worlds tell right from wrong."""

import pytest

from tests.simulation.kinds import KINDS
from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import simulate

MOST_SEEDS = 20


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_order_breaks_a_promise(mutant):
    seeds = range(mutant.first_seed, mutant.first_seed + MOST_SEEDS)
    worlds = (simulate(seed, KINDS[mutant.kind], mutant=mutant) for seed in seeds)
    broken = next((world for world in worlds if world.faults), None)

    assert broken is not None
    assert broken.broken, broken.faults
