"""The same bytes of an origin, whole at once and through the parser: the same of everything.

A whole answer that is there in the first read is taken without a parser, its head by a learned form. Told
twice, with and without that, and cut at every place, an exchange must end alike: head, body, failure, and
what becomes of the connection.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model import BodyBroken, Framing, OriginFailure, Request
from proxy.net import exchange as exchange_module
from proxy.net import response_head
from proxy.net.exchange import Exchange, Patience
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.response_form import SIGHTINGS, Forms
from proxy.net.response_head import ReceivedHead, parse_head
from tests.support.origin_clients import request

MAX_HEAD = 200
PATIENCE = Patience(response=1, idle=2)


class Line:
    """Stands for the connection."""

    def __init__(self) -> None:
        self.deadline = self
        self.seconds: float | None = None
        self.receiver: object = None

    def detach(self) -> None:
        self.receiver, self.seconds = None, None

    def write(self, _pieces: object) -> None:
        """The request is of no interest here."""

    def set(self, seconds: float) -> None:
        self.seconds = seconds

    def clear(self) -> None:
        self.seconds = None


class End(NamedTuple):
    """All that is known of an exchange."""

    head: ReceivedHead | None
    lines: object
    framing: tuple[Framing, int | None] | None
    body: bytes
    is_complete: bool
    failures: tuple[OriginFailure | None, OriginFailure | None]
    causes: list[CloseCause | None]
    is_attached: bool
    deadline: float | None
    has_response_byte: bool


def told(pieces: list[bytes], asked: Request, *, relays_codings: bool, closes: bool) -> End:
    line, causes = Line(), list[CloseCause | None]()

    def on_end(_: Exchange, cause: CloseCause | None) -> None:
        causes.append(cause)
        line.clear()  # as whoever closes it does

    made = Exchange(
        asked,
        cast(OriginConnection, line),
        patience=PATIENCE,
        max_head=MAX_HEAD,
        relays_codings=relays_codings,
        on_end=on_end,
    )
    made.begin(b"")
    for piece in pieces:
        if not made.has_ended and piece:
            made.on_bytes(piece)
    if closes and not made.has_ended:
        made.on_eof()
    return seen(made, line, causes)


def seen(made: Exchange, line: Line, causes: list[CloseCause | None]) -> End:
    has_head = made.head is not None
    body, broken, is_complete = (b"", None, False)
    if has_head:
        rest = made.body.take_rest()
        is_complete = rest is not None
        body, broken = drained(made.body)
        body = (rest or b"") + body
    return End(
        made.head,
        made.head.fields.lines if made.head is not None else None,
        (made.delimiter.framing, made.delimiter.length) if has_head else None,
        body,
        is_complete,
        (made.failure, broken),
        causes,
        line.receiver is not None,
        line.seconds,
        made.has_response_byte,
    )


def drained(body: Any) -> tuple[bytes, OriginFailure | None]:
    """What there is to read now, and how it broke."""
    read = []
    while True:
        try:
            body.read().send(None)
        except StopIteration as piece:
            read.append(piece.value)
            if not piece.value:
                return b"".join(read), None
        except BodyBroken as broken:
            return b"".join(read), broken.failure
        except RuntimeError:  # no loop: it would wait
            return b"".join(read), None


HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: closed\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: other\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 4\r\n",
    b"HTTP/1.1 503 Later\r\nServer: a\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nX: y\r\n",
    b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 3\r\n" % (b"x" * (MAX_HEAD - 43)),
    b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 3\r\n" % (b"x" * (MAX_HEAD - 42)),
    b"HTTP/1.1 100 Continue\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n",
    b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 3\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 200 O\x00K\r\nContent-Length: 3\r\n",
    b"HTTP/1.1  200 OK\r\nContent-Length: 3\r\n",
    b"HTTP/1.1 600 OK\r\nContent-Length: 3\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n",
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
]
LENGTHS = [b"+3", b"-3", b"03", b"0x3", b"3_0", b"3.", b"3 ", b"\t3\t", b"3, 3", b"", b"\xb3", b"\xd9\xa3"]
LENGTHS += [b"9" * 18, b"9" * 19]
HEADS += [b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n" % length for length in LENGTHS]
BODIES = [
    b"",
    b"ab",
    b"abc",
    b"abcd",
    b"\r\n\r",
    b"abcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\nx",
    b"3\r\nabc\nx",
]
REQUESTS = [request(), request("HEAD"), request("POST"), request(upgrade=True)]


def without_short_way(pieces: list[bytes], asked: Request, **how: bool) -> End:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange_module, "read_begun", lambda *_, **__: None)
        patch.setattr(response_head, "forms", Forms(response_head._STATUS_LINE))
        return told(pieces, asked, **how)


@pytest.fixture(autouse=True)
def forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is learned but here."""
    monkeypatch.setattr(response_head, "forms", Forms(response_head._STATUS_LINE))


@pytest.mark.parametrize("is_learned", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_an_answer_is_the_same_by_both_ways_wherever_it_is_cut(head: bytes, is_learned: bool) -> None:
    if is_learned and head.endswith(b"\r\n"):  # whole heads only, as the parser gives
        for _ in range(SIGHTINGS):
            parse_head(head.replace(b"\0", b"") + b"\r\n")
    for asked in REQUESTS:
        for body in BODIES:
            for relays_codings, closes in ((False, False), (True, False), (False, True)):
                assert_alike(head + b"\r\n" + body, asked, relays_codings=relays_codings, closes=closes)


def assert_alike(data: bytes, asked: Request, **how: bool) -> None:
    at_once = told([data], asked, **how)
    assert at_once == without_short_way([data], asked, **how)
    if at_once.failures[0] is not None or CloseCause.EXTRA_BYTES in at_once.causes:
        return  # a cut may show the fault, or the end, before the rest has come
    for cut in range(1, len(data)):
        in_two = told([data[:cut], data[cut:]], asked, **how)
        assert in_two._replace(deadline=at_once.deadline) == at_once


def test_the_short_way_is_taken() -> None:
    """Else the above would compare one way with itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Exchange, "_make_parser")
        end = told([HEADS[0] + b"\r\nabc"], request(), relays_codings=False, closes=False)

    assert (end.body, end.causes) == (b"abc", [None])


ASKED = st.tuples(st.sampled_from(REQUESTS), st.booleans(), st.booleans())
SAID = st.tuples(st.sampled_from(HEADS), st.sampled_from(BODIES) | st.binary(max_size=5))
EDITS = st.tuples(st.floats(0, 1), st.sampled_from([b"", b" ", b"\r", b"\n", b"\r\n", b":", b"\0", b"3"]))


@settings(max_examples=300)
@given(ASKED, SAID, EDITS, st.lists(st.floats(0, 1), max_size=3))
def test_any_answer_is_the_same_by_both_ways(
    asked: tuple[Request, bool, bool],
    said: tuple[bytes, bytes],
    edit: tuple[float, bytes],
    shares: list[float],
) -> None:
    data = b"\r\n".join(said)
    place = int(edit[0] * len(data))
    data = data[:place] + edit[1] + data[place:]
    cuts = sorted(int(share * len(data)) for share in shares)
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    given_, relays_codings, closes = asked
    how = {"relays_codings": relays_codings, "closes": closes}
    assert told(pieces, given_, **how) == without_short_way(pieces, given_, **how)
