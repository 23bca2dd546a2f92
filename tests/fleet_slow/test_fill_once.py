"""One fill per key across pods: eight processes on one Valkey, fifty clients each, in front of one origin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic

import pytest
import pytest_asyncio

from proxy.observe.tasks import spawn
from tests.support.fleet import CUT_OFF, Answer, Fleet, until
from tests.support.sidecar import Sidecar
from tests.support.valkey import Valkey

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

REPLICAS = 8
CLIENTS = 50
"""Of each replica."""
ROUNDS = 5
L2 = '{{url: "{url}", timeout: 2s, namespace: shop}}'
ROUTES = """
routes: [{name: all, match: {path: "/**"}, ttl: 1h, coalesce: {wait: 10s}}]
"""
Burst = asyncio.Task[list[Answer]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(fleet_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    l2s = [L2.format(url=fleet_server.url)] * REPLICAS
    async with Fleet.started(tmp_path_factory.mktemp("fill"), l2s, ROUTES) as started:
        yield started


def burst(fleet: Fleet, path: str, replicas: Sequence[Sidecar] = ()) -> Burst:
    """All clients of these replicas, or of all, ask at once."""
    clients = [replica for replica in replicas or fleet.replicas for _ in range(CLIENTS)]
    return spawn("burst", fleet.get_all([path], clients))


async def all_answered(burst: Burst) -> int:
    """How many got the content; no client got anything else."""
    answers = await burst
    assert {answer[:2] for answer in answers} == {(200, 0)}
    return len(answers)


async def leases(fleet: Fleet, result: str) -> int:
    """How many fetches of the fleet ended their wait so."""
    return await fleet.sum_of(f'sidecache_leases_total{{result="{result}",route="all"}}')


async def until_all_fetch(fleet: Fleet) -> None:
    """Until each replica fetches something, or waits for another to do it."""
    await until(lambda: all_fetch(fleet))


async def all_fetch(fleet: Fleet) -> bool:
    return {await fleet.metric(replica, "sidecache_flights ") for replica in fleet.replicas} == {1.0}


async def test_a_cold_key_costs_the_fleet_one_request(fleet: Fleet) -> None:
    for number in range(ROUNDS):
        path = f"/cold/{number}"

        assert await all_answered(burst(fleet, path)) == REPLICAS * CLIENTS
        assert fleet.origin.asked[path] == 1


async def test_who_waits_gets_what_one_replica_fetched(fleet: Fleet) -> None:
    held, shared = await leases(fleet, "held"), await leases(fleet, "shared")
    hold = fleet.origin.hold("/slow", holds_all=True)
    clients = burst(fleet, "/slow")
    await until_all_fetch(fleet)
    await asyncio.sleep(1.5)  # longer than a lease lasts unless it is renewed
    hold.let_go()

    assert await all_answered(clients) == REPLICAS * CLIENTS
    assert fleet.origin.asked["/slow"] == 1
    assert await leases(fleet, "held") == held + 1
    assert await leases(fleet, "shared") == shared + REPLICAS - 1


async def test_another_takes_over_from_a_leader_that_was_killed(fleet: Fleet, fleet_server: Valkey) -> None:
    takeovers, shared = await leases(fleet, "takeover"), await leases(fleet, "shared")
    hold = fleet.origin.hold("/killed", holds_all=True)
    first, *others = fleet.replicas
    shared -= await fleet.metric(first, 'sidecache_leases_total{result="shared",route="all"}')
    doomed = burst(fleet, "/killed", [first])
    await fleet.origin.was_asked("/killed")
    clients = burst(fleet, "/killed", others)
    await until_all_fetch(fleet)
    await fleet.kill(first)
    killed_at = monotonic()
    await fleet.origin.was_asked("/killed", 2)
    takeover_seconds = monotonic() - killed_at
    hold.let_go()

    assert await all_answered(clients) == (REPLICAS - 1) * CLIENTS
    assert fleet.origin.asked["/killed"] == 2
    assert takeover_seconds < 2.0
    assert await leases(fleet, "takeover") == takeovers + 1
    assert await leases(fleet, "shared") == shared + REPLICAS - 2
    assert set(await doomed) == {CUT_OFF}
    await fleet.join(L2.format(url=fleet_server.url))


async def test_when_redis_dies_each_replica_goes_on_alone(fleet: Fleet, fleet_server: Valkey) -> None:
    unavailable = await leases(fleet, "unavailable")
    hold = fleet.origin.hold("/alone", holds_all=True)
    clients = burst(fleet, "/alone")
    await until_all_fetch(fleet)
    await asyncio.to_thread(fleet_server.kill)
    try:
        await fleet.origin.was_asked("/alone", REPLICAS)
        hold.let_go()

        assert await all_answered(clients) == REPLICAS * CLIENTS
        assert fleet.origin.asked["/alone"] == REPLICAS
        assert await leases(fleet, "unavailable") == unavailable + REPLICAS - 1
    finally:
        fleet_server.start()
        await until(lambda: has_recovered(fleet))


async def has_recovered(fleet: Fleet) -> bool:
    is_asked = await fleet.sum_of("sidecache_l2_breaker_open ") == 0
    return is_asked and await fleet.are_trusting(fleet.replicas)


async def test_uncacheable_answers_do_not_make_the_fleet_queue(fleet: Fleet) -> None:
    lone = await leases(fleet, "lone")
    fleet.origin.cache_control["/own", 0] = "no-store"
    everyone = REPLICAS * CLIENTS
    assert await all_answered(burst(fleet, "/own", fleet.replicas[:1])) == CLIENTS

    hold = fleet.origin.hold("/own", holds_all=True)
    clients = burst(fleet, "/own")
    # One for each client of the replica that knows; each other learns it by one first.
    await fleet.origin.was_asked("/own", 2 * CLIENTS + REPLICAS - 1)
    hold.let_go()

    assert await all_answered(clients) == everyone
    assert fleet.origin.asked["/own"] == CLIENTS + everyone
    assert await leases(fleet, "lone") == lone + REPLICAS - 1
