"""What people are shown of the fleet, by a replica on a real server and by one that has none."""

from __future__ import annotations

import pytest

from proxy.fleet.log import Condition, LogFailure, Registration, Survey
from proxy.fleet.overview import MOST_SHOWN, Overview
from tests.support.cut_link import CutLink
from tests.support.purging import NONCE, position, url
from tests.support.replicas import MAX_UNSYNCED, replica

A = url("/a")


class FakeLog:
    """In step, at record 5; `tails` are those it was asked about."""

    def __init__(self):
        self.known = 3
        self.tails = []
        self.now = Condition(True, 12.34567, 0.05, position(5), 0)

    def condition(self):
        return self.now

    def places_of(self, tail):
        self.tails.append(tail)
        return lambda place: place.nonce == NONCE


class FakeSurveyor:
    def __init__(self, found):
        self.found = found

    async def survey(self):
        return self.found


def shown(found, log):
    return Overview("one", FakeSurveyor(found), log).facts()


def by_name(facts):
    return {each["name"]: each for each in facts["replicas"]}


async def test_this_replica_is_shown_as_it_is_and_the_others_as_they_said():
    log = FakeLog()
    replicas = {
        "one": Registration(position(5), 9).encode() + " 99950",
        "two": Registration(position(4), 9).encode() + " 58799",
        "new": Registration(None, 1).encode() + " 100000",
    }
    facts = await shown(Survey(replicas, ((5, 0),), 1_000, position(5), 100_000), log)

    assert facts == {
        "here": [
            {
                "name": "one",
                "state": "trusted",
                "state_seconds": 12.346,
                "lag_seconds": 0.05,
                "epoch": 1,
                "position": "5-0",
                "unpublished": 0,
            }
        ],
        "known": 3,
        "replicas": [
            {"name": "two", "epoch": 1, "position": "4-0", "behind_records": 1, "silent_seconds": 41.201},
            {"name": "one", "epoch": 1, "position": "5-0", "behind_records": 0, "silent_seconds": 0.05},
            {"name": "new", "epoch": None, "position": None, "behind_records": None, "silent_seconds": 0.0},
        ],
        "detail": None,
    }
    assert log.tails == [position(5)]


async def test_where_the_server_cannot_tell_the_reason_is_shown_and_what_was_known():
    log = FakeLog()
    log.now = Condition(False, 3.0, None, None, 2)
    facts = await shown(LogFailure("TimeoutError"), log)

    assert (facts["known"], facts["replicas"]) == (3, None)
    assert facts["detail"] == "Redis does not say where they are: TimeoutError"
    assert facts["here"] == [
        {
            "name": "one",
            "state": "unsynced",
            "state_seconds": 3.0,
            "lag_seconds": None,
            "epoch": None,
            "position": None,
            "unpublished": 2,
        }
    ]


async def test_in_an_empty_log_nobody_has_a_place():
    log = FakeLog()
    facts = await shown(Survey({"two": Registration(position(4), 9).encode()}, (), 9, None, 1), log)

    assert [each["behind_records"] for each in facts["replicas"]] == [None]
    assert log.tails == []


async def test_of_a_huge_fleet_the_longest_silent_are_shown():
    replicas = {
        f"r{number}": f"{Registration(None, 1).encode()} {number}" for number in range(MOST_SHOWN + 5)
    }
    facts = await shown(Survey(replicas, (), 9, None, 5_000), FakeLog())

    assert (facts["known"], len(facts["replicas"])) == (MOST_SHOWN + 5, MOST_SHOWN)
    assert (facts["replicas"][0]["name"], facts["replicas"][-1]["name"]) == ("r0", f"r{MOST_SHOWN - 1}")


async def test_a_purge_that_another_has_not_read_is_its_lag(server):
    async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
        overview = Overview("one", one.server, one.log)
        await one.sync()
        await two.sync()
        await two.log.step()  # says what it has applied
        purges = [await one.purge(A), await one.purge(A)]
        await one.log.step()
        before = by_name(await overview.facts())
        await two.sync()
        await two.log.step()
        after = by_name(await overview.facts())

        assert {name: facts["behind_records"] for name, facts in before.items()} == {"one": 0, "two": 2}
        assert {name: facts["behind_records"] for name, facts in after.items()} == {"one": 0, "two": 0}
        assert {facts["position"] for facts in after.values()} == {purges[1].id}
        assert {facts["epoch"] for facts in after.values()} == {1}
        assert one.metrics.gauges["replicas_known"]() == {(): 2.0}


async def test_a_position_of_a_log_that_is_gone_is_no_lag_of_this_one(server):
    async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
        await one.sync()
        await two.sync()
        await two.log.step()
        server.ask("DEL", "shop:log")
        await one.sync()
        await one.log.step()

        facts = by_name(await Overview("one", one.server, one.log).facts())
        assert {name: each["behind_records"] for name, each in facts.items()} == {"one": 0, "two": None}


async def test_cut_off_from_the_server_it_still_answers(server):
    async with CutLink(server.port) as link, replica(link.url) as one:
        await one.sync()
        link.cut()
        one.clock.advance(MAX_UNSYNCED + 2)
        await one.log.step()
        facts = await Overview("one", one.server, one.log).facts()

    (here,) = facts["here"]
    assert (here["state"], here["state_seconds"], here["lag_seconds"]) == ("unsynced", 2.0, MAX_UNSYNCED + 2)
    assert one.metrics.gauges["log_lag_seconds"]() == {(): MAX_UNSYNCED + 2}
    assert facts["replicas"] is None
    assert facts["detail"]


async def test_before_the_first_read_there_is_no_lag(server):
    async with replica(server.url) as one:
        assert one.metrics.gauges["log_lag_seconds"]() == {}
        assert one.metrics.gauges["replicas_known"]() == {(): 1.0}


@pytest.mark.parametrize("polls", [1, 50])
async def test_polls_ask_for_nothing_more(server, polls):
    """Who is registered is asked by whoever looks, never by a poll."""
    async with replica(server.url) as one:
        await one.sync()
        server.ask("CONFIG", "RESETSTAT")
        for _ in range(polls):
            await one.log.step()

        assert (server.calls("evalsha"), server.calls("hgetall")) == (polls, 0)
