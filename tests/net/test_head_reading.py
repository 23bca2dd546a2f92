from __future__ import annotations

import pytest

from proxy.net.head_reading import MAX_FIELDS, fault_in_head, fault_so_far
from proxy.net.refusals import Refusal

REQUEST_LINES = [
    (b"GET / HTTP/1.1", None),
    (b"GET / HTTP/1.0", None),
    (b"PURGE /a?b#c HTTP/1.1", None),
    (b"OPTIONS * HTTP/1.1", None),
    (b'GET /%2e/<>"{}|\\^` HTTP/1.1', None),
    (b"GET  / HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET /  HTTP/1.1", Refusal.REQUEST_LINE),
    (b" GET / HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET / HTTP/1.1 ", Refusal.REQUEST_LINE),
    (b"GET\t/ HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET /a b HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET /\xe9 HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET /\x7f HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET /\x00 HTTP/1.1", Refusal.REQUEST_LINE),
    (b"G(T / HTTP/1.1", Refusal.REQUEST_LINE),
    (b"GET / http/1.1", Refusal.REQUEST_LINE),
    (b"GET / HTTP/01.1", Refusal.REQUEST_LINE),
    (b"GET / HTTP/1.10", Refusal.REQUEST_LINE),
    (b"GET HTTP/1.1", Refusal.VERSION),  # reads as HTTP/0.9
    (b"", Refusal.REQUEST_LINE),
    (b"GET /", Refusal.VERSION),
    (b"GET / HTTP/0.9", Refusal.VERSION),
    (b"GET / HTTP/1.2", Refusal.VERSION),
    (b"GET / HTTP/2.0", Refusal.VERSION),
    (b"PRI * HTTP/2.0", Refusal.VERSION),
    (b"CONNECT a:443 HTTP/1.1", Refusal.CONNECT),
    (b"TRACE / HTTP/1.1", Refusal.TRACE),
]


@pytest.mark.parametrize(("line", "expected"), REQUEST_LINES)
def test_request_line(line: bytes, expected: Refusal | None) -> None:
    assert fault_in_head(line + b"\r\nHost: a\r\n\r\n") is expected


@pytest.mark.parametrize(("line", "expected"), REQUEST_LINES)
def test_request_line_is_judged_before_the_head_is_complete(line: bytes, expected: Refusal | None) -> None:
    assert fault_so_far(line + b"\r\nHo", looked_at=0) is expected


@pytest.mark.parametrize(
    ("count", "expected"), [(MAX_FIELDS, None), (MAX_FIELDS + 1, Refusal.TOO_MANY_FIELDS)]
)
def test_number_of_fields(count: int, expected: Refusal | None) -> None:
    assert fault_in_head(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * count + b"\r\n") is expected


@pytest.mark.parametrize(
    ("partial", "looked_at", "expected"),
    [
        (b"G", 0, None),
        (b"GET", 0, None),
        (b"GET ", 0, None),
        (b"GET /a", 0, None),
        (b"GET / HTTP/1.1\r", 0, None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 0, None),
        (b"\x16\x03\x01\x02\x00", 0, Refusal.REQUEST_LINE),
        (b" ", 0, Refusal.REQUEST_LINE),
        (b"GET / HTTP/1.1\n", 0, Refusal.MALFORMED),
        (b"\n", 0, Refusal.MALFORMED),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 0, Refusal.MALFORMED),
        (b"GET / HTTP/1.1\r\nHost: a\n", 23, Refusal.MALFORMED),
        # The CR was looked at before the LF came.
        (b"GET / HTTP/1.1\r\n", 15, None),
    ],
)
def test_what_is_wrong_is_said_at_once(partial: bytes, looked_at: int, expected: Refusal | None) -> None:
    assert fault_so_far(partial, looked_at=looked_at) is expected
