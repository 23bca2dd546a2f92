"""Requests that pass, and what an unsafe one takes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.engine import passing
from proxy.engine.coalescing import Ending
from proxy.model import Answer, BodyBroken, Capture, FieldLine, Forward, Outcome, Validity
from proxy.observe.tasks import spawn
from tests.support.engine_fakes import BROKEN, REFUSED, Engine, Reply, body_of, detail_of, reply, turns
from tests.support.responses import date
from tests.support.routing import get


async def test_a_bypass_that_fails_is_a_problem() -> None:
    engine = Engine()
    engine.origin.will(REFUSED)
    answer = await engine.serve(get(method="POST"))
    assert (answer.status, answer.failure, detail_of(answer)) == (502, REFUSED, "refused")


async def test_an_unsafe_request_purges_its_target() -> None:
    engine = Engine()
    await engine.serve(get(b"/a", method="POST"))
    ((selectors, soft),) = engine.log.purged
    assert ([selector.value for selector in selectors], soft) == (["http://shop/a"], False)


LOCATED = (b"Content-Location", b"/a")


def posted(*lines: FieldLine, cache_control: bytes = b"max-age=100", **changes: Any) -> Reply:
    """What a POST to /a gets: the new content of /a, unless the test says otherwise."""
    return reply(cache_control, *(lines or (LOCATED,)), pieces=(b"new",), **changes)


async def post(engine: Engine, *lines: FieldLine) -> Answer:
    answer = await engine.serve(get(b"/a", *lines, method="POST"))
    assert await body_of(answer) == b"new"
    await engine.settle()
    return answer


async def test_the_answer_to_a_post_is_kept_as_its_targets() -> None:  # method-POST
    engine = Engine()
    engine.origin.will(reply(), posted())
    await engine.ask(b"/a")
    answer = await post(engine)
    hit = engine.flow.try_hit(get(b"/a"))
    assert hit is not None
    assert (hit.body, hit.outcome, len(engine.log.purged)) == (b"new", Outcome.HIT, 1)
    assert (answer.outcome, answer.cache_status.forward, answer.cache_status.stored) == (
        Outcome.BYPASS,
        Forward.METHOD,
        True,
    )


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (posted((b"A", b"1")), ()),
        (posted((b"Content-Location", b"/b")), ()),
        (posted((b"Content-Location", b"http://other/a")), ()),
        (posted(cache_control=b""), ()),
        (posted(LOCATED, (b"Last-Modified", date(-1000)), cache_control=b""), ()),
        (posted(cache_control=b"no-store"), ()),
        (posted(status=201), ()),
        (posted(), ((b"Authorization", b"me"),)),
        (posted(), ((b"Connection", b"x-a"),)),
    ],
)
async def test_other_answers_to_a_post_only_purge(given: Reply, lines: tuple[FieldLine, ...]) -> None:
    engine = Engine()
    engine.origin.will(given)
    await post(engine, *lines)
    assert (len(engine.memory), len(engine.log.purged)) == (0, 1)


def held_log(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The log says where the answer to a POST is born once the event is set."""
    is_placed = asyncio.Event()

    async def place() -> Capture:
        await is_placed.wait()
        return engine.log.capture()

    monkeypatch.setattr(engine.log, "supersede", lambda *_, **__: place())
    return is_placed


async def test_the_answer_to_a_post_comes_when_a_get_finds_it_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    engine.origin.will(posted())
    is_placed = held_log(engine, monkeypatch)
    asking = spawn("post", engine.serve(get(b"/a", method="POST")))
    await engine.origin.asked(1)
    await turns(20)
    assert not asking.done()
    is_placed.set()
    assert await body_of(await asking) == b"new"
    assert engine.flow.try_hit(get(b"/a")) is not None


async def test_a_log_that_is_slow_does_not_hold_the_answer_to_a_post(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    engine.origin.will(posted())
    is_placed = held_log(engine, monkeypatch)
    monkeypatch.setattr(passing, "HELD_SECONDS", 0.0)
    assert await body_of(await engine.serve(get(b"/a", method="POST"))) == b"new"
    assert engine.flow.try_hit(get(b"/a")) is None
    is_placed.set()
    await engine.settle()
    assert engine.flow.try_hit(get(b"/a")) is not None


async def test_the_conditions_of_a_post_are_the_origins() -> None:
    engine = Engine()
    engine.origin.will(posted((b"ETag", b'"2"')))
    answer = await engine.serve(get(b"/a", (b"If-Match", b'"1"'), method="POST"))
    await engine.settle()
    assert (answer.status, engine.origin.requests[0].fields.first(b"if-match")) == (200, b'"1"')


async def test_only_a_post_is_answered_with_content_for_get() -> None:
    engine = Engine()
    engine.origin.will(posted())
    await engine.serve(get(b"/a", method="PUT"))
    assert (len(engine.memory), len(engine.log.purged)) == (0, 1)


async def test_an_answer_that_a_purge_overtook_is_not_kept() -> None:
    engine = Engine()
    engine.origin.will(posted())
    engine.origin.gate.clear()
    posting = spawn("post", engine.serve(get(b"/a", method="POST")))
    await engine.origin.asked(1)
    engine.log.purge()
    engine.origin.gate.set()
    assert await body_of(await posting) == b"new"
    await engine.settle()
    assert (len(engine.memory), engine.metrics.not_stored.values[("all", "invalidated")]) == (0, 1)


async def test_a_broken_answer_to_a_post_is_not_kept_but_purges() -> None:
    engine = Engine()
    engine.origin.will(Reply((LOCATED, (b"Cache-Control", b"max-age=100")), (b"ne", BROKEN), length=3))
    answer = await engine.serve(get(b"/a", method="POST"))
    with pytest.raises(BodyBroken):
        await body_of(answer)
    await engine.settle()
    assert (len(engine.memory), len(engine.log.purged)) == (0, 1)


async def test_a_crash_while_keeping_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    engine.origin.will(posted())

    async def crash(*_: object) -> Ending:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(engine.fetcher, "keep_posted", crash)
    answer = await engine.serve(get(b"/a", method="POST"))
    await engine.settle()
    assert answer.status == 503


async def after_head(engine: Engine, *script: Reply) -> Answer:
    """Store, let it become stale, ask by HEAD, and then by GET."""
    engine.origin.will(reply(b"max-age=10", (b"A", b"1")), *script)
    await engine.ask(b"/a")
    engine.step(10)
    await engine.serve(get(b"/a", method="HEAD"))
    return await engine.ask(b"/a")


async def test_a_head_that_agrees_renews_what_is_stored() -> None:  # head-200-freshness-update
    engine = Engine()
    answer = await after_head(engine, reply(b"max-age=50", (b"A", b"2"), pieces=(), length=4))
    assert (answer.outcome, answer.body, answer.cache_status.ttl) == (Outcome.HIT, b"body", 50)
    assert b"A: 2\r\n" in answer.lines
    assert b"A: 1\r\n" not in answer.lines


@pytest.mark.parametrize(
    "given",
    [
        reply(b"max-age=50", pieces=(), length=5),
        reply(b"max-age=50", pieces=(), length=4, status=404),
        reply(b"no-store", pieces=(), length=4),
    ],
)
async def test_a_head_that_does_not_agree_leaves_it_stale(given: Reply) -> None:
    engine = Engine()
    answer = await after_head(engine, given, reply(pieces=(b"new!",)))
    assert (answer.body, len(engine.origin.requests)) == (b"new!", 3)


async def test_a_head_on_a_miss_stores_nothing() -> None:
    engine = Engine()
    await engine.serve(get(b"/a", method="HEAD"))
    assert len(engine.memory) == 0


async def test_a_head_proves_nothing_of_what_the_log_does_not_know() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=10", (b"ETag", b'"a"')), reply(b"max-age=50", pieces=(), length=4))
    await engine.ask(b"/a")
    engine.log.forced = Validity.DISTRUSTED
    await engine.serve(get(b"/a", method="HEAD"))
    engine.log.forced = None
    engine.step(10)
    assert engine.flow.try_hit(get(b"/a")) is None


async def test_a_purge_during_a_head_keeps_it_from_renewing() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=10"), reply(b"max-age=50", pieces=(), length=4))
    await engine.ask(b"/a")
    engine.step(10)
    engine.origin.gate.clear()
    asking = spawn("head", engine.serve(get(b"/a", method="HEAD")))
    await engine.origin.asked(2)
    engine.log.purge()
    engine.origin.gate.set()
    await asking
    assert engine.flow.try_hit(get(b"/a")) is None
    assert engine.metrics.not_stored.values[("all", "invalidated")] == 1


async def test_what_the_key_leaves_out_does_not_renew_what_is_stored() -> None:
    query = {"include": ["a"], "forward": "keyed"}
    engine = Engine(key={"query": query})
    await engine.serve(get(b"/a?a=1&b=2", method="HEAD"))
    await engine.ask(b"/a?a=1&b=2", (b"Range", b"bytes=0-0, 2-3"))
    assert [request.target for request in engine.origin.requests] == [b"/a?a=1", b"/a?a=1"]


async def test_a_post_whose_target_says_more_than_the_key_is_no_answer_to_a_get() -> None:
    engine = Engine(key={"query": {"include": ["a"], "forward": "keyed"}})
    engine.origin.will(posted((b"Content-Location", b"/a?a=1&b=2")), posted((b"Content-Location", b"/a?a=1")))
    for target, entries in ((b"/a?a=1&b=2", 0), (b"/a?a=1", 1)):
        await body_of(await engine.serve(get(target, method="POST")))
        await engine.settle()
        assert len(engine.memory) == entries


async def test_a_crash_of_the_log_gives_the_origins_connection_back(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    given = posted()
    engine.origin.will(given)

    async def crash() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(engine.log, "supersede", lambda *_, **__: crash())
    with capture_logs():
        answer = await engine.serve(get(b"/a", method="POST"))
        await body_of(answer)
        await engine.settle()

    assert given.bodies[0].is_abandoned
    assert len(engine.memory) == 0


async def test_what_came_with_its_head_is_answered_in_one_piece() -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"one", b"two"), has_arrived=True))
    answer = await engine.serve(get(method="PUT"))
    assert (answer.body, answer.length) == (b"onetwo", 6)
