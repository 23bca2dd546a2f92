import pytest

from proxy.fleet.log import Registration
from proxy.fleet.reach import Census, reach_of
from tests.support.purging import NONCE, position

TARGET = position(5)


def at(place, beat=1):
    return Registration(place, beat).encode()


def is_in_log(place):
    return place.nonce == NONCE


@pytest.mark.parametrize(
    ("registration", "has_reached"),
    [
        (at(position(5)), True),
        (at(position(6)), True),
        (at(position(4)), False),
        (at(position(5)._replace(seq=1)), True),
        (at(None), False),
        (at(position(9, nonce=0xBEEF)), False),
        (at(position(9, number=2, nonce=0xBEEF)), False),
        (at(position(1, number=2)), True),
        ("garbage", False),
        ("", False),
    ],
)
def test_acknowledged_is_who_reached_it_in_an_epoch_of_the_log(registration, has_reached):
    reach = reach_of(TARGET, {"one": registration}, is_in_log)

    assert reach.known == 1
    assert reach.acknowledged == int(has_reached)
    assert reach.missing == (() if has_reached else ("one",))


def test_the_silent_are_named_in_order():
    replicas = {"c": at(None), "a": at(position(4)), "b": at(position(5))}

    assert reach_of(TARGET, replicas, is_in_log).missing == ("a", "c")


def test_a_registration_that_stays_the_same_is_a_dead_replicas():
    census = Census(60.0)
    live = [
        census.silent({"dead": at(TARGET, 7), "live": at(TARGET, beat)}, now=now)
        for beat, now in ((1, 0.0), (2, 60.0))
    ]
    later = census.silent({"dead": at(TARGET, 7), "live": at(TARGET, 3)}, now=60.1)

    assert live == [{}, {}]
    assert later == {"dead": at(TARGET, 7)}


def test_who_left_and_returned_is_counted_anew():
    census = Census(60.0)
    census.silent({"one": at(TARGET)}, now=0.0)
    census.silent({}, now=30.0)
    census.silent({"one": at(TARGET)}, now=31.0)

    assert census.silent({"one": at(TARGET)}, now=90.0) == {}
    assert census.silent({"one": at(TARGET)}, now=91.1) == {"one": at(TARGET)}
