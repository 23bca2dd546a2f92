"""What is written in one pass of the loop leaves at its end: all of it, in order, nothing behind a close."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.model import Answer, Request
from proxy.net.client_output import ClientOutput
from proxy.net.departures import MOST_HELD_BYTES, Departing, Departures, Outgoing
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from tests.support.canned_flow import CannedBody, CannedFlow, answer, serving
from tests.support.raw_client import request, settle
from tests.support.stepped_transport import SteppedTransport


class Noted(SteppedTransport):
    """Notes each write, and who wrote before whom."""

    def __init__(self, log: list[tuple[object, ...]]) -> None:
        super().__init__()
        self.log = log

    def write(self, data: bytes) -> None:
        super().write(data)
        self.log.append((self, data))

    def write_eof(self) -> None:
        super().write_eof()
        self.log.append((self, "eof"))

    def close(self) -> None:
        self.is_closed = True
        self.log.append((self, "closed"))

    def can_write_eof(self) -> bool:
        return True

    def resume_reading(self) -> None:
        """It was never paused."""

    def is_reading(self) -> bool:
        return True


class Site:
    """Connections whose writes go into one log."""

    def __init__(self) -> None:
        self.log: list[tuple[object, ...]] = []
        self.departures = Departures()

    def transport(self) -> Any:
        return Noted(self.log)

    def outgoing(self, transport: Any) -> Outgoing:
        outgoing = Outgoing(self.departures)
        outgoing.transport = transport
        return outgoing

    def client(self, transport: Any) -> ClientOutput:
        loop = asyncio.get_running_loop()
        output = ClientOutput(idle_seconds=60, metrics=Metrics(), loop=loop, departures=self.departures)
        output.connect(transport)
        return output

    def origin(self, transport: Any) -> OriginConnection:
        connection = OriginConnection(opened_at=0, departures=self.departures)
        connection.transport = transport
        return connection


@pytest.fixture
def site() -> Site:
    return Site()


async def test_nothing_leaves_before_the_end_of_the_pass(site: Site) -> None:
    one, other = site.transport(), site.transport()
    first, second = site.outgoing(one), site.outgoing(other)

    first.hold(b"a")
    second.hold(b"b")
    first.hold(b"c")
    assert site.log == []
    await asyncio.sleep(0)

    assert site.log == [(one, b"ac"), (other, b"b")]


async def test_each_pass_has_its_own_end(site: Site) -> None:
    transport = site.transport()
    outgoing = site.outgoing(transport)

    for piece in (b"a", b"b"):
        outgoing.hold(piece)
        await asyncio.sleep(0)
        transport.unsent = 0

    assert site.log == [(transport, b"a"), (transport, b"b")]


@pytest.mark.parametrize("before", [b"", b"head"])
async def test_what_is_too_much_to_hold_leaves_at_once_in_order(site: Site, before: bytes) -> None:
    transport, large = site.transport(), b"x" * (MOST_HELD_BYTES - len(before) + 1)
    outgoing = site.outgoing(transport)
    if before:
        outgoing.hold(before)

    outgoing.hold(large)

    assert transport.written == before + large


async def test_nothing_is_held_while_something_is_unsent(site: Site) -> None:
    transport = site.transport()
    outgoing = site.outgoing(transport)
    outgoing.hold(b"a")
    await asyncio.sleep(0)

    outgoing.hold(b"b")
    assert transport.written == b"ab"
    transport.unsent = 0
    outgoing.hold(b"c")
    assert transport.written == b"ab"
    await asyncio.sleep(0)
    assert transport.written == b"abc"


async def test_as_much_as_may_be_held_is_held(site: Site) -> None:
    transport = site.transport()
    site.outgoing(transport).hold(b"x" * MOST_HELD_BYTES)

    assert site.log == []
    await asyncio.sleep(0)
    assert len(transport.written) == MOST_HELD_BYTES


async def test_what_has_departed_early_leaves_once(site: Site) -> None:
    transport = site.transport()
    outgoing = site.outgoing(transport)
    outgoing.hold(b"a")

    outgoing.depart()
    await asyncio.sleep(0)

    assert site.log == [(transport, b"a")]


async def test_a_transport_that_is_closing_gets_nothing(site: Site) -> None:
    transport = site.transport()
    site.outgoing(transport).hold(b"a")
    transport.close()
    await asyncio.sleep(0)

    assert site.log == [(transport, "closed")]


async def test_one_that_crashes_does_not_keep_the_others(site: Site) -> None:
    class Broken(Departing):
        def depart(self) -> None:
            raise RuntimeError("a fault of ours")

    transport = site.transport()
    site.departures.begin()
    site.departures.waiting.append(Broken())
    site.outgoing(transport).hold(b"a")
    with capture_logs() as lines:
        await asyncio.sleep(0)

    assert site.log == [(transport, b"a")]
    assert [line["event"] for line in lines] == ["a departure crashed"]


async def test_a_client_gets_its_answer_before_our_end(site: Site) -> None:
    transport = site.transport()
    output = site.client(transport)

    output.write(b"answer")
    output.write_eof()

    assert site.log == [(transport, b"answer"), (transport, "eof")]


async def test_a_connection_that_is_being_closed_has_sent_its_answer(site: Site) -> None:
    transport = site.transport()
    output = site.client(transport)

    output.write(b"answer")
    output.watch_flush()

    assert site.log == [(transport, b"answer")]
    output.disconnect()


async def test_a_client_that_is_cut_off_gets_no_more(site: Site) -> None:
    transport = site.transport()
    output = site.client(transport)

    output.write(b"half")
    output.abort()
    await asyncio.sleep(0)

    assert transport.is_aborted
    assert transport.written == b""


async def test_a_client_that_has_left_gets_no_more(site: Site) -> None:
    transport = site.transport()
    output = site.client(transport)

    output.write(b"answer")
    output.disconnect()
    await asyncio.sleep(0)

    assert transport.written == b""
    with pytest.raises(ConnectionResetError):
        output.write(b"more")


async def test_a_request_and_its_pieces_reach_the_origin_as_one(site: Site) -> None:
    transport = site.transport()
    connection = site.origin(transport)

    connection.write((b"head", b"body"))
    connection.write((b"more",))
    await asyncio.sleep(0)

    assert site.log == [(transport, b"headbodymore")]


async def test_the_origin_gets_all_before_our_end(site: Site) -> None:
    transport = site.transport()
    connection = site.origin(transport)

    connection.write((b"last",))
    connection.write_eof()

    assert site.log == [(transport, b"last"), (transport, "eof")]


async def test_what_ends_gently_is_sent(site: Site) -> None:
    transport = site.transport()
    connection = site.origin(transport)

    connection.write((b"last",))
    connection.close(CloseCause.TUNNEL, gently=True)

    assert site.log == [(transport, b"last"), (transport, "closed")]


async def test_what_is_cut_off_is_not_sent(site: Site) -> None:
    transport = site.transport()
    connection = site.origin(transport)

    connection.write((b"request",))
    connection.close(CloseCause.ABANDONED)
    await asyncio.sleep(0)

    assert transport.is_aborted
    assert transport.written == b""


async def test_a_connection_that_is_lost_sends_nothing(site: Site) -> None:
    transport = site.transport()
    connection = site.origin(transport)

    connection.write((b"request",))
    connection.connection_lost(None)
    await asyncio.sleep(0)

    assert transport.written == b""


async def test_a_client_that_takes_less_than_the_next_piece_is_not_cut_off(site: Site) -> None:
    transport = site.transport()
    output = ClientOutput(
        idle_seconds=0.05,
        metrics=Metrics(),
        loop=asyncio.get_running_loop(),
        departures=site.departures,
    )
    output.connect(transport)
    output.write(b"a" * 70_000)
    output.pause()

    async def take_slowly() -> None:
        for _ in range(3):
            await asyncio.sleep(0.03)
            transport.unsent -= 10_000
        output.resume()

    taking = spawn("client", take_slowly())
    output.write(b"b" * 30_000)
    await output.drained()
    await taking

    assert not transport.is_aborted


@pytest.mark.parametrize("has_lane", [True, False])
async def test_what_no_client_has_taken_is_not_counted_as_sent(*, has_lane: bool) -> None:
    flow, gate = CannedFlow(), asyncio.Event()
    body = CannedBody(b"a" * 60_000, gate, b"b" * 60_000, length=120_000)

    async def handler(_: Request) -> Answer:
        return answer(body)

    flow.handler = handler
    async with serving(flow, write_idle=0.1, plain_lane=has_lane) as served:
        listening = socket.socket(fileno=os.dup(served.listener._servers[0].sockets[0].fileno()))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_608)
        with listening, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, served.where)
            await loop.sock_sendall(client, request("/a"))
            await settle()
            gate.set()
            async with asyncio.timeout(5):
                while not served.records:  # noqa: ASYNC110 - a state, not an event
                    await asyncio.sleep(0.01)

    (record,) = served.records
    assert not record.complete
