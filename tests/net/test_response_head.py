from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FailureKind, Fields, Framing, OriginFailure
from proxy.net.response_head import MAX_FIELDS, Delimiter, ReceivedHead, delimit, parse_head


def head_of(*lines: bytes, status_line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"".join(line + b"\r\n" for line in (status_line, *lines, b""))


def parsed(*lines: bytes, status_line: bytes = b"HTTP/1.1 200 OK") -> ReceivedHead:
    head = parse_head(head_of(*lines, status_line=status_line))
    assert isinstance(head, ReceivedHead), head
    return head


def test_fields_keep_order_case_duplicates_and_bytes() -> None:
    head = parsed(b"X-B: caf\xe9", b"x-a:1", b"X-B:\t two \t", b"Empty:")

    assert head.fields == Fields([(b"X-B", b"caf\xe9"), (b"x-a", b"1"), (b"X-B", b"two"), (b"Empty", b"")])


@pytest.mark.parametrize(
    ("status_line", "expected"),
    [
        (b"HTTP/1.1 200 OK", ReceivedHead(200, b"OK", Fields())),
        (b"HTTP/1.0 599 ", ReceivedHead(599, b"", Fields(), is_http_10=True)),
        (b"HTTP/1.1 100", ReceivedHead(100, b"", Fields())),
        (b"HTTP/1.1 404 Nicht \xfcber\tall", ReceivedHead(404, b"Nicht \xfcber\tall", Fields())),
    ],
)
def test_status_lines_that_are_taken(status_line: bytes, expected: ReceivedHead) -> None:
    assert parsed(status_line=status_line) == expected


STATUS_LINE = "not a status line of HTTP/1.0 or HTTP/1.1"
INVALID_HEADS = {
    "status 099": (b"HTTP/1.1 099 X\r\n\r\n", STATUS_LINE),
    "status 600": (b"HTTP/1.1 600 X\r\n\r\n", STATUS_LINE),
    "status 999": (b"HTTP/1.1 999 X\r\n\r\n", STATUS_LINE),
    "status of two digits": (b"HTTP/1.1 20 X\r\n\r\n", STATUS_LINE),
    "status of four digits": (b"HTTP/1.1 2000 X\r\n\r\n", STATUS_LINE),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\n\r\n", STATUS_LINE),
    "HTTP/0.9": (b"HTTP/0.9 200 OK\r\n\r\n", STATUS_LINE),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\n\r\n", STATUS_LINE),
    "lower case": (b"http/1.1 200 OK\r\n\r\n", STATUS_LINE),
    "RTSP": (b"RTSP/1.1 200 OK\r\n\r\n", STATUS_LINE),
    "two spaces": (b"HTTP/1.1  200 OK\r\n\r\n", STATUS_LINE),
    "tab": (b"HTTP/1.1\t200 OK\r\n\r\n", STATUS_LINE),
    "leading empty line": (b"\r\nHTTP/1.1 200 OK\r\n\r\n", STATUS_LINE),
    "control byte in the reason": (b"HTTP/1.1 200 O\x01K\r\n\r\n", STATUS_LINE),
    "CR in the reason": (b"HTTP/1.1 200 O\rK\r\n\r\n", STATUS_LINE),
    "LF in the reason": (b"HTTP/1.1 200 OK\nA: b\r\n\r\n", STATUS_LINE),
    "bare LF": (head_of(b"A: b\nC: d"), "line 2 of the head is not a field"),
    "bare CR": (head_of(b"A: b\rC: d"), "line 2 of the head is not a field"),
    "NUL": (head_of(b"A: b", b"C: \x00"), "line 3 of the head is not a field"),
    "control byte": (head_of(b"A: \x01"), "line 2 of the head is not a field"),
    "DEL": (head_of(b"A: \x7f"), "line 2 of the head is not a field"),
    "obs-fold": (head_of(b"A: b", b" c"), "line 3 of the head is not a field"),
    "obs-fold with tab": (head_of(b"A: b", b"\tc: d"), "line 3 of the head is not a field"),
    "space before the colon": (head_of(b"A : b"), "line 2 of the head is not a field"),
    "leading space": (head_of(b" A: b"), "line 2 of the head is not a field"),
    "no colon": (head_of(b"A"), "line 2 of the head is not a field"),
    "empty name": (head_of(b": b"), "line 2 of the head is not a field"),
    "no token": (head_of(b"A(: b"), "line 2 of the head is not a field"),
    "name beyond ASCII": (head_of(b"\xe9: b"), "line 2 of the head is not a field"),
    "too many fields": (head_of(*[b"A: b"] * 257), "257 fields, expected at most 256"),
}


@pytest.mark.parametrize("name", INVALID_HEADS)
def test_a_faulty_head_is_refused(name: str) -> None:
    raw, detail = INVALID_HEADS[name]

    assert parse_head(raw) == OriginFailure(FailureKind.INVALID_HEAD, detail)


def test_as_many_fields_as_allowed_are_taken() -> None:
    assert len(parsed(*[b"A: b"] * MAX_FIELDS).fields.lines) == MAX_FIELDS


DELIMITERS = [
    ("GET", 200, [b"Content-Length: 0"], Delimiter(Framing.LENGTH, 0)),
    ("GET", 200, [b"Content-Length: 007"], Delimiter(Framing.LENGTH, 7)),
    ("GET", 200, [b"Content-Length: 999999999999999999"], Delimiter(Framing.LENGTH, 999999999999999999)),
    ("GET", 200, [b"Transfer-Encoding: chunked"], Delimiter(Framing.CHUNKED)),
    ("GET", 200, [b"Transfer-Encoding:\tChunked "], Delimiter(Framing.CHUNKED)),
    ("GET", 200, [], Delimiter(Framing.CLOSE)),
    ("POST", 200, [], Delimiter(Framing.CLOSE)),
    ("HEAD", 200, [b"Content-Length: 7"], Delimiter(Framing.NONE, 7)),
    ("HEAD", 200, [b"Transfer-Encoding: chunked"], Delimiter(Framing.NONE)),
    ("HEAD", 200, [], Delimiter(Framing.NONE)),
    ("GET", 304, [b"Content-Length: 7"], Delimiter(Framing.NONE, 7)),
    ("GET", 304, [], Delimiter(Framing.NONE)),
    ("GET", 204, [b"Content-Length: 0"], Delimiter(Framing.NONE)),
    ("GET", 204, [], Delimiter(Framing.NONE)),
    ("GET", 205, [], Delimiter(Framing.CLOSE)),
]


@pytest.mark.parametrize(("method", "status", "lines", "expected"), DELIMITERS)
def test_how_a_body_ends(method: str, status: int, lines: list[bytes], expected: Delimiter) -> None:
    head = parsed(*lines, status_line=b"HTTP/1.1 %d X" % status)

    assert delimit(head, method) == expected


FRAMING_FAULTS = [
    ([b"Content-Length: 2", b"Content-Length: 2"], "more than one Content-Length"),
    ([b"Content-Length: 2", b"content-length: 3"], "more than one Content-Length"),
    ([b"Content-Length: 2, 2"], "Content-Length is not a number"),
    ([b"Content-Length: +2"], "Content-Length is not a number"),
    ([b"Content-Length: -2"], "Content-Length is not a number"),
    ([b"Content-Length: 0x2"], "Content-Length is not a number"),
    ([b"Content-Length: \xb2"], "Content-Length is not a number"),
    ([b"Content-Length:"], "Content-Length is not a number"),
    ([b"Content-Length: 9999999999999999999"], "Content-Length is not a number"),
    ([b"Content-Length: 2", b"Transfer-Encoding: chunked"], "both Content-Length and Transfer-Encoding"),
    ([b"Transfer-Encoding: chunked", b"Content-Length: 2"], "both Content-Length and Transfer-Encoding"),
    ([b"Transfer-Encoding: gzip"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: gzip, chunked"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: chunked, chunked"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: xchunked"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: identity"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: chunked;a=b"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding:"], "a transfer coding other than chunked"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("lines", "detail"), FRAMING_FAULTS)
def test_faulty_framing_is_refused_whatever_the_method(method: str, lines: list[bytes], detail: str) -> None:
    assert delimit(parsed(*lines), method) == OriginFailure(FailureKind.INVALID_HEAD, detail)


RELAYED = [
    ([b"Transfer-Encoding: xyz"], Delimiter(Framing.CLOSE)),
    ([b"Transfer-Encoding: xyz;a=b, other"], Delimiter(Framing.CLOSE)),
    ([b"Transfer-Encoding: chunked"], Delimiter(Framing.CHUNKED)),
    ([b"Transfer-Encoding: gzip"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: xyz, chunked"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding: xyz, GZIP ;q=1"], "a transfer coding other than chunked"),
    ([b"Transfer-Encoding:"], "a transfer coding other than chunked"),
]


@pytest.mark.parametrize(("lines", "expected"), RELAYED)
def test_unknown_codings_are_relayed_where_the_letter_counts(
    lines: list[bytes], expected: Delimiter | str
) -> None:
    failure = OriginFailure(FailureKind.INVALID_HEAD, expected) if isinstance(expected, str) else expected

    assert delimit(parsed(*lines), "GET", relays_codings=True) == failure


def test_an_unknown_coding_beside_a_length_is_refused_to_the_letter_too() -> None:
    delimiter = delimit(parsed(b"Transfer-Encoding: xyz", b"Content-Length: 2"), "GET", relays_codings=True)

    assert delimiter == OriginFailure(FailureKind.INVALID_HEAD, "both Content-Length and Transfer-Encoding")


def test_a_transfer_coding_in_http_1_0_is_refused() -> None:
    head = parsed(b"Transfer-Encoding: chunked", status_line=b"HTTP/1.0 200 OK")

    assert delimit(head, "GET") == OriginFailure(FailureKind.INVALID_HEAD, "Transfer-Encoding in HTTP/1.0")


@pytest.mark.parametrize(
    ("status_line", "lines", "expected"),
    [
        (b"HTTP/1.1 200 OK", [], True),
        (b"HTTP/1.1 200 OK", [b"Connection: keep-alive"], True),
        (b"HTTP/1.1 200 OK", [b"Connection: CLOSE"], False),
        (b"HTTP/1.1 200 OK", [b"Connection: x", b"connection: y, close"], False),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive"], False),
    ],
)
def test_whether_another_request_may_follow(status_line: bytes, lines: list[bytes], expected: bool) -> None:
    assert parsed(*lines, status_line=status_line).is_persistent is expected


@given(
    st.lists(
        st.sampled_from([b"HTTP/1.1 200 OK", b"A: b", b":", b"\n", b"\r", b" ", b"a", b"\x00"]), max_size=8
    )
)
def test_any_bytes_are_a_head_or_a_failure(parts: list[bytes]) -> None:
    raw = (b"".join(parts) + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    assert isinstance(parse_head(raw), ReceivedHead | OriginFailure)
