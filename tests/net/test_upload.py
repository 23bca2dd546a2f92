from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from proxy.model import BodyBroken, FailureKind, OriginFailure
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.upload import send_body
from proxy.observe.tasks import spawn
from tests.support.departures import AtOnce
from tests.support.origin_clients import GatedBody, GivenBody
from tests.support.raw_origin import settle

ON_BOTH_LOOPS = True
PATIENT = 10.0


class Wire:
    """A connection and what has come out at its other end."""

    def __init__(self, connection: OriginConnection, origin: socket.socket) -> None:
        self.connection = connection
        self.origin = origin

    async def sent(self) -> bytes:
        await settle()
        try:
            return self.origin.recv(1_000_000)
        except BlockingIOError:
            return b""


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    ours, origin = socket.socketpair()
    ours.setblocking(False)
    origin.setblocking(False)
    connection = OriginConnection(opened_at=0, departures=AtOnce())
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
    yield Wire(connection, origin)
    connection.close(CloseCause.SHUTDOWN)
    origin.close()
    await settle()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (GivenBody(b"ab", b"c", length=3), b"abc"),
        (GivenBody(b"ab", b"c" * 16), b"2\r\nab\r\n10\r\n" + b"c" * 16 + b"\r\n0\r\n\r\n"),
        (GivenBody(), b"0\r\n\r\n"),
        (GivenBody(length=0), b""),
    ],
    ids=["counted", "chunked", "chunked and empty", "counted and empty"],
)
async def test_a_body_is_framed_as_its_head_says(wire: Wire, body: GivenBody, expected: bytes) -> None:
    copy = GivenBody(*body._pieces, length=body.length)

    assert await send_body(copy, wire.connection, patience=PATIENT) is None
    assert await wire.sent() == expected


FAULTY = {
    "short": (GivenBody(b"ab", length=3), b"ab", "2 bytes, expected 3"),
    "empty": (GivenBody(length=3), b"", "0 bytes, expected 3"),
    "long": (GivenBody(b"ab", b"cd", length=3), b"ab", "4 bytes or more, expected 3"),
    "broken": (
        GivenBody(b"ab", BodyBroken(OriginFailure(FailureKind.CLIENT_BODY, "gone"))),
        b"2\r\nab\r\n",
        "client-body: gone",
    ),
}


@pytest.mark.parametrize("name", FAULTY)
async def test_a_body_that_is_not_as_stated_is_never_completed(wire: Wire, name: str) -> None:
    body, expected, detail = FAULTY[name]
    copy = GivenBody(*body._pieces, length=body.length)

    assert await send_body(copy, wire.connection, patience=PATIENT) == OriginFailure(
        FailureKind.CLIENT_BODY, detail
    )
    assert await wire.sent() == expected


async def test_each_piece_goes_out_as_it_comes(wire: Wire) -> None:
    body = GatedBody()
    sending = spawn("upload", send_body(body, wire.connection, patience=PATIENT))
    body.give(b"ab")
    first = await wire.sent()
    body.give(b"c", b"")
    rest = await wire.sent()
    await sending

    assert (first, rest) == (b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n")


async def test_a_client_is_not_read_ahead_of_an_origin_that_takes_no_bytes(wire: Wire) -> None:
    pieces = [b"x" * 1_000_000] * 20
    body = GivenBody(*pieces)
    sending = spawn("upload", send_body(body, wire.connection, patience=PATIENT))
    await settle()
    left = len(body._pieces)
    wire.connection.close(CloseCause.ABANDONED)
    await sending

    assert left >= 18


async def test_the_origins_patience_is_not_endless(wire: Wire) -> None:
    body = GivenBody(b"x" * 8_000_000)

    assert await send_body(body, wire.connection, patience=0.01) == OriginFailure(
        FailureKind.IDLE_TIMEOUT, "took no bytes for 0.01 s"
    )
