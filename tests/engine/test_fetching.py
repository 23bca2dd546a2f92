"""One fetch: what the origin's answer becomes, and what happens to its body."""

from __future__ import annotations

import asyncio

import pytest

from proxy.engine.coalescing import Fetched, Flight, Released, Streaming
from proxy.engine.receiving import WHOLE_BYTES
from proxy.model import BodyBroken, FailureKind, FieldLine, Forward, Outcome, ResponseHead
from tests.support.engine_fakes import BROKEN, REFUSED, Engine, FakeL2, Reply, body_of, reply
from tests.support.routing import get

ETAG = (b"ETag", b'"1"')
LARGE = b"x" * WHOLE_BYTES


def not_stored(engine: Engine) -> dict[tuple[str, ...], int]:
    return dict(engine.metrics.not_stored.values)


@pytest.mark.parametrize(("stated", "age", "count"), [(b"7", 7, 0), (b"0", None, 1)])
async def test_an_answer_from_a_cache_behind_us_has_one_age(
    stated: bytes, age: int | None, count: int
) -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", (b"Age", stated)))
    answer = await engine.ask()
    assert (answer.age, answer.lines.count(b"Age: ")) == (age, count)


async def test_a_conditional_client_gets_304_while_a_large_body_fills_the_cache() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", ETAG, pieces=(LARGE, b"x")))
    answer = await engine.ask(b"/", (b"If-None-Match", b'"1"'))
    assert (answer.status, answer.body, answer.length) == (304, b"", None)
    await engine.settle()
    assert (await engine.ask()).body == LARGE + b"x"


@pytest.mark.parametrize("cache_control", [b"max-age=100", b"no-store"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ((b"If-None-Match", b'"1"'), 304),
        ((b"If-None-Match", b'"2"'), 200),
        ((b"If-Match", b'"1"'), 200),
        ((b"If-Match", b'"2"'), 412),
        ((b"If-Unmodified-Since", b"Thu, 01 Jan 1970 00:00:00 GMT"), 412),
    ],
)
async def test_conditions_that_a_fetch_leaves_out_are_answered_stored_or_not(
    cache_control: bytes, line: FieldLine, status: int
) -> None:
    engine = Engine()
    modified = (b"Last-Modified", b"Thu, 01 Jan 1970 00:00:01 GMT")
    engine.origin.will(reply(cache_control, ETAG, modified, pieces=(LARGE, b"x")))
    answer = await engine.ask(b"/", line)
    assert answer.status == status
    if status == 200:
        assert await body_of(answer) == LARGE + b"x"
    else:
        assert isinstance(answer.body, bytes)
    await engine.settle()
    assert len(engine.memory) == (1 if cache_control == b"max-age=100" else 0)


async def test_a_conditional_client_gets_a_large_error_whole() -> None:
    engine = Engine(negative={404: "30s"})
    engine.origin.will(reply(b"", ETAG, status=404, pieces=(LARGE, b"x")))
    answer = await engine.ask(b"/", (b"If-None-Match", b'"1"'))
    assert (answer.status, await body_of(answer)) == (404, LARGE + b"x")


async def test_a_body_broken_before_its_first_byte_is_a_clean_502() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(BROKEN,), length=10))
    answer = await engine.ask()
    assert (answer.status, answer.failure, len(engine.memory)) == (502, BROKEN, 0)


async def test_a_small_body_broken_midway_is_a_clean_502_too() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"part", BROKEN), length=10))
    assert (await engine.ask()).status == 502
    assert engine.budget.held_bytes == 0


async def test_a_small_body_broken_midway_lets_the_stale_answer_stand_in() -> None:
    engine = Engine()
    engine.origin.will(reply(), reply(pieces=(b"part", BROKEN), length=10))
    await engine.ask()
    engine.step(150)
    answer = await engine.ask()
    assert (answer.outcome, answer.body) == (Outcome.STALE, b"body")


async def test_a_streamed_body_broken_after_its_first_byte_breaks_and_is_not_stored() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"part", BROKEN), length=None))
    answer = await engine.ask()
    assert answer.status == 200
    with pytest.raises(BodyBroken):
        await body_of(answer)
    await engine.settle()
    assert (len(engine.memory), engine.budget.held_bytes) == (0, 0)


async def test_the_clients_conditions_and_range_do_not_reach_the_origin() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", ETAG))
    await engine.ask(b"/", (b"If-None-Match", b'"other"'), (b"Accept", b"x"))
    assert engine.origin.requests[0].fields.lines == ((b"Accept", b"x"),)


async def test_interim_responses_reach_the_one_who_asks() -> None:
    engine = Engine()

    async def on_interim(head: ResponseHead) -> None:
        """Takes nothing: whether it is handed on is the question."""

    await engine.ask(on_interim=on_interim)
    assert engine.origin.requests[0].on_interim is on_interim


async def test_a_304_without_a_condition_is_a_fault_of_the_origin() -> None:
    engine = Engine()
    engine.origin.will(reply(status=304, pieces=()))
    answer = await engine.ask()
    assert answer.failure is not None
    assert (answer.status, answer.failure.kind) == (502, FailureKind.INVALID_HEAD)


async def test_a_304_about_another_representation_is_asked_again_whole() -> None:
    engine = Engine()
    modified = (b"Last-Modified", b"Sat, 08 Sep 2001 01:46:40 GMT")
    other = reply(b"max-age=100", (b"ETag", b'"2"'), status=304, pieces=())
    engine.origin.will(reply(b"max-age=100", ETAG, modified), other, reply(pieces=(b"new",)))
    await engine.ask()
    engine.step(150)
    answer = await engine.ask()
    assert (answer.body, len(engine.origin.requests)) == (b"new", 3)
    assert b"if-none-match" not in engine.origin.requests[2].fields


async def test_an_error_after_another_representation_does_not_replace_a_usable_good_entry() -> None:
    engine = Engine(negative={"errors": {500: "5s"}})
    modified = (b"Last-Modified", b"Sat, 08 Sep 2001 01:46:40 GMT")
    other = reply(b"max-age=100", (b"ETag", b'"2"'), status=304, pieces=())
    engine.origin.will(reply(b"max-age=100", ETAG, modified), other, reply(b"", status=500))
    await engine.ask()
    engine.step(150)
    assert [(await engine.ask()).outcome for _ in range(2)] == [Outcome.STALE] * 2


async def test_an_error_to_a_refresh_does_not_replace_what_may_be_served_meanwhile() -> None:
    engine = Engine(negative={"errors": {500: "5s"}}, stale_while_revalidate="50s", stale_if_error="0s")
    engine.origin.will(reply(), reply(b"", status=500))
    await engine.ask()
    engine.step(120)
    await engine.ask()
    await engine.settle()
    answer = await engine.ask()
    assert (answer.status, answer.outcome) == (200, Outcome.UPDATING)


async def test_an_error_is_remembered_where_nothing_usable_stands() -> None:
    engine = Engine(negative={"errors": {500: "5s"}}, stale_if_error="0s")
    engine.origin.will(reply(b"max-age=100", ETAG), reply(b"", status=500))
    await engine.ask()
    engine.step(150)
    assert [(await engine.ask()).outcome for _ in range(2)] == [Outcome.EXPIRED, Outcome.NEGATIVE]


async def test_a_304_that_forbids_to_keep_its_response_is_for_the_one_who_asked() -> None:
    engine = Engine()
    engine.origin.will(
        reply(b"max-age=100", ETAG), reply(b"private", (b"Set-Cookie", b"a=1"), status=304, pieces=())
    )
    await engine.ask()
    engine.step(150)
    answer = await engine.ask()
    assert (answer.status, answer.body, answer.outcome) == (200, b"body", Outcome.REVALIDATED)
    assert b"Set-Cookie: a=1" in answer.lines
    assert answer.cache_status is not None
    assert not answer.cache_status.stored
    assert (await engine.ask()).outcome is Outcome.REVALIDATED


async def test_a_304_keeps_the_variant_that_it_validated() -> None:
    engine = Engine()
    vary, language = (b"Vary", b"Accept-Language"), (b"Accept-Language", b"de")
    engine.origin.will(reply(b"max-age=100", ETAG, vary), reply(status=304, pieces=()))
    await engine.ask(b"/", language)
    engine.step(150)
    assert (await engine.ask(b"/", language)).outcome is Outcome.REVALIDATED
    assert (await engine.ask(b"/", language)).outcome is Outcome.HIT
    assert len(engine.memory) == 2


async def test_a_purge_during_a_validation_keeps_the_304_from_renewing() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", ETAG), reply(status=304, pieces=()), reply(pieces=(b"new",)))
    await engine.ask()
    engine.step(150)
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.ask())
        await engine.origin.asked(2)
        engine.log.purge()
        engine.origin.gate.set()
    assert not_stored(engine) == {("all", "invalidated"): 1}
    answer = await engine.ask()
    assert (answer.body, b"if-none-match" in engine.origin.requests[2].fields) == (b"new", False)


@pytest.mark.parametrize("answer", [reply(b"max-age=100", ETAG), reply(status=304, pieces=())])
@pytest.mark.parametrize("swr", ["0s", "100s"])
async def test_a_newer_fetch_ends_what_an_invalidation_made_stale(answer: Reply, swr: str) -> None:
    """It takes its own place in the log: with the old one the entry would be stale for ever."""
    engine = Engine(stale_while_revalidate=swr)
    engine.origin.will(reply(b"max-age=100", ETAG), answer)
    await engine.ask()
    engine.log.purge(soft=True)
    await engine.ask()
    await engine.settle()
    assert (await engine.ask()).outcome is Outcome.HIT
    await engine.settle()
    assert len(engine.origin.requests) == 2


@pytest.mark.parametrize("second", [reply(b"max-age=100", ETAG), reply(status=304, pieces=())])
async def test_our_own_fetch_is_dated_by_its_beginning(second: Reply) -> None:
    engine = Engine(l2=FakeL2())
    engine.origin.will(reply(b"max-age=100", ETAG), second)
    for number in (1, 2):
        began_at = engine.monotonic()
        engine.origin.gate.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.ask())
            await engine.origin.asked(number)
            engine.step(7)
            engine.origin.gate.set()
        ((_, held),) = engine.memory.entries()
        assert held.began_at == began_at
        engine.step(150)


async def test_an_entry_is_born_where_the_log_stood_before_the_request() -> None:
    engine = Engine()
    engine.log.purge()
    before = engine.log.capture().born
    await engine.ask()
    ((_, held),) = engine.memory.entries()
    assert held.entry.born == before  # type: ignore[union-attr]


async def test_a_crash_while_an_answer_is_read_abandons_its_body_and_leaves_nobody_waiting() -> None:
    engine = Engine()
    said = reply()
    engine.origin.will(said)

    def broken_dice() -> float:
        raise ZeroDivisionError

    engine.fetcher._dice = broken_dice
    answer = await engine.ask()
    assert (answer.status, said.bodies[0].is_abandoned) == (503, True)


async def test_a_crash_of_the_origin_client_leaves_nobody_waiting() -> None:
    engine = Engine()
    engine.origin.will(ZeroDivisionError())
    assert (await engine.ask()).status == 503


async def fetch_without_leader(engine: Engine) -> tuple[Flight, object]:
    flight = Flight(b"k", engine.log.capture(), has_leader=False)
    return flight, await engine.fetcher.fetch(flight, engine.lookup(get()))


async def test_without_a_leader_a_large_body_is_stored_unread() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(LARGE, b"x")))
    _, ending = await fetch_without_leader(engine)
    assert isinstance(ending, Fetched)
    assert ending.stored.body == LARGE + b"x"


async def test_without_a_leader_an_uncacheable_body_is_abandoned() -> None:
    engine = Engine()
    said = reply(b"no-store")
    engine.origin.will(said)
    _, ending = await fetch_without_leader(engine)
    assert isinstance(ending, Released)
    assert said.bodies[0].is_abandoned


async def test_without_a_leader_a_body_that_turns_out_too_large_is_abandoned() -> None:
    engine = Engine(max_body=2)
    said = reply(pieces=(b"123", b"456"), length=None)
    engine.origin.will(said)
    flight, ending = await fetch_without_leader(engine)
    assert isinstance(ending, Released)
    assert said.bodies[0].is_abandoned
    assert flight.is_ended


async def test_a_streamed_leader_that_never_came_to_read_is_told_so_by_the_flight() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(LARGE, b"x")))
    flight = Flight(b"k", engine.log.capture())
    await engine.fetcher.fetch(flight, engine.lookup(get()))
    assert isinstance(await flight.opening(), Streaming)


async def test_a_failure_on_a_cold_key_says_that_it_was_a_miss() -> None:
    engine = Engine()
    engine.origin.will(REFUSED)
    answer = await engine.ask()
    assert answer.cache_status is not None
    assert answer.cache_status.forward is Forward.URI_MISS


async def test_a_remembered_error_does_not_stand_in_for_a_newer_one() -> None:
    engine = Engine(jitter=0.5, negative={"errors": {500: "100s"}})
    engine.origin.will(reply(b"", status=500, pieces=(b"old",)), reply(b"", status=500, pieces=(b"new",)))
    await engine.ask()
    engine.step(99)
    refreshing = engine.lookup(get())
    ((_, held),) = engine.memory.entries()
    engine.refresher.refresh(refreshing, held.entry)  # type: ignore[arg-type]
    await engine.settle()
    assert (await engine.ask()).body == b"new"
