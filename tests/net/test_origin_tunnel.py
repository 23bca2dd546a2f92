from __future__ import annotations

import asyncio
from pathlib import Path

from proxy.model import FailureKind, Framing, OriginResponse, Request, Tunnel
from proxy.observe.tasks import spawn
from tests.support.certificates import make_authority
from tests.support.origin_clients import Setup, origin_client, read_all, request
from tests.support.raw_origin import OriginEnd, RawOrigin, answering, settle

ON_BOTH_LOOPS = True
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"


def upgrade() -> Request:
    lines = ((b"Connection", b"Upgrade"), (b"Upgrade", b"chat"))
    return request("GET", b"/chat", *lines, upgrade=True)


async def echo(end: OriginEnd) -> None:
    """Switches, says hello at once, then echoes."""
    await end.head()
    await end.send(SWITCH + b"hello")
    while True:
        await end.send(await end.exactly(1))


async def opened(setup: Setup) -> Tunnel:
    response = await setup.response(upgrade())
    assert response.tunnel is not None
    return response.tunnel


async def read_until(tunnel: Tunnel, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += await tunnel.read()
    return received


async def test_after_101_bytes_go_both_ways_those_behind_the_head_first() -> None:
    async with RawOrigin(echo) as origin, origin_client(origin.url) as setup:
        response = await setup.response(upgrade())
        tunnel = response.tunnel
        assert tunnel is not None
        await tunnel.write(b"abc")

        assert response.head.status == 101
        assert response.head.fields.values(b"upgrade") == [b"chat"]
        assert await read_until(tunnel, 8) == b"helloabc"
        sent = bytes(origin.connections[0].received)
        assert sent.startswith(b"GET /chat HTTP/1.1\r\nHost: shop.example\r\n")
        assert sent.endswith(b"Connection: Upgrade\r\nUpgrade: chat\r\n\r\nabc")
        assert setup.metrics.tunnels.get() == 1
        tunnel.close()


async def test_a_tunnel_holds_its_own_slot_and_gives_it_back_once() -> None:
    async with RawOrigin(echo) as origin, origin_client(origin.url) as setup:
        tunnel = await opened(setup)
        held = (setup.gauge("origin_in_flight"), setup.gauge("tunnels_open"))
        in_pool = setup.gauge("origin_pool", "in-use")
        tunnel.close()
        tunnel.close()

        assert held == (0, 1)
        assert in_pool == 0
        assert setup.gauge("tunnels_open") == 0
        assert setup.closed("tunnel") == 1


async def test_beyond_the_limit_an_upgrade_is_refused_and_the_origin_sees_nothing() -> None:
    async with RawOrigin(echo) as origin, origin_client(origin.url, limits={"tunnels": 1}) as setup:
        tunnel = await opened(setup)
        failure = await setup.failure(upgrade())

        assert failure.kind is FailureKind.TUNNELS_FULL
        assert len(origin.connections) == 1
        tunnel.close()


async def test_two_upgrades_for_the_last_slot_get_one_tunnel() -> None:
    async with RawOrigin(echo) as origin, origin_client(origin.url, limits={"tunnels": 1}) as setup:
        outcomes = await asyncio.gather(setup.fetch(upgrade()), setup.fetch(upgrade()))
        tunnels = [outcome.tunnel for outcome in outcomes if isinstance(outcome, OriginResponse)]

        assert len(tunnels) == 1
        assert tunnels[0] is not None
        assert setup.gauge("origin_in_flight") == 0
        tunnels[0].close()


async def test_a_declined_upgrade_is_an_ordinary_response() -> None:
    declined = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: chat\r\nContent-Length: 2\r\n\r\nno"
    async with RawOrigin(answering(declined)) as origin, origin_client(origin.url) as setup:
        response = await setup.response(upgrade())

        assert response.tunnel is None
        assert response.framing is Framing.LENGTH
        assert await read_all(response.body) == b"no"


async def test_an_upgrade_never_takes_a_used_connection() -> None:
    plain = b"HTTP/1.1 204 No Content\r\n\r\n"

    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(plain if len(origin.connections) == 1 else SWITCH)
        await end.wait_closed()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        await setup.response(request())
        tunnel = await opened(setup)

        assert len(origin.connections) == 2
        assert setup.gauge("origin_pool", "idle") == 1
        tunnel.close()


async def test_the_origins_end_is_the_end_of_reading_only() -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(SWITCH + b"bye")
        end.close_sending_side()
        await end.exactly(5)

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        tunnel = await opened(setup)
        said = [await tunnel.read(), await tunnel.read(), await tunnel.read()]
        await tunnel.write(b"still")
        await settle()

        assert said == [b"bye", b"", b""]
        assert origin.connections[0].received.endswith(b"still")
        tunnel.close()


async def test_our_end_is_the_end_of_writing_only() -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(SWITCH)
        await end.wait_closed()
        await end.send(b"all heard")

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        tunnel = await opened(setup)
        await tunnel.write(b"last")
        tunnel.write_eof()

        assert await read_until(tunnel, 9) == b"all heard"
        tunnel.close()


async def test_over_tls_neither_end_can_close_alone_but_bytes_pass(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    context = authority.server_context(alternative="IP:127.0.0.1")
    tls = {"ca_file": authority.ca_file}
    async with (
        RawOrigin(echo, tls=context) as origin,
        origin_client(origin.url, origin={"tls": tls}) as setup,
    ):
        tunnel = await opened(setup)
        tunnel.write_eof()
        await tunnel.write(b"abc")

        assert await read_until(tunnel, 8) == b"helloabc"
        origin.connections[0].close()
        assert await tunnel.read() == b""
        tunnel.close()


async def test_a_reset_ends_both_directions_and_gives_the_slot_back() -> None:
    async with RawOrigin(echo) as origin, origin_client(origin.url) as setup:
        tunnel = await opened(setup)
        await read_until(tunnel, 5)
        reading = spawn("reader", tunnel.read())
        await settle()
        origin.connections[0].reset()

        assert await reading == b""
        await tunnel.write(b"into the void")
        assert setup.gauge("tunnels_open") == 0


async def test_a_silent_tunnel_is_ended() -> None:
    async with (
        RawOrigin(echo) as origin,
        origin_client(origin.url, limits={"tunnel_idle": 0.05}) as setup,
    ):
        tunnel = await opened(setup)

        assert await read_until(tunnel, 5) == b"hello"
        assert await tunnel.read() == b""
        assert setup.gauge("tunnels_open") == 0


async def test_bytes_in_either_direction_keep_a_tunnel_open() -> None:
    async def listening(end: OriginEnd) -> None:
        await end.head()
        await end.send(SWITCH)
        await end.wait_closed()

    async with (
        RawOrigin(listening) as origin,
        origin_client(origin.url, limits={"tunnel_idle": 0.2}) as setup,
    ):
        tunnel = await opened(setup)
        for _ in range(6):
            await asyncio.sleep(0.06)
            await tunnel.write(b"x")

        assert setup.gauge("tunnels_open") == 1
        tunnel.close()


async def test_an_origin_that_takes_no_bytes_ends_the_tunnel() -> None:
    async def deaf(end: OriginEnd) -> None:
        await end.head()
        await end.send(SWITCH)
        end.stop_reading()
        await end.wait_closed()

    async with (
        RawOrigin(deaf) as origin,
        origin_client(origin.url, limits={"tunnel_idle": 0.05}) as setup,
    ):
        tunnel = await opened(setup)
        await tunnel.write(b"x" * 20_000_000)

        assert await tunnel.read() == b""
        assert setup.gauge("tunnels_open") == 0


async def test_what_was_written_before_the_end_still_arrives() -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(SWITCH)
        await end.exactly(3_000_000)
        done.set()

    done = asyncio.Event()
    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        tunnel = await opened(setup)
        writing = spawn("writer", tunnel.write(b"x" * 3_000_000))
        await settle()
        tunnel.close()
        await writing
        async with asyncio.timeout(5):
            await done.wait()


async def test_101_to_an_ordinary_request_is_a_faulty_head() -> None:
    async with (
        RawOrigin(answering(SWITCH)) as origin,
        origin_client(origin.url) as setup,
    ):
        failure = await setup.failure(request())

        assert failure.kind is FailureKind.INVALID_HEAD
