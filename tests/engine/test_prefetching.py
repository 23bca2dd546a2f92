"""Fetches on nobody's behalf: what each comes to, so many at once, for so long."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from proxy.engine.prefetching import SKIPPED, Prefetched, Prefetcher
from proxy.model import Fields, Framing, OriginFailure, Request
from proxy.observe.tasks import running
from tests.support.engine_fakes import BROKEN, REFUSED, Engine, FakeL2, Reply, body_of, reply, turns
from tests.support.routing import get

STORED, FRESH = Prefetched("stored"), Prefetched("fresh")
VALIDATED = (b"ETag", b'"1"')


def counted(engine: Engine) -> dict[tuple[str, ...], int]:
    return engine.metrics.prefetches.values


async def fetch(engine: Engine, request: Request | None = None) -> Prefetched:
    async with asyncio.timeout(10):
        return await Prefetcher(engine.flow, engine.metrics).fetch(request or get(), cause="warm")


COLD: list[tuple[Reply | OriginFailure, dict[str, Any], Prefetched]] = [
    (reply(), {}, STORED),
    (reply(pieces=(b"a" * 300_000, b"b" * 100_000), framing=Framing.CHUNKED, length=None), {}, STORED),
    (reply(b"no-store"), {}, Prefetched("not-stored", "no-store")),
    (reply(), {"cache": False}, Prefetched("not-stored", "route")),
    (reply(b"private", pieces=(b"a" * 400_000,)), {}, Prefetched("not-stored", "private")),
    (reply(b"", status=404), {"negative": {404: "30s"}}, STORED),
    (reply(b"", status=500), {}, Prefetched("failed", "status-500")),
    (reply(b"", status=500), {"negative": {"errors": {500: "9s"}}}, Prefetched("failed", "status-500")),
    (reply(b"", status=503), {"cache": False}, Prefetched("failed", "status-503")),
    (REFUSED, {}, Prefetched("failed", "refused")),
    (
        reply(pieces=(b"a" * 300_000, BROKEN), framing=Framing.CHUNKED, length=None),
        {},
        Prefetched("failed", "broken-body"),
    ),
]


@pytest.mark.parametrize(("said", "policy", "result"), COLD)
async def test_what_a_cold_url_comes_to(
    said: Reply | OriginFailure, policy: dict[str, Any], result: Prefetched
) -> None:
    engine = Engine(**policy)
    engine.origin.will(said)

    assert await fetch(engine) == result
    assert counted(engine) == {("warm", result.result): 1}
    if isinstance(said, Reply) and result.result == "not-stored":
        assert all(body.is_abandoned for body in said.bodies)
    if result == STORED:
        assert await fetch(engine) == FRESH
        assert len(engine.origin.requests) == 1


async def test_what_l2_has_is_fresh_and_in_l1_then() -> None:
    l2 = FakeL2()
    first, second = Engine(l2=l2), Engine(l2=l2)
    await first.ask()

    assert await fetch(second) == FRESH
    assert second.flow.try_hit(get()) is not None
    assert second.origin.requests == []


async def test_what_another_fetches_is_waited_for() -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        first = group.create_task(engine.ask())
        await engine.origin.asked(1)
        second = group.create_task(fetch(engine))
        await asyncio.sleep(0)
        engine.origin.gate.set()

    assert (await body_of(first.result()), second.result()) == (b"body", STORED)
    assert len(engine.origin.requests) == 1


async def test_what_is_stale_is_refreshed_before_it_counts() -> None:
    engine = Engine(stale_while_revalidate="1h")
    engine.origin.will(reply(b"max-age=10", VALIDATED), reply(b"max-age=10", VALIDATED, pieces=(b"new",)))
    await engine.ask()
    engine.step(11)

    assert await fetch(engine) == STORED
    assert (await engine.ask()).body == b"new"
    assert counted(engine) == {("warm", "stored"): 1}


async def test_a_refresh_that_fails_is_a_failure() -> None:
    engine = Engine(stale_while_revalidate="1h")
    engine.origin.will(reply(b"max-age=10"), REFUSED)
    await engine.ask()
    engine.step(11)

    assert await fetch(engine) == Prefetched("failed", "not-refreshed")
    # Of what failed a moment ago no refresh begins.
    assert await fetch(engine) == Prefetched("failed", "not-refreshed")
    assert len(engine.origin.requests) == 2


async def test_a_variant_is_refreshed_as_the_request_selects_it() -> None:
    engine = Engine(stale_while_revalidate="1h")
    vary = (b"Vary", b"Accept-Language")
    engine.origin.will(reply(b"max-age=10", vary), reply(b"max-age=10", vary, pieces=(b"new",)))
    german = get(b"/", (b"Accept-Language", b"de"))
    await engine.serve(german)
    engine.step(11)

    assert await fetch(engine, german) == STORED
    assert (await engine.serve(german)).body == b"new"


async def test_what_may_stand_in_is_no_success() -> None:
    engine = Engine(stale_if_error="1h")
    engine.origin.will(reply(b"max-age=10"), REFUSED)
    await engine.ask()
    engine.step(11)

    assert await fetch(engine) == Prefetched("failed", "stale-if-error")


async def all_of(
    engine: Engine, *targets: bytes, at_once: int = 2, seconds: float = 10
) -> list[tuple[int, Prefetched]]:
    results = Prefetcher(engine.flow, engine.metrics).fetch_all(
        [get(target) for target in targets], cause="refresh", at_once=at_once, seconds=seconds
    )
    async with asyncio.timeout(10):
        return [result async for result in results]


async def test_all_are_fetched_and_told_by_their_number() -> None:
    engine = Engine()
    engine.origin.will(reply(), reply(b"no-store"), reply())

    told = await all_of(engine, b"/a", b"/b", b"/c", at_once=1)

    assert told == [(0, STORED), (1, Prefetched("not-stored", "no-store")), (2, STORED)]
    assert counted(engine) == {("refresh", "stored"): 2, ("refresh", "not-stored"): 1}


async def test_a_fault_of_ours_costs_one_url() -> None:
    engine = Engine()
    engine.origin.will(ZeroDivisionError(), reply())

    told = await all_of(engine, b"/a", b"/b", at_once=1)

    assert told == [(0, Prefetched("failed", "closed")), (1, STORED)]


async def test_no_url_that_cannot_even_be_planned_ends_the_others() -> None:
    engine = Engine()
    crashing = Request("GET", b"/", Fields(()), host=None)  # type: ignore[arg-type]
    prefetcher = Prefetcher(engine.flow, engine.metrics)
    results = prefetcher.fetch_all([crashing, get()], cause="warm", at_once=1, seconds=10)

    assert [result async for result in results] == [(0, Prefetched("failed", "crashed")), (1, STORED)]


async def test_never_more_at_once_than_told() -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        told = group.create_task(all_of(engine, *(b"/%d" % number for number in range(9)), at_once=3))
        await engine.origin.asked(3)
        for _ in range(20):
            await asyncio.sleep(0)
        under_way = len(engine.origin.requests)
        engine.origin.gate.set()

    assert under_way == 3
    assert sorted(told.result()) == [(number, STORED) for number in range(9)]


async def test_what_has_not_ended_in_time_is_skipped() -> None:
    engine = Engine()
    engine.origin.gate.clear()

    told = await all_of(engine, b"/a", b"/b", b"/c", seconds=0.05)

    assert told == [(0, SKIPPED), (1, SKIPPED), (2, SKIPPED)]
    await turns(5)
    assert counted(engine) == {("refresh", "skipped"): 3}
    engine.origin.gate.set()
    await engine.settle()


async def test_where_no_time_is_left_nothing_is_begun() -> None:
    engine = Engine()

    assert await all_of(engine, b"/a", b"/b", seconds=0) == [(0, SKIPPED), (1, SKIPPED)]
    await engine.settle()
    assert engine.origin.requests == []
    assert counted(engine) == {("refresh", "skipped"): 2}


async def test_whoever_stops_reading_leaves_no_task_behind() -> None:
    engine, held_back = Engine(), asyncio.Event()
    engine.origin.will(reply(), reply(pieces=(b"a", held_back)))
    results = Prefetcher(engine.flow, engine.metrics).fetch_all(
        [get(b"/%d" % number) for number in range(10)], cause="warm", at_once=2, seconds=10
    )
    async with aclosing(results):
        assert await anext(results) == (0, STORED)
        await engine.origin.asked(2)
        before = prefetches()
    await turns(5)

    assert (before, prefetches()) == (1, 0)
    assert counted(engine) == {("warm", "stored"): 1, ("warm", "skipped"): 1}
    held_back.set()
    await engine.settle()
    assert len(engine.origin.requests) == 2


def prefetches() -> int:
    return len([task for task in running() if task.get_name() == "prefetch"])
