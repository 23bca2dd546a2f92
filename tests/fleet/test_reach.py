import pytest

from proxy.fleet.log import Registration, Survey
from proxy.fleet.reach import Census, reach_of, standings_of
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


def surveyed(replicas, newest=(5, 4, 3), *, most=1_000):
    """At second 100 of the server's clock, of a log with these records of one epoch."""
    tail = position(newest[0]) if newest else None
    return Survey(replicas, tuple((number, 0) for number in newest), most, tail, 100_000)


def polled(place, seconds_ago):
    return f"{at(place)} {100_000 - round(seconds_ago * 1000)}"


def test_each_replica_stands_where_it_said_the_longest_silent_first():
    replicas = {
        "b": polled(position(5), 0.05),
        "a": polled(position(5), 0.05),
        "stopped": polled(position(3), 41.5),
        "ahead": polled(position(6), 0.0),
        "older": polled(position(2), 1.0),
    }

    assert standings_of(surveyed(replicas), is_in_log) == [
        ("stopped", position(3), 2, 41.5),
        ("older", position(2), 3, 1.0),
        ("a", position(5), 0, 0.05),
        ("b", position(5), 0, 0.05),
        ("ahead", position(6), 0, 0.0),
    ]


@pytest.mark.parametrize(
    ("registration", "standing"),
    [
        (polled(None, 0.25), ("one", None, None, 0.25)),
        (polled(position(9, nonce=0xBEEF), 1.0), ("one", position(9, nonce=0xBEEF), None, 1.0)),
        (polled(position(5), -3.0), ("one", position(5), 0, 0.0)),  # the server's clock was set back
        (at(position(4)), ("one", position(4), 1, None)),
        ("garbage", ("one", None, None, None)),
    ],
)
def test_what_a_registration_does_not_say_is_not_known(registration, standing):
    assert standings_of(surveyed({"one": registration}), is_in_log) == [standing]


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
