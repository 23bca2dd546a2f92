from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.engine.answers import from_hit
from proxy.model import Answer, CacheStatus, Fields, Outcome, ResponseHead
from proxy.net.wire import BodyFraming, End, Persistence, chunk, frame, hit_head, interim_head, response_head
from proxy.policy.cache_status import format_cache_status
from tests.support.canned_flow import LINES, CannedBody, answer, plain_hit
from tests.support.entries import NOW
from tests.support.routing import get

V10, V11 = (1, 0), (1, 1)


def stream(length: int | None) -> CannedBody:
    return CannedBody(b"abc", length=length)


FRAMES = [
    # answer, method, version, framing
    (lambda: answer(b"abc"), "GET", V11, BodyFraming(End.LENGTH, 3)),
    (lambda: answer(b"abc"), "GET", V10, BodyFraming(End.LENGTH, 3)),
    (lambda: answer(b""), "GET", V11, BodyFraming(End.LENGTH, 0)),
    (lambda: answer(b"abc", length=99), "GET", V11, BodyFraming(End.LENGTH, 3)),
    (lambda: answer(stream(5)), "GET", V11, BodyFraming(End.LENGTH, 5)),
    (lambda: answer(stream(0)), "GET", V11, BodyFraming(End.LENGTH, 0)),
    (lambda: answer(stream(None)), "GET", V11, BodyFraming(End.CHUNKED)),
    (lambda: answer(stream(None)), "POST", V10, BodyFraming(End.CLOSE)),
    (lambda: answer(b"abc"), "HEAD", V11, BodyFraming(End.NO_BODY, 3)),
    (lambda: answer(b"", length=1234), "HEAD", V11, BodyFraming(End.NO_BODY, 1234)),
    (lambda: answer(b""), "HEAD", V11, BodyFraming(End.NO_BODY, None)),
    (lambda: answer(stream(7)), "HEAD", V11, BodyFraming(End.NO_BODY, 7)),
    (lambda: answer(stream(None)), "HEAD", V10, BodyFraming(End.NO_BODY, None)),
    (lambda: answer(b"abc", status=204), "GET", V11, BodyFraming(End.NO_BODY)),
    (lambda: answer(stream(3), status=204), "GET", V11, BodyFraming(End.NO_BODY)),
    (lambda: answer(b"abc", status=304, length=3), "GET", V11, BodyFraming(End.NO_BODY)),
    (lambda: answer(b"abc", status=304), "HEAD", V11, BodyFraming(End.NO_BODY)),
    (lambda: answer(b"abc", status=101), "GET", V11, BodyFraming(End.NO_BODY)),
    (lambda: answer(b"", status=205), "GET", V11, BodyFraming(End.LENGTH, 0)),
]


@pytest.mark.parametrize(("make", "method", "version", "expected"), FRAMES)
def test_framing_follows_body_method_status_and_version(
    make: Callable[[], Answer], method: str, version: tuple[int, int], expected: BodyFraming
) -> None:
    assert frame(make(), method=method, version=version) == expected


FIVE_BYTES = BodyFraming(End.LENGTH, 5)


def head_of(given: Answer, framing: BodyFraming = FIVE_BYTES, *, x_cache_status: bool = False) -> bytes:
    return response_head(given, framing, Persistence.DEFAULT, with_x_cache_status=x_cache_status)


def test_plain_head_is_status_line_stored_lines_and_length() -> None:
    assert head_of(answer()) == b"HTTP/1.1 200 OK\r\n" + LINES + b"Content-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (200, b"OK", b"HTTP/1.1 200 OK\r\n"),
        (404, b"", b"HTTP/1.1 404 Not Found\r\n"),
        (200, b"Fine, \xe9", b"HTTP/1.1 200 Fine, \xe9\r\n"),
        (599, b"", b"HTTP/1.1 599 \r\n"),
        (299, b"Odd", b"HTTP/1.1 299 Odd\r\n"),
    ],
)
def test_the_origins_reason_is_kept_and_an_empty_one_filled(status: int, reason: bytes, line: bytes) -> None:
    assert head_of(answer(status=status, reason=reason)).startswith(line)


@pytest.mark.parametrize(
    ("framing", "line"),
    [
        (BodyFraming(End.LENGTH, 0), b"Content-Length: 0\r\n"),
        (BodyFraming(End.NO_BODY, 17), b"Content-Length: 17\r\n"),
        (BodyFraming(End.NO_BODY), b""),
        (BodyFraming(End.CHUNKED), b"Transfer-Encoding: chunked\r\n"),
        (BodyFraming(End.CLOSE), b""),
    ],
)
def test_framing_line(framing: BodyFraming, line: bytes) -> None:
    assert head_of(answer(lines=b""), framing) == b"HTTP/1.1 200 OK\r\n" + line + b"\r\n"


@pytest.mark.parametrize(
    ("persistence", "line"),
    [
        (Persistence.DEFAULT, b""),
        (Persistence.KEEP_ALIVE, b"Connection: keep-alive\r\n"),
        (Persistence.CLOSE, b"Connection: close\r\n"),
        (Persistence.UPGRADE, b"Connection: upgrade\r\n"),
    ],
)
def test_connection_line(persistence: Persistence, line: bytes) -> None:
    head = response_head(answer(lines=b""), BodyFraming(End.NO_BODY), persistence, with_x_cache_status=False)

    assert head == b"HTTP/1.1 200 OK\r\n" + line + b"\r\n"


def test_our_fields_stand_behind_the_stored_lines() -> None:
    status = CacheStatus(hit=True, ttl=41, detail="l1")
    given = answer(lines=b"A: \xe9\r\n", age=7, cache_status=status, outcome=Outcome.HIT, extra=b"B: c\r\n")

    assert head_of(given, x_cache_status=True) == (
        b"HTTP/1.1 200 OK\r\nA: \xe9\r\nB: c\r\nAge: 7\r\n"
        b"Cache-Status: " + format_cache_status(status) + b"\r\n"
        b"X-Cache-Status: HIT\r\nContent-Length: 5\r\n\r\n"
    )


def test_x_cache_status_only_where_it_is_asked_for() -> None:
    given = answer(cache_status=CacheStatus(hit=True), outcome=Outcome.HIT)

    assert b"X-Cache-Status" not in head_of(given)


def test_age_zero_is_stated() -> None:
    assert b"\r\nAge: 0\r\n" in head_of(answer(age=0))


def test_interim_head_has_neither_framing_nor_our_fields() -> None:
    head = ResponseHead(103, Fields([(b"Link", b"</a.css>; rel=preload"), (b"Link", b"</b.js>")]), b"")

    assert interim_head(head) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n"
    )


def test_chunk_states_its_size_in_hex() -> None:
    assert chunk(b"x" * 31) == b"1f\r\n" + b"x" * 31 + b"\r\n"


@pytest.mark.parametrize("status", [200, 204, 404, 599])
@pytest.mark.parametrize("reason", [b"", b"50% OK", b"%b %d %%"])
@pytest.mark.parametrize("detail", ["l1", "unsynced", "100 %d"])
@pytest.mark.parametrize("outcome", [Outcome.HIT, Outcome.UPDATING])
@pytest.mark.parametrize("x_cache_status", [False, True])
def test_a_hits_head_is_that_of_its_answer(
    status: int, reason: bytes, detail: str, outcome: Outcome, x_cache_status: bool
) -> None:
    hit = plain_hit(b"" if status == 204 else b"a%b", status=status, reason=reason, received_at=NOW - 7)
    hit.detail, hit.outcome = detail, outcome
    given = from_hit(get(), hit)
    framing = frame(given, method="GET", version=V11)
    body = hit.stored.body

    assert hit_head(hit, body, with_x_cache_status=x_cache_status) == (
        head_of(given, framing, x_cache_status=x_cache_status) + body
    )


@pytest.mark.parametrize("x_cache_status", [False, True])
def test_a_hits_304_is_that_of_its_answer(x_cache_status: bool) -> None:
    hit = plain_hit(etag=b'"1"', lines=LINES + b'ETag: "1"\r\n', received_at=NOW - 7)
    hit.is_not_modified = True
    given = from_hit(get(b"/", (b"If-None-Match", b'"1"')), hit)

    assert given.status == 304
    assert hit_head(hit, b"", with_x_cache_status=x_cache_status) == head_of(
        given, frame(given, method="GET", version=V11), x_cache_status=x_cache_status
    )
