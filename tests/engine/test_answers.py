"""Answers made of what is at hand, in the words of HTTP."""

from __future__ import annotations

import json

import pytest

from proxy.engine import answers
from proxy.engine.coalescing import Failed
from proxy.model import Answer, CacheStatus, FieldLine, Forward, Outcome, Reason, StoredResponse
from tests.support.engine_fakes import REFUSED, reply
from tests.support.responses import NOW, date, entry, head
from tests.support.routing import get

HIT = CacheStatus(hit=True)
TAGGED = entry(etag=b'"1"')


def answer_to(*lines: FieldLine, stored: StoredResponse = TAGGED, **changes: str) -> Answer:
    """The answer to a GET with these lines."""
    return answers.from_stored(
        get(b"/", *lines, **changes), stored, HIT, Outcome.HIT, now=NOW + 5, route="all"
    )


def test_a_stored_response_is_given_whole() -> None:
    answer = answer_to()
    assert (answer.status, answer.reason, answer.lines, answer.body) == (200, b"OK", TAGGED.lines, b"body")
    assert (answer.length, answer.age, answer.route, answer.cache_status) == (4, 5, "all", HIT)


def test_the_origins_own_lines_may_stand_in() -> None:
    own = head((b"Own", b"1"), (b"Age", b"7"), dated=False)
    answer = answers.from_stored(get(), TAGGED, HIT, Outcome.MISS, now=NOW, route="all", head=own)
    # An age is ours to say.
    assert (answer.lines, answer.age) == (b"Own: 1\r\n", 0)


@pytest.mark.parametrize(
    ("line", "status", "body", "extra"),
    [
        ((b"If-None-Match", b'"1"'), 304, b"", b""),
        ((b"If-None-Match", b'"2"'), 200, b"body", b""),
        ((b"If-Match", b'"1"'), 200, b"body", b""),
        ((b"Range", b"bytes=0-0"), 206, b"b", b""),
        ((b"Range", b"bytes=-2"), 206, b"dy", b""),
        ((b"Range", b"bytes=3-"), 206, b"y", b""),
        ((b"Range", b"bytes=4-"), 416, b"", b"Content-Range: bytes */4\r\n"),
        ((b"Range", b"lines=1-2"), 200, b"body", b""),
    ],
)
def test_conditions_and_ranges_are_answered_here(
    line: FieldLine, status: int, body: bytes, extra: bytes
) -> None:
    answer = answer_to(line)
    assert (answer.status, answer.body, answer.extra) == (status, body, extra)
    assert answer.length == (None if status == 304 else len(body))


def test_a_part_says_which_it_is() -> None:
    answer = answer_to((b"Range", b"bytes=1-2"))
    assert b"Content-Range: bytes 1-2/4\r\n" in answer.lines
    assert answer.reason == b"Partial Content"


def test_a_range_behind_the_end_has_no_coding() -> None:
    stored = entry(lines=b"Content-Encoding: gzip\r\nA: 1\r\n")
    assert answer_to((b"Range", b"bytes=9-"), stored=stored).lines == b"A: 1\r\n"


def test_a_condition_that_fails_is_412_for_a_success_only() -> None:
    line = (b"If-Match", b'"2"')
    answer = answer_to(line)
    assert (answer.status, answer.route, answer.cache_status) == (412, "all", HIT)
    assert answer_to(line, stored=entry(status=404)).status == 404


def test_a_passed_response_is_the_origins_own() -> None:
    response = reply(b"no-store", (b"Surrogate-Key", b"a")).respond(NOW)
    answer = answers.passed(response, HIT, Outcome.BYPASS, route="all")
    assert answer.lines == b"Date: " + date() + b"\r\nCache-Control: no-store\r\n"
    assert (answer.body, answer.length, answer.tunnel) == (response.body, 4, None)


def test_the_fields_for_purging_are_not_for_clients() -> None:
    lines = answers.client_lines(head((b"xkey", b"a"), (b"Cache-Tag", b"b"), (b"A", b"1"), dated=False))
    assert lines == b"A: 1\r\n"


@pytest.mark.parametrize(
    ("reason", "forward"),
    [
        (Reason.COOKIE, Forward.BYPASS),
        (Reason.AUTHORIZATION, Forward.BYPASS),
        (Reason.NO_STORE, Forward.STALE),
    ],
)
def test_what_was_not_stored_says_why(reason: Reason, forward: Forward) -> None:
    expected = CacheStatus(forward=forward, forward_status=200, detail=reason.value)
    assert answers.why_not_stored(Forward.STALE, 200, reason) == expected


def test_a_failure_of_the_origin_is_a_problem_that_names_it() -> None:
    answer = answers.failed(Failed(502, REFUSED), Forward.STALE, now=NOW, route="all", collapsed=True)
    assert (answer.status, answer.failure, answer.outcome) == (502, REFUSED, Outcome.ERROR)
    assert answer.cache_status == CacheStatus(forward=Forward.STALE, collapsed=True, detail="refused")
    assert b"application/problem+json" in answer.lines
    assert isinstance(answer.body, bytes)
    assert answer.length == len(answer.body)


def test_an_error_status_is_told_to_those_who_waited() -> None:
    answer = answers.failed(Failed(503), Forward.URI_MISS, now=NOW, route="all", collapsed=True)
    expected = CacheStatus(forward=Forward.URI_MISS, forward_status=503, collapsed=True)
    assert (answer.status, answer.cache_status, answer.failure) == (503, expected, None)
    assert isinstance(answer.body, bytes)
    assert "The origin answered 503" in json.loads(answer.body)["detail"]


def test_what_the_cache_refuses_says_so() -> None:
    answer = answers.refused(504, "No.", now=NOW, route="all", word="only-if-cached", extra=b"A: 1\r\n")
    assert answer.cache_status == CacheStatus(detail="only-if-cached")
    assert (answer.status, answer.extra, answer.outcome) == (504, b"A: 1\r\n", Outcome.ERROR)
