from collections import Counter

import pytest

from tests.simulation.fills import Fills
from tests.simulation.promises import Purge
from tests.support.purging import url

RACED = {"fetch, purged here": 1}


@pytest.fixture
def races() -> Counter[str]:
    return Counter()


@pytest.fixture
def fills(races: Counter[str]) -> Fills:
    return Fills(races)


def purge(version: int, target: bytes = b"/a") -> Purge:
    return Purge(1, url(target.decode()), soft=False, versions={target: version})


@pytest.mark.parametrize(
    ("version", "target", "counted"), [(1, b"/a", RACED), (2, b"/a", {}), (None, b"/a", {}), (1, b"/b", {})]
)
def test_old_content_that_lands_behind_its_purge_has_raced(races, fills, version, target, counted) -> None:
    fill = fills.begin("fetch", b"/a", version)
    fills.meet(purge(2, target), "here")
    fills.land(fill)

    assert races == counted
    assert fill not in fills


def test_each_pair_counts_once_and_for_where_it_was_asked(races, fills) -> None:
    fill, overtaking = fills.begin("fetch", b"/a", 1), purge(2)
    fills.meet(overtaking, "here")
    fills.meet(overtaking, "elsewhere")
    fills.land(fill)

    assert races == RACED


def test_what_is_dropped_or_purged_before_or_after_has_not_raced(races, fills) -> None:
    fills.meet(purge(2), "here")
    first, second = fills.begin("fetch", b"/a", 1), fills.begin("fetch", b"/a", 1)
    fills.land(first)
    fills.meet(purge(2), "here")
    fills.drop(second)

    assert races == {}
