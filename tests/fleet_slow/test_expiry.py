"""A hot key expires in a fleet of eight: the origin sees one request, and no client waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from proxy.observe.tasks import spawn
from tests.support.fleet import Answer, Fleet, until
from tests.support.valkey import Valkey

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

REPLICAS = 8
ENOUGH = 20
"""Answers of each replica."""
ROUTES = """
routes:
- {name: stale, match: {path: "/stale/*"}, jitter: 0%}
- {name: far, match: {path: "/far/*"}, jitter: 0%, l1_ttl: 0s}
- {name: early, match: {path: "/early/*"}, jitter: 0%, early_refresh: true}
"""
LONG = "max-age=3600"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(fleet_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    l2s = [f'{{url: "{fleet_server.url}", timeout: 2s, namespace: shop}}'] * REPLICAS
    async with Fleet.started(tmp_path_factory.mktemp("expiry"), l2s, ROUTES) as started:
        yield started


class Clients:
    """Of every replica two, who ask for one path without pause."""

    def __init__(self, fleet: Fleet, path: str) -> None:
        self._fleet = fleet
        self._path = path
        self.answers: list[list[Answer]] = [[] for _ in fleet.replicas]
        self._tasks = [
            spawn("client", self._ask_on(number)) for number in range(len(fleet.replicas)) for _ in range(2)
        ]

    async def _ask_on(self, number: int) -> None:
        while True:
            self.answers[number].append(await self._fleet.get(self._fleet.replicas[number], self._path))
            await asyncio.sleep(0.01)

    async def until_each(self, is_so: Callable[[Answer], bool], times: int = ENOUGH) -> None:
        """Until each replica has given so many such answers since now."""
        first = [len(answers) for answers in self.answers]

        def is_enough() -> bool:
            new = (answers[start:] for answers, start in zip(self.answers, first, strict=True))
            return all(sum(map(is_so, answers)) >= times for answers in new)

        await until(is_enough)

    async def end(self) -> list[Answer]:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        return [answer for answers in self.answers for answer in answers]


def is_stale(answer: Answer) -> bool:
    return "ttl=-" in answer.cache_status


def is_any(answer: Answer) -> bool:
    return bool(answer.status)


def is_renewed(answer: Answer) -> bool:
    return answer.version == 1


async def hold_the_renewal(fleet: Fleet, path: str, *, is_served: Callable[[Answer], bool]) -> list[Answer]:
    """All replicas have the first version; its renewal stays in the origin until all have served on."""
    fleet.origin.cache_control[path, 1] = LONG
    assert {answer.version for answer in await fleet.get_all([path])} == {0}
    assert fleet.origin.asked[path] == 1
    fleet.origin.change(path)
    hold = fleet.origin.hold(path, holds_all=True)
    clients = Clients(fleet, path)
    await hold.arrived()
    await clients.until_each(is_served)
    assert fleet.origin.asked[path] == 2
    hold.let_go()
    await clients.until_each(is_renewed)
    return await clients.end()


@pytest.mark.parametrize("number", range(3))
async def test_with_stale_while_revalidate_one_request_renews_it(fleet: Fleet, number: int) -> None:
    path = f"/stale/{number}"
    fleet.origin.cache_control[path, 0] = "max-age=1, stale-while-revalidate=3600"

    answers = await hold_the_renewal(fleet, path, is_served=is_stale)

    assert fleet.origin.asked[path] == 2
    assert all(answer.is_hit for answer in answers)
    assert await refreshes(fleet, "stale", "stored") == number + 1
    assert await refreshes(fleet, "stale", "shared") == (number + 1) * (REPLICAS - 1)


async def test_what_only_l2_has_is_renewed_by_one_request_too(fleet: Fleet) -> None:
    path = "/far/0"
    fleet.origin.cache_control[path, 0] = "max-age=1, stale-while-revalidate=3600"

    answers = await hold_the_renewal(fleet, path, is_served=is_stale)

    assert fleet.origin.asked[path] == 2
    assert all(answer.is_hit for answer in answers)
    from_l1 = [answer for answer in answers if "detail=l2" not in answer.cache_status]
    # L1 of the replica that renewed it has it a moment before L2, and its own clients may see that.
    assert {(is_renewed(answer), "detail=l1" in answer.cache_status) for answer in from_l1} <= {(True, True)}
    assert len(from_l1) < ENOUGH
    assert await refreshes(fleet, "far", "stored") == 1


async def refreshes(fleet: Fleet, route: str, result: str) -> int:
    return await fleet.sum_of(f'sidecache_refreshes_total{{result="{result}",route="{route}"}}')


@pytest.mark.parametrize("number", range(2))
async def test_with_early_refresh_one_request_renews_it_before_it_expires(fleet: Fleet, number: int) -> None:
    path = f"/early/{number}"
    # Fetched in 0.3 s and asked for all the time, it is renewed one to two seconds before its end.
    fleet.origin.cache_control[path, 0] = "max-age=5"
    fleet.origin.seconds = 0.3

    answers = await hold_the_renewal(fleet, path, is_served=is_any)
    fleet.origin.seconds = 0.0

    assert fleet.origin.asked[path] == 2
    assert all(answer.is_hit and not is_stale(answer) for answer in answers)
