"""Wrong orders that chance hardly ever tells from the right one, each in a world made for it."""

from __future__ import annotations

import pytest

from tests.simulation import histories
from tests.simulation.histories import History, happen
from tests.simulation.mutants import RARE_MUTANTS, mutant_named
from tests.simulation.promises import Promises

SEEDS = range(5)
HISTORIES: dict[str, tuple[History, str]] = {
    "the reply's time as sync": (histories.a_reply_that_waits_for_a_stopped_process, Promises.LATE),
    "a timer takes trust back": (histories.a_hit_right_after_a_stop, Promises.LATE),
    "no grace": (histories.a_young_log_that_has_lost_a_purge, Promises.LATE),
    "ids without epochs acknowledge": (histories.a_registration_of_an_older_log, Promises.ACKNOWLEDGED),
    "a run id as the server's name": (histories.a_server_that_comes_back, Promises.SURVIVES),
    "publishers append again, nobody else": (
        histories.a_publisher_that_dies_before_its_purge_is_lost,
        Promises.COMPLETE,
    ),
}


def test_each_rare_mutant_has_its_history() -> None:
    assert HISTORIES.keys() == {mutant.name for mutant in RARE_MUTANTS}


@pytest.mark.parametrize("mutant", HISTORIES)
def test_a_history_tells_the_wrong_order_from_the_right(mutant: str) -> None:
    history, promise = HISTORIES[mutant]
    right = [happen(history, seed=seed) for seed in SEEDS]
    wrong = [happen(history, seed=seed, mutant=mutant_named(mutant)) for seed in SEEDS]

    assert [world.faults for world in right if world.faults] == []
    assert all(world.purges for world in right)
    assert {promise} == set().union(*(world.broken for world in wrong))
