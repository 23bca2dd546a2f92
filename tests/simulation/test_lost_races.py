"""Fills in flight at the moment of a purge, 2,000 of each sort: nothing old is served as fresh afterwards."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import mutant_named
from tests.simulation.outcome import said
from tests.simulation.rounds import RACES, Race, play

TIMES = 2_000
SOON = 300
RACE = {race.name: race for race in RACES}

CAUGHT = [
    *(("naive", race) for race in RACE),
    ("born at the response", "fetch, purged here"),
    ("born at the response", "fetch, purged elsewhere"),
    ("born at the response", "refresh"),
    ("304 born at the response", "validation"),
    ("304 born at the response", "refresh"),
    ("a clock as position", "fetch, purged elsewhere"),
    ("a follower joins any fetch", "follower"),
    ("tags are not asked of a fetch", "follower"),
    ("back-fill with a new born", "back-fill"),
    ("back-fill unchecked", "back-fill"),
    ("a hit is checked once", "write-behind"),
    ("soft hides hard", "refresh"),
    ("restart trusts L2 with an empty index", "write-behind"),
]
"""Wrong orders, and a race that tells each of them from the right one."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("race", RACES, ids=RACE)
def test_two_thousand_races_serve_nothing_old(race: Race) -> None:
    played = play(race, races=TIMES)

    assert played.world is None or said(played.world) == ""
    assert played.races == TIMES
    assert played.rounds > TIMES, "a purge never missed its fill: what is counted?"


@pytest.mark.parametrize(("mutant", "race"), CAUGHT)
def test_a_wrong_order_loses_the_race(mutant: str, race: str) -> None:
    played = play(RACE[race], races=SOON, mutant=mutant_named(mutant))

    assert played.world is not None
    assert played.world.broken, played.world.faults
