from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FailureKind, Fields, Framing, OriginFailure
from proxy.net.response_head import Delimiter, ReceivedHead
from proxy.net.response_parser import MAX_INTERIM_HEADS, ResponseParser

MAX_HEAD = 1024


def parser_for(method: str = "GET", *, may_switch: bool = False) -> ResponseParser:
    return ResponseParser(method, max_head=MAX_HEAD, may_switch=may_switch)


class InterimHead(NamedTuple):
    head: ReceivedHead


class FinalHead(NamedTuple):
    head: ReceivedHead
    delimiter: Delimiter


class Piece(NamedTuple):
    data: bytes


class End(NamedTuple):
    has_surplus: bool = False


Event = InterimHead | FinalHead | Piece | End | OriginFailure


class Told:
    """All that a parser has told, in order; pieces joined, so that cuts make no difference."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def is_over(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], End | OriginFailure)

    def on_interim_head(self, head: ReceivedHead) -> None:
        self.events.append(InterimHead(head))

    def on_final_head(self, head: ReceivedHead, delimiter: Delimiter) -> None:
        self.events.append(FinalHead(head, delimiter))

    def on_piece(self, data: bytes) -> None:
        assert data
        last = self.events[-1]
        if isinstance(last, Piece):
            self.events[-1] = Piece(last.data + data)
        else:
            self.events.append(Piece(data))

    def on_end(self, *, has_surplus: bool) -> None:
        assert not self.is_over
        self.events.append(End(has_surplus))

    def on_fault(self, failure: OriginFailure) -> None:
        assert not self.is_over
        self.events.append(failure)


def events_of(parser: ResponseParser, *segments: bytes) -> list[Event]:
    """All that it tells of these segments, up to the end."""
    told = Told()
    for segment in segments:
        if segment and not told.is_over:
            parser.feed(segment, told)
    return told.events


def event_of_eof(parser: ResponseParser) -> list[Event]:
    told = Told()
    parser.feed_eof(told)
    return told.events


def head(status: int, reason: bytes, *lines: tuple[bytes, bytes]) -> ReceivedHead:
    return ReceivedHead(status, reason, Fields(lines))


LENGTH_2 = (b"Content-Length", b"2")
CHUNKED = (b"Transfer-Encoding", b"chunked")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
WHOLE = {
    "length": (
        "GET",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        [FinalHead(head(200, b"OK", LENGTH_2), Delimiter(Framing.LENGTH, 2)), Piece(b"ab"), End()],
    ),
    "length and surplus": (
        "GET",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
        [FinalHead(head(200, b"OK", LENGTH_2), Delimiter(Framing.LENGTH, 2)), Piece(b"ab"), End(True)],
    ),
    "no bytes": (
        "GET",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        [FinalHead(head(200, b"OK", (b"Content-Length", b"0")), Delimiter(Framing.LENGTH, 0)), End()],
    ),
    "chunked": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: u\r\n\r\n",
        [FinalHead(head(200, b"OK", CHUNKED), Delimiter(Framing.CHUNKED)), Piece(b"abc"), End()],
    ),
    "head": (
        "HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        [FinalHead(head(200, b"OK", LENGTH_2), Delimiter(Framing.NONE, 2)), End()],
    ),
    "head with a body": (
        "HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
        [FinalHead(head(200, b"OK", LENGTH_2), Delimiter(Framing.NONE, 2)), End(True)],
    ),
    "not modified": (
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
        [FinalHead(head(304, b"Not Modified", LENGTH_2), Delimiter(Framing.NONE, 2)), End()],
    ),
    "no content": (
        "GET",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        [FinalHead(head(204, b"No Content"), Delimiter(Framing.NONE)), End()],
    ),
    "until close": (
        "GET",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        [FinalHead(head(200, b"OK"), Delimiter(Framing.CLOSE)), Piece(b"abc")],
    ),
    "interim": (
        "GET",
        INTERIM + b"HTTP/1.1 204 No Content\r\n\r\n",
        [
            InterimHead(head(100, b"Continue")),
            InterimHead(head(103, b"Early Hints", (b"Link", b"</a>"))),
            FinalHead(head(204, b"No Content"), Delimiter(Framing.NONE)),
            End(),
        ],
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_means_the_same_wherever_it_is_cut(name: str) -> None:
    method, raw, expected = WHOLE[name]
    for cut in range(len(raw) + 1):
        events = events_of(parser_for(method), raw[:cut], raw[cut:])
        # Surplus that arrives later is not the parser's to see.
        at_cut = [End() if isinstance(event, End) and cut == len(raw) - 1 else event for event in expected]

        assert events in (expected, at_cut), cut


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_means_the_same_byte_by_byte(name: str) -> None:
    method, raw, expected = WHOLE[name]
    events = events_of(parser_for(method), *[raw[at : at + 1] for at in range(len(raw))])

    assert events == [End() if isinstance(event, End) else event for event in expected]


BROKEN = {
    "nothing": (b"", FailureKind.RESET, "closed before the end of a head"),
    "partial head": (b"HTTP/1.1 200 OK\r\nA: b\r\n", FailureKind.RESET, "closed before the end of a head"),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", FailureKind.RESET, "closed before the end of a head"),
    "length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na",
        FailureKind.BROKEN_BODY,
        "closed before the last 2 bytes",
    ),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        FailureKind.BROKEN_BODY,
        "closed before the last chunk",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_close_before_the_end_is_a_failure(name: str) -> None:
    raw, kind, detail = BROKEN[name]
    parser = parser_for()
    events_of(parser, raw)

    assert event_of_eof(parser) == [OriginFailure(kind, detail)]


def test_a_close_completes_a_body_that_has_no_other_end() -> None:
    parser = parser_for()
    events_of(parser, b"HTTP/1.1 200 OK\r\n\r\nabc")

    assert event_of_eof(parser) == [End()]


def test_a_faulty_chunk_breaks_the_body_after_what_was_right() -> None:
    events = events_of(parser_for(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n")

    assert events[1:] == [
        Piece(b"a"),
        OriginFailure(FailureKind.BROKEN_BODY, "Invalid character in chunk size"),
    ]


FAULTS = {
    "no HTTP at all": (b"S", "not a status line of HTTP/1.0 or HTTP/1.1"),
    "empty line first": (b"\r", "not a status line of HTTP/1.0 or HTTP/1.1"),
    "bare LF": (b"HTTP/1.1 200 OK\nA: b\n\n", "a line of the head ends without CR"),
    "a head without end": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_HEAD, "a head of more than 1024 bytes"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 without a request to upgrade"),
    "faulty head": (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "line 2 of the head is not a field"),
    "faulty framing": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length is not a number"),
    "faulty interim head": (b"HTTP/1.1 103 X\r\nA : b\r\n\r\n", "line 2 of the head is not a field"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_head_ends_it_wherever_it_is_cut(name: str) -> None:
    raw, detail = FAULTS[name]
    for cut in range(len(raw) + 1):
        assert events_of(parser_for(), raw[:cut], raw[cut:]) == [
            OriginFailure(FailureKind.INVALID_HEAD, detail)
        ], cut


@pytest.mark.parametrize(("size", "is_taken"), [(MAX_HEAD, True), (MAX_HEAD + 1, False)])
def test_a_head_is_bounded_to_the_byte(size: int, is_taken: bool) -> None:
    start, end = b"HTTP/1.1 200 OK\r\nA: ", b"\r\n\r\n"
    raw = start + b"b" * (size - len(start) - len(end)) + end

    assert isinstance(events_of(parser_for(), raw)[0], FinalHead) is is_taken


def test_interim_heads_are_bounded() -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    parser = parser_for()

    assert len(events_of(parser, interim * MAX_INTERIM_HEADS)) == MAX_INTERIM_HEADS
    assert events_of(parser, interim) == [
        OriginFailure(FailureKind.INVALID_HEAD, "more than 32 interim responses")
    ]


def test_after_101_all_bytes_belong_to_the_tunnel() -> None:
    parser = parser_for(may_switch=True)
    events = events_of(
        parser, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x00", b"HTTP/1.1 "
    )

    assert events[0] == FinalHead(
        head(101, b"Switching Protocols", (b"Upgrade", b"x")), Delimiter(Framing.CLOSE)
    )
    assert events[1:] == [Piece(b"\x81\x00HTTP/1.1 ")]
    assert event_of_eof(parser) == [End()]


def test_it_knows_that_it_is_within_a_head() -> None:
    parser = parser_for()

    assert not parser.is_within_head
    events_of(parser, b"HTTP/1.1 103 X\r\n\r\n")
    assert not parser.is_within_head
    events_of(parser, b"H")
    assert parser.is_within_head
    events_of(parser, b"TTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
    assert not parser.is_within_head


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_mean_the_same_cut_or_whole(tail: bytes, cut: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + tail

    assert events_of(parser_for(), raw) == events_of(parser_for(), raw[:cut], raw[cut:])
