from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from proxy.net.origin_connection import PIECE_BYTES, CloseCause, OriginConnection
from proxy.observe.tasks import spawn
from tests.support.departures import AtOnce
from tests.support.raw_origin import settle

ON_BOTH_LOOPS = True
MORE_THAN_A_SOCKET_TAKES = b"x" * 8_000_000


class Heard:
    """A receiver that writes down what it is told."""

    def __init__(self, *, stays_open: bool = False) -> None:
        self.events: list[object] = []
        self.told = asyncio.Event()
        self._stays_open = stays_open

    def _tell(self, event: object) -> None:
        self.events.append(event)
        self.told.set()

    def on_bytes(self, data: bytes) -> None:
        self._tell(data)

    def on_eof(self) -> bool:
        self._tell("eof")
        return self._stays_open

    def on_lost(self, error: Exception | None) -> None:
        self._tell(("lost", type(error)))

    def on_deadline(self) -> None:
        self._tell("deadline")


class Pair:
    """Our connection and the origin's plain socket at the other end."""

    def __init__(self, connection: OriginConnection, origin: socket.socket) -> None:
        self.connection = connection
        self.origin = origin
        self.causes: list[CloseCause] = []
        self.ended = asyncio.Event()
        connection.on_closed = self._on_closed

    def _on_closed(self, connection: OriginConnection, cause: CloseCause) -> None:
        self.causes.append(cause)
        self.ended.set()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    ours, origin = socket.socketpair()
    ours.setblocking(False)
    connection = OriginConnection(opened_at=0, departures=AtOnce())
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
    yield Pair(connection, origin)
    connection.close(CloseCause.SHUTDOWN)
    origin.close()
    await settle()


async def test_bytes_while_idle_end_it(pair: Pair) -> None:
    pair.origin.send(b"HTTP/1.1 200 OK\r\n")
    await pair.ended.wait()

    assert pair.causes == [CloseCause.IDLE_DATA]
    assert not pair.connection.is_usable()


async def test_a_close_while_idle_ends_it(pair: Pair) -> None:
    pair.origin.close()
    await pair.ended.wait()

    assert pair.causes == [CloseCause.ORIGIN_CLOSED]


@pytest.mark.parametrize("sent", [b"x", b""], ids=["byte", "close"])
async def test_what_only_the_kernel_has_makes_it_unusable(pair: Pair, sent: bytes) -> None:
    before = pair.connection.is_usable()
    if sent:
        pair.origin.send(sent)
    else:
        pair.origin.shutdown(socket.SHUT_WR)

    assert before
    assert not pair.connection.is_usable()


async def test_no_piece_is_larger_than_what_a_small_container_can_hold(pair: Pair) -> None:
    heard = Heard()
    pair.connection.receiver = heard
    pair.origin.setblocking(True)
    sent = bytes(range(256)) * 1024
    await asyncio.to_thread(pair.origin.sendall, sent)
    pieces: list[bytes] = []
    async with asyncio.timeout(5):
        while sum(map(len, pieces)) < len(sent):
            await settle()
            pieces = [event for event in heard.events if isinstance(event, bytes)]

    assert b"".join(pieces) == sent
    assert max(map(len, pieces)) == PIECE_BYTES


async def test_its_receiver_hears_everything_and_decides(pair: Pair) -> None:
    heard = Heard()
    pair.connection.receiver = heard
    pair.origin.send(b"abc")
    await heard.told.wait()
    pair.origin.close()
    await pair.ended.wait()

    assert heard.events == [b"abc", "eof", ("lost", type(None))]
    assert pair.causes == [CloseCause.ORIGIN_CLOSED]


async def test_half_open_it_still_sends(pair: Pair) -> None:
    heard = Heard(stays_open=True)
    pair.connection.receiver = heard
    pair.origin.shutdown(socket.SHUT_WR)
    await heard.told.wait()
    pair.connection.write((b"still", b"here"))
    await settle()

    assert pair.origin.recv(100) == b"stillhere"
    assert pair.causes == []


async def test_our_side_may_end_first(pair: Pair) -> None:
    heard = Heard()
    pair.connection.receiver = heard
    pair.connection.write((b"last",))
    pair.connection.write_eof()
    await settle()
    pair.origin.send(b"answer")
    await heard.told.wait()

    assert pair.origin.recv(100) == b"last"
    assert pair.origin.recv(100) == b""
    assert heard.events == [b"answer"]


async def test_detached_it_is_idle_again(pair: Pair) -> None:
    heard = Heard()
    pair.connection.receiver = heard
    pair.connection.deadline.set(0.001)
    pair.connection.pause_reading()
    pair.connection.detach()
    pair.origin.send(b"late")
    await pair.ended.wait()

    assert heard.events == []
    assert pair.causes == [CloseCause.IDLE_DATA]


async def test_a_deadline_ends_with_its_exchange(pair: Pair) -> None:
    pair.connection.receiver = Heard()
    pair.connection.deadline.set(0.001)
    pair.connection.detach()
    following = Heard()
    pair.connection.receiver = following
    await asyncio.sleep(0.02)

    assert following.events == []


async def test_the_deadline_is_the_receivers(pair: Pair) -> None:
    heard = Heard()
    pair.connection.receiver = heard
    pair.connection.deadline.set(0.001)
    await heard.told.wait()

    assert heard.events == ["deadline"]


async def test_it_ends_once_and_tells_why(pair: Pair) -> None:
    heard = Heard()
    pair.connection.receiver = heard
    pair.connection.close(CloseCause.LIFETIME)
    pair.connection.close(CloseCause.ERROR)
    await settle()

    assert pair.causes == [CloseCause.LIFETIME]
    assert heard.events == []
    assert pair.origin.recv(1) == b""


async def test_closed_it_takes_nothing_and_waits_for_nothing(pair: Pair) -> None:
    pair.connection.close(CloseCause.ERROR)
    pair.connection.write((b"x",))
    pair.connection.write_eof()
    pair.connection.pause_reading()
    pair.connection.resume_reading()

    assert await pair.connection.drain(10)


async def test_a_full_buffer_makes_writers_wait_until_the_origin_reads(pair: Pair) -> None:
    pair.connection.write((MORE_THAN_A_SOCKET_TAKES,))
    draining = spawn("drain", pair.connection.drain(10))
    await settle()
    was_waiting = not draining.done()
    pair.origin.setblocking(False)
    while not draining.done():
        with_bytes = await asyncio.get_running_loop().sock_recv(pair.origin, 1_000_000)
        assert with_bytes

    assert was_waiting
    assert await draining


async def test_an_origin_that_never_reads_is_waited_for_only_so_long(pair: Pair) -> None:
    pair.connection.write((MORE_THAN_A_SOCKET_TAKES,))

    assert not await pair.connection.drain(0.01)


async def test_the_end_wakes_writers(pair: Pair) -> None:
    pair.connection.write((MORE_THAN_A_SOCKET_TAKES,))
    draining = spawn("drain", pair.connection.drain(10))
    await settle()
    pair.connection.close(CloseCause.ERROR)

    assert await draining


async def test_ended_gently_it_still_sends_what_was_written(pair: Pair) -> None:
    data = b"x" * 3_000_000
    pair.connection.write((data,))
    pair.connection.close(CloseCause.TUNNEL, gently=True)
    pair.origin.setblocking(False)
    received = 0
    while piece := await asyncio.get_running_loop().sock_recv(pair.origin, 1_000_000):
        received += len(piece)

    assert received == len(data)


async def test_it_shows_its_state(pair: Pair) -> None:
    states = [repr(pair.connection)]
    pair.connection.is_reused = True
    pair.connection.receiver = Heard()
    states.append(repr(pair.connection))
    pair.connection.close(CloseCause.ERROR)
    states.append(repr(pair.connection))

    assert states == [
        "<OriginConnection idle>",
        "<OriginConnection busy reused>",
        "<OriginConnection closed reused>",
    ]


@pytest.mark.parametrize("size", [1, 100_000])
async def test_pieces_arrive_whole_and_in_order(pair: Pair, size: int) -> None:
    loop = asyncio.get_running_loop()
    pair.origin.setblocking(False)
    pieces = (b"head", b"a" * size, b"b" * size)
    pair.connection.write(pieces)
    pair.connection.write((b"c",))

    received = b""
    while len(received) < 5 + 2 * size:
        received += await loop.sock_recv(pair.origin, 1_000_000)
    assert received == b"".join((*pieces, b"c"))
