"""Fetching again what was invalidated: by the URL alone, so many, in the background, until told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.engine.prefetching import Prefetcher
from proxy.engine.refetching import AT_ONCE, SLICE, Refetcher
from proxy.model import FieldLine, Outcome, Part, StoredResponse
from proxy.observe.tasks import running, spawn
from tests.support.engine_fakes import Engine, FakeL2, reply, turns
from tests.support.responses import entry
from tests.support.routing import get


def refetcher(engine: Engine, *, most: int = 100) -> Refetcher:
    return Refetcher(engine.flow, Prefetcher(engine.flow, engine.metrics), most=most)


def held(engine: Engine) -> list[tuple[bytes, StoredResponse]]:
    """All responses in L1, the most recently used first."""
    return [
        (key, copy.entry) for key, copy in engine.memory.entries() if isinstance(copy.entry, StoredResponse)
    ]


async def filled(*targets: bytes, **policy: Any) -> Engine:
    engine = Engine(**policy)
    for target in targets:
        await engine.ask(target)
    return engine


@pytest.mark.parametrize("soft", [False, True])
async def test_what_was_purged_is_fetched_before_anybody_asks(soft: bool) -> None:
    engine = await filled(b"/a", b"/b")
    engine.origin.will(reply(pieces=(b"new",)))
    engine.log.purge(soft=soft)

    assert await refetcher(engine).refresh(held(engine)) == 2
    await engine.settle()
    answers = [await engine.ask(target) for target in (b"/a", b"/b")]

    assert [(answer.outcome, answer.body) for answer in answers] == [(Outcome.HIT, b"new")] * 2
    assert len(engine.origin.requests) == 4
    assert engine.metrics.prefetches.values == {("refresh", "stored"): 2}


async def test_while_stale_answers_go_out_it_is_refreshed_too() -> None:
    engine = await filled(b"/a", stale_while_revalidate="1h")
    engine.origin.will(reply(pieces=(b"new",)))
    engine.log.purge(soft=True)
    await refetcher(engine).refresh(held(engine))
    await engine.settle()

    assert (await engine.ask(b"/a")).body == b"new"


USERS: list[tuple[dict[str, Any], tuple[FieldLine, ...], tuple[FieldLine, ...]]] = [
    ({"identity": {"header": "Authorization"}}, ((b"Authorization", b"Bearer his"),), ()),
    ({"identity": {"cookie": "sid"}}, ((b"Cookie", b"sid=his"),), ()),
    ({"key": {"headers": ["X-Tenant"]}}, ((b"X-Tenant", b"his"),), ()),
    ({"key": {"cookies": ["currency"]}}, ((b"Cookie", b"currency=eur"),), ()),
    ({}, ((b"Accept-Language", b"de"),), ((b"Vary", b"Accept-Language"),)),
    ({}, ((b"X-Forwarded-Host", b"evil"),), ()),
]


@pytest.mark.parametrize(("policy", "asked", "said"), USERS)
async def test_what_depends_on_more_than_the_url_is_not_asked_for(
    policy: dict[str, Any], asked: tuple[FieldLine, ...], said: tuple[FieldLine, ...]
) -> None:
    engine = Engine(**policy)
    engine.origin.will(reply(b"max-age=100", *said))
    await engine.ask(b"/a", *asked)
    entries = held(engine)
    engine.log.purge()

    assert len(entries) == 1
    assert await refetcher(engine).refresh(entries) == 0
    await engine.settle()
    assert len(engine.origin.requests) == 1


async def test_the_variant_of_a_request_without_fields_is_asked_for() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", (b"Vary", b"Accept-Language")))
    await engine.ask(b"/a", (b"Accept-Language", b"de"))
    await engine.ask(b"/a")
    engine.log.purge()

    assert await refetcher(engine).refresh(held(engine)) == 1
    await engine.settle()
    assert engine.origin.requests[-1].fields.lines == ((b"Host", b"shop"),)


async def test_a_shared_answer_is_asked_for_without_the_credentials_that_it_came_with() -> None:
    engine = Engine()
    engine.origin.will(reply(b"public, max-age=100"))
    await engine.ask(b"/a", (b"Authorization", b"Bearer his"), (b"Cookie", b"sid=his"))
    engine.log.purge()

    assert await refetcher(engine).refresh(held(engine)) == 1
    await engine.settle()
    assert engine.origin.requests[-1].fields.lines == ((b"Host", b"shop"),)


async def test_a_keyed_query_is_asked_for_as_it_is_keyed() -> None:
    engine = await filled(b"/a?page=1&utm=x", key={"query": {"include": ["page"]}})
    engine.log.purge()
    await refetcher(engine).refresh(held(engine))
    await engine.settle()

    assert engine.origin.requests[-1].target == b"/a?page=1"
    assert (await engine.ask(b"/a?page=1&utm=y")).outcome is Outcome.HIT


@pytest.mark.parametrize(
    "changes",
    [
        {"host": b""},
        {"part": Part(0, 3, 9)},
        {"target": b"/other"},
        {"target": b"/a/../b"},
        {"host": b"other"},
    ],
)
async def test_what_no_url_leads_to_is_left_out(changes: dict[str, Any]) -> None:
    engine = await filled(b"/a")
    ((key, stored),) = held(engine)

    assert await refetcher(engine).refresh([(key, stored.but(**changes))]) == 0


async def test_no_more_wait_than_allowed_and_each_once() -> None:
    engine = await filled(*(b"/%d" % number for number in range(6)))
    engine.log.purge()
    engine.origin.gate.clear()
    fetching = refetcher(engine, most=5)

    counts = [await fetching.refresh(held(engine)[:3]), await fetching.refresh(held(engine)[:3])]
    await turns(20)
    more = await fetching.refresh(held(engine)[3:])
    text = repr(fetching)
    engine.origin.gate.set()
    await engine.settle()

    assert (counts, more) == ([3, 0], 2)
    assert text == "<Refetcher 2 wait, 3 under way>"
    assert len(engine.origin.requests) == 6 + 5
    assert repr(fetching) == "<Refetcher 0 wait, 0 under way>"


async def test_few_are_fetched_at_once() -> None:
    engine = await filled(*(b"/%d" % number for number in range(9)))
    engine.log.purge()
    engine.origin.gate.clear()
    await refetcher(engine).refresh(held(engine))
    await engine.origin.asked(9 + AT_ONCE)
    await turns(20)

    assert len(engine.origin.requests) == 9 + AT_ONCE
    engine.origin.gate.set()
    await engine.settle()


async def test_a_drain_ends_it() -> None:
    engine = await filled(*(b"/%d" % number for number in range(9)))
    engine.log.purge()
    engine.origin.gate.clear()
    fetching = refetcher(engine)
    await fetching.refresh(held(engine))
    await engine.origin.asked(9 + AT_ONCE)
    fetching.stop()
    await turns(10)

    assert {task.get_name().split()[0] for task in running()} == {"fetch"}  # those belong to the flow
    engine.origin.gate.set()
    await engine.settle()
    assert len(engine.origin.requests) == 9 + AT_ONCE
    assert await fetching.refresh(held(engine)[-1:]) == 1  # a drain that is undone
    await engine.settle()
    assert len(engine.origin.requests) == 9 + AT_ONCE + 1


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_drain_at_once_is_undone_too(steps: int) -> None:
    engine = await filled(b"/a")
    engine.log.purge()
    fetching = refetcher(engine)
    await fetching.refresh(held(engine))
    await turns(steps)
    fetching.stop()

    assert await fetching.refresh(held(engine)) == 1
    await engine.settle()
    assert repr(fetching) == "<Refetcher 0 wait, 0 under way>"
    assert len(engine.origin.requests) == 2
    assert (await engine.ask(b"/a")).outcome is Outcome.HIT


async def test_what_has_ended_makes_room_for_more() -> None:
    engine, held_back = await filled(b"/a", b"/b", b"/c"), asyncio.Event()
    engine.log.purge()
    engine.origin.will(reply(), reply(pieces=(b"a", held_back)), reply())
    fetching = refetcher(engine, most=2)
    entries = held(engine)

    assert await fetching.refresh(entries) == 2
    while repr(fetching) != "<Refetcher 0 wait, 1 under way>":
        await turns(1)
    assert await fetching.refresh(entries[2:]) == 1
    held_back.set()
    await engine.settle()
    assert len(engine.origin.requests) == 6


async def test_stopping_what_does_nothing_is_harmless() -> None:
    refetcher(Engine()).stop()


async def test_others_have_their_turn_while_keys_are_made() -> None:
    engine = Engine()
    entries = [
        (b"%016d" % number, entry(target=b"/%d" % number, host=b"shop")) for number in range(3 * SLICE)
    ]
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    counting = spawn("count", count())
    await turns(1)
    assert await refetcher(engine).refresh(entries) == 0
    counting.cancel()

    assert rounds == 3


async def test_a_route_that_caches_nothing_leads_nowhere() -> None:
    engine = Engine(l2=FakeL2(), cache=False)

    assert engine.flow.entry_key(get()) is None
