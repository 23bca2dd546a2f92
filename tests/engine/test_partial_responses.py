"""Ranges of what is not stored whole: parts are kept, answer what lies in them, and are completed."""

from __future__ import annotations

import pytest

from proxy.model import FieldLine, Forward, OriginFailure, Outcome
from tests.support.engine_fakes import BROKEN, Engine, Reply, body_of, detail_of, reply
from tests.support.responses import date

BODY = b"0123456789"
ETAG = (b"ETag", b'"a"')


def part(first: int, last: int, *lines: FieldLine, body: bytes | None = None) -> Reply:
    """A 206 for these bytes of ten, with an ETag unless the test names other fields."""
    span = (b"Content-Range", b"bytes %d-%d/10" % (first, last))
    pieces = (BODY[first : last + 1] if body is None else body,)
    return reply(b"max-age=100", span, *(lines or (ETAG,)), status=206, pieces=pieces)


def whole(*lines: FieldLine) -> Reply:
    return reply(b"max-age=100", *(lines or (ETAG,)), pieces=(BODY,))


def ranged(value: bytes) -> FieldLine:
    return (b"Range", value)


async def ask(engine: Engine, *lines: FieldLine) -> tuple[int, bytes]:
    """Status and body of a GET, once everything that follows from it is done."""
    answer = await engine.ask(b"/", *lines)
    body = await body_of(answer)
    await engine.settle()
    return answer.status, body


def asked(engine: Engine, name: bytes) -> list[bytes | None]:
    """What the origin was sent in this field, request by request."""
    return [request.fields.first(name) for request in engine.origin.requests]


async def test_a_range_miss_gets_the_origins_own_answer() -> None:
    engine = Engine()
    engine.origin.will(part(2, 4))
    answer = await engine.ask(b"/", ranged(b"bytes=2-4"))
    assert (answer.status, await body_of(answer)) == (206, b"234")
    assert b"Content-Range: bytes 2-4/10\r\n" in answer.lines
    assert (answer.cache_status.forward, answer.cache_status.stored) == (Forward.URI_MISS, True)
    assert asked(engine, b"range") == [b"bytes=2-4"]


async def test_a_whole_answer_to_a_range_is_stored_whole() -> None:
    engine = Engine()
    engine.origin.will(whole())
    assert await ask(engine, ranged(b"bytes=2-4")) == (200, BODY)
    assert await ask(engine, ranged(b"bytes=2-4")) == (206, b"234")
    assert len(engine.origin.requests) == 1


async def test_a_lone_part_answers_ranges_inside_it_to_the_letter_only() -> None:
    for profile, requests in (("rfc9111", 1), ("safe", 2)):
        engine = Engine(profile=profile)
        engine.origin.will(part(2, 7), part(3, 5))
        await ask(engine, ranged(b"bytes=2-7"))
        assert await ask(engine, ranged(b"bytes=3-5")) == (206, b"345")
        assert len(engine.origin.requests) == requests, profile


async def test_a_range_outside_the_part_is_asked_for_and_joined() -> None:
    engine = Engine(profile="rfc9111")
    engine.origin.will(part(0, 4), part(5, 9))
    await ask(engine, ranged(b"bytes=0-4"))
    assert await ask(engine, ranged(b"bytes=5-9")) == (206, b"56789")
    hit = await engine.ask()
    assert (hit.status, hit.body, hit.outcome) == (200, BODY, Outcome.HIT)
    assert b"Content-Range" not in hit.lines


@pytest.mark.parametrize("profile", ["safe", "rfc9111"])
async def test_a_request_for_the_whole_asks_for_the_rest_only(profile: str) -> None:
    engine = Engine(profile=profile)
    engine.origin.will(part(0, 4), part(5, 9, ETAG, (b"B", b"2")))
    await ask(engine, ranged(b"bytes=0-4"))
    answer = await engine.ask()
    assert (answer.status, answer.body) == (200, BODY)
    assert (answer.cache_status.forward, answer.cache_status.forward_status) == (Forward.PARTIAL, 206)
    assert b"B: 2\r\n" in answer.lines
    assert (asked(engine, b"range")[1], asked(engine, b"if-range")[1]) == (b"bytes=5-", b'"a"')
    assert (await engine.ask()).outcome is Outcome.HIT


async def test_a_stale_part_is_completed_by_its_validator() -> None:
    engine = Engine()
    engine.origin.will(part(0, 4), part(5, 9))
    await ask(engine, ranged(b"bytes=0-4"))
    engine.step(100)
    assert await ask(engine) == (200, BODY)


@pytest.mark.parametrize(
    "rest",
    [
        part(5, 9, (b"ETag", b'"b"')),
        part(6, 9),
        part(5, 9, body=b"5678"),
        reply(b"", status=416, pieces=()),
        reply(b"no-store", (b"Content-Range", b"bytes 5-9/10"), ETAG, status=206, pieces=(b"56789",)),
    ],
)
async def test_a_rest_that_does_not_fit_makes_the_whole_be_asked_for(rest: Reply) -> None:
    engine = Engine()
    engine.origin.will(part(0, 4), rest, whole((b"ETag", b'"b"')))
    await ask(engine, ranged(b"bytes=0-4"))
    assert await ask(engine) == (200, BODY)
    assert asked(engine, b"range") == [b"bytes=0-4", b"bytes=5-", None]


async def test_a_changed_representation_comes_whole() -> None:
    engine = Engine()
    engine.origin.will(part(0, 4), whole((b"ETag", b'"b"')))
    await ask(engine, ranged(b"bytes=0-4"))
    assert await ask(engine) == (200, BODY)
    assert len(engine.origin.requests) == 2


async def test_a_changed_representation_that_is_too_large_streams_whole() -> None:
    engine = Engine(max_entry_bytes=7)
    changed = reply(b"max-age=100", (b"ETag", b'"b"'), pieces=(b"01234", b"56789"), length=None)
    engine.origin.will(part(0, 4), changed)
    await ask(engine, ranged(b"bytes=0-4"))
    assert await ask(engine) == (200, BODY)
    assert len(engine.origin.requests) == 2


async def test_parts_that_are_too_large_together_are_not_joined() -> None:
    engine = Engine(max_entry_bytes=9)
    engine.origin.will(part(0, 4), part(5, 9), part(5, 9), whole())
    await ask(engine, ranged(b"bytes=0-4"))
    answer = await engine.ask(b"/", ranged(b"bytes=5-9"))
    assert (answer.status, await body_of(answer), detail_of(answer)) == (206, b"56789", "too-large")
    assert await ask(engine) == (200, BODY)
    assert (asked(engine, b"range")[2:], len(engine.memory)) == ([b"bytes=5-", None], 1)


async def test_a_rest_that_has_no_room_is_asked_for_with_the_whole() -> None:
    engine = Engine(spool=7)
    engine.origin.will(part(0, 6), part(7, 9, body=b"7" * 8), whole())
    await ask(engine, ranged(b"bytes=0-6"))
    assert await ask(engine) == (200, BODY)
    assert asked(engine, b"range")[1:] == [b"bytes=7-", None]


async def test_a_rest_that_breaks_off_is_a_failure() -> None:
    engine = Engine(stale_if_error="0s")
    engine.origin.will(part(0, 4), Reply(part(5, 9).lines, (b"56", BROKEN), 206, length=5))
    await ask(engine, ranged(b"bytes=0-4"))
    assert (await engine.ask()).status == 502


async def test_a_part_that_is_shorter_than_it_says_is_kept_to_the_letter_only() -> None:
    for profile, entries in (("safe", 0), ("rfc9111", 1)):
        engine = Engine(profile=profile)
        engine.origin.will(part(4, 9, body=b"01234"))
        assert await ask(engine, ranged(b"bytes=-5")) == (206, b"01234")
        assert len(engine.memory) == entries, profile


async def test_an_unnamed_part_is_not_kept_and_says_nothing_of_the_whole() -> None:
    engine = Engine()
    engine.origin.will(part(0, 4, (b"B", b"1")), whole())
    answer = await engine.ask(b"/", ranged(b"bytes=0-4"))
    assert (answer.status, detail_of(answer)) == (206, "incomplete")
    assert not engine.uncacheable.has(engine.lookup(engine.origin.requests[0]).flight_key(), at=0)


async def test_an_error_about_a_range_is_not_stored_for_everybody() -> None:
    engine = Engine()
    engine.origin.will(reply(status=416))
    answer = await engine.ask(b"/", ranged(b"bytes=99-"))
    assert (answer.status, detail_of(answer), len(engine.memory)) == (416, "range", 0)


async def test_a_purged_part_is_neither_served_nor_completed() -> None:
    engine = Engine(profile="rfc9111")
    engine.origin.will(part(0, 4), whole())
    await ask(engine, ranged(b"bytes=0-4"))
    engine.log.purge()
    assert await ask(engine) == (200, BODY)
    assert asked(engine, b"range") == [b"bytes=0-4", None]


async def test_a_range_of_a_stale_response_validates_the_whole() -> None:
    engine = Engine()
    engine.origin.will(whole(), reply(b"max-age=100", ETAG, status=304, pieces=()))
    await ask(engine)
    engine.step(100)
    assert await ask(engine, ranged(b"bytes=2-4")) == (206, b"234")
    assert (asked(engine, b"range")[1], asked(engine, b"if-none-match")[1]) == (None, b'"a"')


async def test_a_client_that_has_the_part_gets_304() -> None:
    engine = Engine(profile="rfc9111")
    engine.origin.will(part(0, 4))
    await ask(engine, ranged(b"bytes=0-4"))
    answer = await engine.ask(b"/", ranged(b"bytes=0-4"), (b"If-None-Match", b'"a"'))
    assert (answer.status, answer.outcome) == (304, Outcome.HIT)


async def test_a_part_dated_by_the_origin_is_completed_by_its_date() -> None:
    modified = (b"Last-Modified", date(-60))
    engine = Engine()
    engine.origin.will(part(0, 4, modified), part(5, 9, modified))
    await ask(engine, ranged(b"bytes=0-4"))
    assert await ask(engine) == (200, BODY)
    assert asked(engine, b"if-range")[1] == date(-60)


async def test_a_part_is_for_whom_the_whole_would_be() -> None:
    engine = Engine(profile="rfc9111")
    engine.origin.will(part(0, 4))
    await ask(engine, ranged(b"bytes=0-4"))
    answer = await engine.ask(b"/", ranged(b"bytes=0-4"), (b"Authorization", b"me"))
    assert answer.outcome is Outcome.BYPASS
    assert not isinstance(answer.failure, OriginFailure)
