from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from aiohttp.http_parser import HttpRequestParser

from proxy.model import Answer, Fields, Request, ResponseHead
from proxy.net.client_output import ClientOutput
from proxy.net.client_turn import Turn
from proxy.net.request_reading import read_request
from proxy.net.wire import BodyFraming, End, Persistence
from proxy.observe.metrics import Metrics
from tests.support.aiohttp_readers import ReadableProtocol
from tests.support.canned_flow import answer
from tests.support.departures import AtOnce
from tests.support.raw_client import request
from tests.support.stepped_transport import SteppedTransport

LENGTH = BodyFraming(End.LENGTH, 5)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(NamedTuple):
    output: ClientOutput


class Given(NamedTuple):
    turn: Turn
    request: Request
    transport: SteppedTransport


def given(raw: bytes) -> Given:
    """A turn for these bytes, its output into a transport that the test looks at."""
    loop, transport = asyncio.get_running_loop(), SteppedTransport()
    output = ClientOutput(idle_seconds=60, metrics=Metrics(), loop=loop, departures=AtOnce())
    output.connect(transport)  # type: ignore[arg-type]
    messages, _, _ = HttpRequestParser(ReadableProtocol(loop), loop, 65536).feed_data(raw)
    message, payload = messages[0]
    connection: Any = Connection(output)
    turn = Turn.of(connection, message, payload, body_idle_seconds=60)
    read = read_request(message, body=turn.body, peer="", on_interim=turn.send_interim)
    assert isinstance(read, Request)
    return Given(turn, read, transport)


UPGRADE = ("Connection: upgrade", "Upgrade: h2c")
PERSISTS = [
    (request(), answer(), LENGTH, True),
    (request("/", "Connection: close"), answer(), LENGTH, False),
    (request("/", "connection: a, CLOSE"), answer(), LENGTH, False),
    (request(version="HTTP/1.0"), answer(), LENGTH, False),
    (request("/", "Connection: keep-alive", version="HTTP/1.0"), answer(), LENGTH, True),
    (request(), answer(close=True), LENGTH, False),
    (request(), answer(), BodyFraming(End.CHUNKED), True),
    (request(), answer(), BodyFraming(End.NO_BODY), True),
    (request(), answer(), BodyFraming(End.CLOSE), False),
    (request("/", *UPGRADE), answer(), LENGTH, False),
    (request(method="POST", body=b"abc"), answer(), LENGTH, True),
    (request(method="POST", body=b"abc")[:-1], answer(), LENGTH, False),
]


@pytest.mark.parametrize(("raw", "reply", "framing", "expected"), PERSISTS)
async def test_what_lets_the_connection_go_on(
    raw: bytes, reply: Answer, framing: BodyFraming, expected: bool
) -> None:
    turn, asked, _ = given(raw)

    assert turn.may_persist(asked, reply, framing) is expected


class NoTunnel:
    """Stands for one: only whether there is one matters."""


@pytest.mark.parametrize(
    ("version", "tunnel", "persists", "expected"),
    [
        ("HTTP/1.1", None, True, Persistence.DEFAULT),
        ("HTTP/1.1", None, False, Persistence.CLOSE),
        ("HTTP/1.0", None, True, Persistence.KEEP_ALIVE),
        ("HTTP/1.0", None, False, Persistence.CLOSE),
        ("HTTP/1.1", NoTunnel(), False, Persistence.UPGRADE),
    ],
)
async def test_what_the_head_says_of_it(
    version: str, tunnel: Any, persists: bool, expected: Persistence
) -> None:
    turn, asked, _ = given(request(version=version))

    assert turn.persistence(asked, answer(tunnel=tunnel), persists=persists) is expected


@pytest.mark.parametrize(
    ("raw", "length"),
    [
        (request(method="POST", body=b"abc"), 3),
        (request("/", "Transfer-Encoding: chunked", method="POST"), None),
    ],
)
async def test_a_body_has_the_length_that_was_stated(raw: bytes, length: int | None) -> None:
    turn, asked, _ = given(raw)

    assert turn.body is not None
    assert asked.body is turn.body
    assert turn.body.length == length


@pytest.mark.parametrize("raw", [request(), request("/", "Content-Length: 0", method="POST")])
async def test_no_body_is_none(raw: bytes) -> None:
    assert given(raw).turn.body is None


EXPECTING = request("/", "Expect: 100-continue", "Content-Length: 3", method="POST")


@pytest.mark.parametrize(("has_answer", "written"), [(False, CONTINUE), (True, b"")])
async def test_continue_is_never_written_behind_the_answer(has_answer: bool, written: bytes) -> None:
    turn, _, transport = given(EXPECTING)
    turn.has_answer = has_answer
    assert turn.body is not None
    reading = asyncio.ensure_future(turn.body.read())  # noqa: TID251
    await asyncio.sleep(0)
    reading.cancel()

    assert transport.written == written


@pytest.mark.parametrize(
    ("has_answer", "written"), [(False, b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"), (True, b"")]
)
async def test_interim_heads_are_never_written_behind_the_answer(has_answer: bool, written: bytes) -> None:
    turn, _, transport = given(request())
    turn.has_answer = has_answer

    await turn.send_interim(ResponseHead(103, Fields([(b"A", b"b")])))

    assert transport.written == written


async def test_interim_heads_for_a_client_that_has_left_are_dropped() -> None:
    turn, _, transport = given(request())
    transport.is_closed = True

    await turn.send_interim(ResponseHead(103, Fields()))

    assert transport.written == b""
