"""Bodies on their way in: what is collected, what streams, and within which bounds."""

from __future__ import annotations

import asyncio

import pytest

from proxy.engine.receiving import WHOLE_BYTES, Receiver
from proxy.engine.spool import PIPE_BYTES, SpoolReader
from proxy.model import BodyBroken, Outcome
from tests.support.engine_fakes import BROKEN, Engine, body_of, detail_of, reply, turns
from tests.support.responses import NOW
from tests.support.routing import get

ETAG = (b"ETag", b'"1"')
LARGE = b"x" * WHOLE_BYTES


def not_stored(engine: Engine) -> dict[tuple[str, ...], int]:
    return dict(engine.metrics.not_stored.values)


@pytest.mark.parametrize(("size", "is_streamed"), [(WHOLE_BYTES, False), (WHOLE_BYTES + 1, True)])
async def test_a_small_body_is_collected_first_and_a_larger_one_streams(size: int, is_streamed: bool) -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"x" * size,)))
    answer = await engine.ask()
    assert isinstance(answer.body, SpoolReader) is is_streamed
    assert answer.length == size
    assert await body_of(answer) == b"x" * size
    await engine.settle()
    assert (await engine.ask()).body == b"x" * size
    assert engine.budget.held_bytes == 0


@pytest.mark.parametrize(("length", "taken"), [(4, b"body"), (5, None), (None, None)])
async def test_what_came_with_the_head_is_taken_at_once_where_it_may_be_kept(
    length: int | None, taken: bytes | None
) -> None:
    engine = Engine(max_body=4)
    receiver = Receiver(budget=engine.budget, max_entry_bytes=500_000, metrics=engine.metrics)
    lookup = engine.flow.plan(get()).lookup(get())
    response = reply(length=length, has_arrived=True).respond(NOW)

    assert receiver.arrived(lookup, response) == taken


async def test_a_body_of_unknown_length_streams_and_is_stored() -> None:
    engine = Engine()
    more = asyncio.Event()
    engine.origin.will(reply(pieces=(b"one", more, b"two"), length=None))
    answer = await engine.ask()
    assert answer.length is None
    assert not isinstance(answer.body, bytes)
    assert await answer.body.read() == b"one"
    more.set()
    assert await body_of(answer) == b"two"
    await engine.settle()
    assert (await engine.ask()).body == b"onetwo"


async def test_a_client_that_reads_nothing_does_not_hold_up_the_fill() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(LARGE, LARGE, LARGE)))
    answer = await engine.ask()
    assert not isinstance(answer.body, bytes)
    answer.body.abandon()
    await engine.settle()
    assert (await engine.ask()).body == LARGE * 3


@pytest.mark.parametrize(
    ("max_body", "max_entry_bytes"), [(3, 500_000), (0, 500_000), ("none", 3), (500_000, 3)]
)
async def test_a_body_stated_to_be_too_large_releases_at_the_head(
    max_body: int | str, max_entry_bytes: int
) -> None:
    engine = Engine(max_body=max_body, max_entry_bytes=max_entry_bytes)
    engine.origin.will(reply())
    answer = await engine.ask()
    assert (detail_of(answer), await body_of(answer), len(engine.memory)) == ("too-large", b"body", 0)
    assert not_stored(engine) == {("all", "too-large"): 1}


async def test_a_body_that_turns_out_too_large_streams_and_releases_followers() -> None:
    engine = Engine(max_body=5)
    more = asyncio.Event()
    pieces = (b"123", more, b"456", b"789")
    engine.origin.will(reply(pieces=pieces, length=None), reply(b"no-store", pieces=(b"own",)))
    leader = await engine.ask()
    async with asyncio.TaskGroup() as group:
        follower = group.create_task(engine.ask())
        await turns(5)
        assert not follower.done()
        more.set()
    assert await body_of(leader) == b"123456789"
    assert await body_of(follower.result()) == b"own"
    await engine.settle()
    assert (len(engine.memory), engine.budget.held_bytes) == (0, 0)


async def test_one_piece_that_is_too_large_is_passed_on_whole() -> None:
    engine = Engine(max_body=2)
    engine.origin.will(reply(pieces=(b"123", b"456"), length=None))
    assert await body_of(await engine.ask()) == b"123456"


async def test_a_pipe_that_breaks_breaks_for_its_reader() -> None:
    engine = Engine(max_body=2)
    engine.origin.will(reply(pieces=(b"123", BROKEN), length=None))
    with pytest.raises(BodyBroken):
        await body_of(await engine.ask())


async def test_a_pipe_whose_reader_leaves_abandons_the_origin() -> None:
    engine = Engine(max_body=2)
    said = reply(pieces=(b"x" * (PIPE_BYTES + 1), b"more"), length=None)
    engine.origin.will(said)
    answer = await engine.ask()
    await turns(3)
    assert not said.bodies[0].is_abandoned
    assert not isinstance(answer.body, bytes)
    answer.body.abandon()
    await engine.settle()
    assert said.bodies[0].is_abandoned


@pytest.mark.parametrize("spool", [3, 0])
async def test_above_the_spool_budget_a_small_body_streams_unstored(spool: int) -> None:
    engine = Engine(spool=spool)
    engine.origin.will(reply(pieces=(b"12", b"34")))
    assert await body_of(await engine.ask()) == b"1234"
    await engine.settle()
    assert (len(engine.memory), engine.budget.held_bytes) == (0, 0)


async def test_the_spool_budget_is_shared_by_fetches_under_way() -> None:
    engine = Engine(spool=6)
    hold = asyncio.Event()
    engine.origin.will(reply(pieces=(b"1234", hold)), reply(pieces=(b"56", b"7")))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(engine.ask(b"/first"))
        await engine.origin.asked(1)
        await turns(5)
        assert engine.budget.held_bytes == 4
        assert await body_of(await engine.ask(b"/second")) == b"567"
        hold.set()
    assert await body_of(first.result()) == b"1234"
    assert [len(engine.memory), engine.budget.held_bytes] == [1, 0]


async def test_a_small_body_that_came_with_its_head_is_stored_without_a_spool() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"one", b"two"), has_arrived=True))
    answer = await engine.ask()
    assert (answer.body, engine.budget.held_bytes) == (b"onetwo", 0)
    assert (await engine.ask()).outcome is Outcome.HIT


async def test_also_what_came_with_its_head_may_be_too_large() -> None:
    engine = Engine(max_body=3)
    engine.origin.will(reply(pieces=(b"four",), has_arrived=True))
    answer = await engine.ask()
    assert (await body_of(answer), detail_of(answer)) == (b"four", "too-large")
