from __future__ import annotations

import asyncio

import pytest

from proxy.model import BodyBroken, FailureKind
from tests.support.origin_clients import (
    origin_client,
    request,
)
from tests.support.raw_origin import (
    OK,
    OriginEnd,
    RawOrigin,
    answering,
)

ON_BOTH_LOOPS = True


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream ;charset=utf-8\r\n\r\n"


async def streaming(end: OriginEnd) -> None:
    await end.head()
    await end.send(STREAM_HEAD)
    await end.wait_closed()


async def test_an_event_stream_leaves_its_slot_to_others_and_flushes_each_event() -> None:
    async def script(end: OriginEnd) -> None:
        if b"/events" in await end.head():
            await streamed(end)
        else:
            await end.send(OK)
            await end.wait_closed()

    async def streamed(end: OriginEnd) -> None:
        await end.send(STREAM_HEAD)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            await end.send(event)
            await taken.wait()
            taken.clear()
        end.close()

    taken = asyncio.Event()
    pool = {"min_idle": 0, "max_connections": 1}
    section = {"max_in_flight": 1, "pool": pool}
    async with RawOrigin(script) as origin, origin_client(origin.url, origin=section) as setup:
        stream = await setup.response(request("GET", b"/events"))
        first = await stream.body.read()
        held = (setup.gauge("origin_in_flight"), setup.gauge("tunnels_open"))
        meanwhile = await setup.text(request())
        taken.set()
        second = await stream.body.read()
        taken.set()

        assert (first, second, meanwhile) == (b"data: 1\n\n", b"data: 2\n\n", b"ok")
        assert held == (0, 1)
        assert await stream.body.read() == b""
        assert setup.gauge("tunnels_open") == 0
        assert setup.closed("tunnel") == 1


async def test_event_streams_beyond_the_limit_are_refused() -> None:
    async with RawOrigin(streaming) as origin, origin_client(origin.url, limits={"tunnels": 1}) as setup:
        stream = await setup.response(request())
        failure = await setup.failure(request())

        assert failure.kind is FailureKind.TUNNELS_FULL
        assert failure.kind.status == 503
        assert setup.gauge("origin_in_flight") == 0
        stream.body.abandon()
        assert setup.gauge("tunnels_open") == 0


async def test_an_event_stream_may_be_silent_for_as_long_as_a_tunnel() -> None:
    async with (
        RawOrigin(streaming) as origin,
        origin_client(origin.url, origin={"idle_timeout": 0.02}, limits={"tunnel_idle": 0.2}) as setup,
    ):
        stream = await setup.response(request())
        await asyncio.sleep(0.08)
        is_open = setup.gauge("tunnels_open")

        assert is_open == 1
        with pytest.raises(BodyBroken) as raised:
            await stream.body.read()
        assert raised.value.failure.kind is FailureKind.IDLE_TIMEOUT


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-streams\r\nContent-Length: 3\r\n\r\nok",
    ],
    ids=["whole already", "another media type"],
)
async def test_what_only_resembles_an_event_stream_takes_no_slot_of_tunnels(raw: bytes) -> None:
    async with RawOrigin(answering(raw)) as origin, origin_client(origin.url, limits={"tunnels": 0}) as setup:
        response = await setup.response(request())

        assert await response.body.read() == b"ok"
        response.body.abandon()


async def test_closing_ends_event_streams() -> None:
    async with RawOrigin(streaming) as origin, origin_client(origin.url) as setup:
        stream = await setup.response(request())
        await setup.client.aclose(0.01)

        with pytest.raises(BodyBroken):
            await stream.body.read()
        assert setup.gauge("tunnels_open") == 0
