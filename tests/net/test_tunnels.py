"""Tunnels between a raw client and an origin's end that the test holds: on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.model import Answer, CacheStatus, Forward, Request
from proxy.net.tunnels import pump
from tests.support.canned_flow import CannedBody, CannedFlow, Served, answer, serving
from tests.support.raw_client import RawClient, connected, request, settle

ON_BOTH_LOOPS = True

UPGRADE = request("/ws", "Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"


class OriginEnd:
    """The far end of a tunnel: the test reads what was written to it and says what it sends."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.has_eof = False
        self.is_closed = False
        self.is_broken = False
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.changed = asyncio.Event()
        self._sending: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        self._sending.put_nowait(data)

    async def until(self, size: int) -> bytes:
        async with asyncio.timeout(10):
            while len(self.got) < size:
                self.changed.clear()
                await self.changed.wait()
        return bytes(self.got)

    async def until_eof(self) -> None:
        async with asyncio.timeout(10):
            while not self.has_eof:
                self.changed.clear()
                await self.changed.wait()

    async def until_closed(self) -> None:
        async with asyncio.timeout(10):
            while not self.is_closed:
                self.changed.clear()
                await self.changed.wait()

    async def read(self) -> bytes:
        return await self._sending.get()

    async def write(self, data: bytes) -> None:
        if self.is_broken:
            raise ConnectionResetError
        await self.may_take.wait()
        self.got += data
        self.changed.set()

    def write_eof(self) -> None:
        self.has_eof = True
        self.changed.set()

    def close(self) -> None:
        self.is_closed = True
        self.changed.set()


def switching(origin: OriginEnd, gate: asyncio.Event) -> CannedFlow:
    """Switches once the gate opens."""
    flow = CannedFlow()

    async def handler(_request: Request) -> Answer:
        await gate.wait()
        return answer(b"", status=101, reason=b"", lines=SWITCHED, tunnel=origin)

    flow.handler = handler
    return flow


@asynccontextmanager
async def tunnelled(
    early: bytes = b"", **limits: object
) -> AsyncIterator[tuple[Served, RawClient, OriginEnd]]:
    origin, flow = OriginEnd(), CannedFlow()
    status = CacheStatus(forward=Forward.BYPASS)
    flow.always(
        lambda: answer(b"", status=101, reason=b"", lines=SWITCHED, tunnel=origin, cache_status=status)
    )
    async with serving(flow, **limits) as served, connected(served.where) as client:
        await client.send(UPGRADE + early)
        assert await client.head() == (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"
            b"Cache-Status: sidecache; fwd=bypass\r\nConnection: upgrade\r\n\r\n"
        )
        yield served, client, origin
    assert origin.is_closed


async def test_bytes_pass_both_ways_as_they_are() -> None:
    async with tunnelled() as (served, client, origin):
        ping = b"\x00ping\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        await client.send(ping)
        assert await origin.until(len(ping)) == ping
        origin.send(b"\xffpong")
        assert await client.exactly(5) == b"\xffpong"

        assert served.flow.requests[0].upgrade
        assert len(served.flow.requests) == 1


async def test_bytes_behind_the_request_are_the_tunnels() -> None:
    async with tunnelled(b"early" + request("/b")) as (served, client, origin):
        await client.send(b"late")

        assert await origin.until(9 + len(request("/b"))) == b"early" + request("/b") + b"late"
        assert len(served.flow.requests) == 1


@pytest.mark.parametrize("token", ["websocket", "foo/2"])
async def test_any_protocol_that_is_not_http_may_be_tunnelled(token: str) -> None:
    origin, flow = OriginEnd(), CannedFlow()
    flow.always(lambda: answer(b"", status=101, reason=b"", tunnel=origin))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/", "Connection: Upgrade", f"Upgrade: {token}") + b"early")
        await client.head()

        assert await origin.until(5) == b"early"


async def test_what_came_before_the_switch_is_the_tunnels_the_end_included() -> None:
    origin, gate = OriginEnd(), asyncio.Event()
    async with serving(switching(origin, gate)) as served, connected(served.where) as client:
        await client.send_cut(UPGRADE + b"early", len(UPGRADE))
        client.send_eof()
        await settle()
        gate.set()
        await client.head()
        await origin.until_eof()

        assert bytes(origin.got) == b"early"


async def test_a_client_that_left_before_the_switch_leaves_no_tunnel() -> None:
    origin, gate = OriginEnd(), asyncio.Event()
    async with serving(switching(origin, gate)) as served, connected(served.where) as client:
        await client.send(UPGRADE)
        await settle()
        client.reset()
        await settle()
        gate.set()
        await origin.until_closed()

        assert not served.records[0].complete


async def test_the_body_of_a_switch_is_left_alone() -> None:
    """The origin client's tunnel reads from it."""
    origin, body, flow = OriginEnd(), CannedBody(), CannedFlow()
    flow.always(lambda: answer(body, status=101, reason=b"", tunnel=origin))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(UPGRADE + b"early")
        await client.head()
        await origin.until(5)

        assert not body.is_abandoned
        assert not body.reads


async def test_is_recorded_once_when_it_begins() -> None:
    async with tunnelled() as (served, client, origin):
        (record,) = await served.records.until(1)
        origin.send(b"abc")
        await client.exactly(3)

        assert (record.status, record.sent, record.complete) == (101, 0, True)
        assert len(served.records) == 1


async def test_an_origin_that_ends_its_side_still_hears_the_client() -> None:
    async with tunnelled() as (_, client, origin):
        origin.send(b"bye")
        origin.send(b"")
        assert await client.rest() == b"bye"
        await client.send(b"more")

        assert await origin.until(4) == b"more"
        client.send_eof()
        await origin.until_eof()


async def test_a_client_that_ends_its_side_still_hears_the_origin() -> None:
    async with tunnelled() as (_, client, origin):
        await client.send(b"bye")
        client.send_eof()
        await origin.until_eof()
        assert bytes(origin.got) == b"bye"
        assert not origin.is_closed
        origin.send(b"more")
        origin.send(b"")

        assert await client.rest() == b"more"


async def test_one_side_ended_and_the_other_silent_ends_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.net.tunnels.HALF_CLOSED_SECONDS", 0.05)
    async with tunnelled() as (_, client, origin):
        client.send_eof()

        assert await client.is_closed()
        assert origin.is_closed


async def test_an_idle_tunnel_is_closed() -> None:
    async with tunnelled(tunnel_idle=0.05) as (_, client, origin):
        assert await client.is_closed()
        assert origin.is_closed


async def test_a_byte_in_either_direction_keeps_it_open() -> None:
    async with tunnelled(tunnel_idle=0.2) as (_, client, origin):
        for _ in range(3):
            await asyncio.sleep(0.1)
            await client.send(b"x")
        for _ in range(3):
            await asyncio.sleep(0.1)
            origin.send(b"y")

        assert await origin.until(3) == b"xxx"
        assert await client.exactly(3) == b"yyy"
        assert not origin.is_closed


async def test_a_client_that_vanishes_closes_the_origin_at_once() -> None:
    async with tunnelled() as (_, client, origin):
        client.reset()
        await origin.until_closed()


async def test_an_origin_that_breaks_closes_the_client() -> None:
    async with tunnelled() as (_, client, origin):
        origin.is_broken = True
        await client.send(b"x")

        assert await client.is_closed()


async def test_an_origin_that_takes_nothing_makes_the_client_wait() -> None:
    async with tunnelled() as (served, client, origin):
        origin.may_take.clear()
        data = b"x" * (16 * 1024 * 1024)
        sending = asyncio.ensure_future(client.send(data))  # noqa: TID251
        for _ in range(50):
            await settle()
        (connection,) = served.listener._connections.open
        assert connection._tunnel is not None

        assert not sending.done()
        assert connection._tunnel._held_bytes < 512 * 1024
        origin.may_take.set()
        await sending
        assert len(await origin.until(len(data))) == len(data)


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async with tunnelled(write_idle=0.1) as (served, _client, origin):
        for _ in range(200):
            origin.send(b"x" * 100_000)
        await origin.until_closed()

        assert served.metrics.client_timeouts.get("write") == 1


async def test_ends_with_the_listener() -> None:
    async with tunnelled() as (served, client, origin):
        await served.listener.finish(0.05)

        assert await client.is_closed()
        assert origin.is_closed


async def test_a_side_that_crashes_ends_both(caplog: pytest.LogCaptureFixture) -> None:
    class Crashing(OriginEnd):
        async def read(self) -> bytes:
            raise LookupError("a defect")

    one, other = OriginEnd(), Crashing()
    async with asyncio.timeout(5):
        await pump(one, other, idle_seconds=60)

    assert one.is_closed
    assert other.is_closed
