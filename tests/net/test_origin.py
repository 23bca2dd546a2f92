from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.model import BodyBroken, FailureKind, OriginResponse, Request, ResponseHead
from proxy.observe.tasks import spawn
from tests.support.certificates import make_authority
from tests.support.origin_clients import (
    ROUTE,
    GatedBody,
    Setup,
    Stepped,
    origin_client,
    read_all,
    request,
)
from tests.support.raw_origin import (
    OK,
    OriginEnd,
    RawOrigin,
    always,
    answering,
    held_open,
    settle,
    silent,
)

ON_BOTH_LOOPS = True
GET_HEAD = b"GET / HTTP/1.1\r\nHost: shop.example\r\nVia: 1.1 sidecache\r\n\r\n"


async def test_a_connection_is_used_again() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        for _ in range(3):
            assert await setup.text(request()) == b"ok"

        assert origin.connections[0].received == GET_HEAD * 3
        assert setup.metrics.origin_connections_created.get() == 1


async def test_min_idle_connections_are_opened_ahead_and_kept() -> None:
    async with (
        RawOrigin(always(OK)) as origin,
        origin_client(origin.url, origin={"pool": {"min_idle": 2}}) as setup,
    ):
        await origin.connected(2)
        await settle()

        assert setup.gauge("origin_pool", "idle") == 2
        assert await setup.text(request()) == b"ok"
        assert setup.gauge("origin_pool", "idle") == 2


async def test_an_origin_that_is_away_at_the_start_is_found_later() -> None:
    async with RawOrigin(silent) as gone:
        port = gone.port
    async with origin_client(f"http://127.0.0.1:{port}", origin={"pool": {"min_idle": 2}}) as setup:
        assert (await setup.failure(request())).kind is FailureKind.REFUSED


async def test_a_connection_past_its_life_is_replaced() -> None:
    monotonic = Stepped()
    pool = {"min_idle": 0, "max_lifetime": 100}
    async with (
        RawOrigin(always(OK)) as origin,
        origin_client(origin.url, origin={"pool": pool}, monotonic=monotonic) as setup,
    ):
        await setup.text(request())
        monotonic.now += 50
        await setup.text(request())
        monotonic.now += 50
        await setup.text(request())

        assert len(origin.connections) == 2
        assert setup.closed("lifetime") == 1


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    async with (
        RawOrigin(always(OK), path=tmp_path / "api.sock") as origin,
        origin_client(origin.url) as setup,
    ):
        assert await setup.text(request()) == b"ok"
        assert await setup.text(request()) == b"ok"
        assert len(origin.connections) == 1


async def test_over_tls(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    context = authority.server_context(alternative="IP:127.0.0.1")
    origin_section = {"tls": {"ca_file": authority.ca_file}}
    async with (
        RawOrigin(always(OK), tls=context) as origin,
        origin_client(origin.url, origin=origin_section) as setup,
    ):
        assert await setup.text(request()) == b"ok"
        await settle()
        assert await setup.text(request()) == b"ok"
        assert len(origin.connections) == 1


async def test_beyond_max_in_flight_requests_wait_and_then_are_refused() -> None:
    section = {"max_in_flight": 1, "queue": {"size": 1, "timeout": 10}}
    async with RawOrigin(held_open) as origin, origin_client(origin.url, origin=section) as setup:
        held = await setup.response(request("GET", b"/held"))
        waiting = spawn("waiting", setup.response(request()))
        await settle()
        refused = await setup.failure(request())
        gauges = (setup.gauge("origin_in_flight"), setup.gauge("origin_queue"))
        held.body.abandon()

        assert refused.kind is FailureKind.QUEUE_FULL
        assert refused.kind.status == 503
        assert gauges == (1, 1)
        assert await read_all((await waiting).body) == b"ok"
        assert setup.metrics.shed_requests.values == {("queue-full",): 1}


@pytest.mark.parametrize(
    "section",
    [{"queue": {"timeout": 0.02}}, {"pool": {"acquire_timeout": 0.02, "min_idle": 0}}],
    ids=["queue.timeout", "pool.acquire_timeout"],
)
async def test_waiting_for_a_place_has_an_end(section: dict[str, object]) -> None:
    async with (
        RawOrigin(held_open) as origin,
        origin_client(origin.url, origin={"max_in_flight": 1, **section}) as setup,
    ):
        held = await setup.response(request("GET", b"/held"))

        assert (await setup.failure(request())).kind is FailureKind.QUEUE_TIMEOUT
        assert setup.gauge("origin_queue") == 0
        held.body.abandon()


async def test_a_place_is_free_once_the_body_has_arrived_though_nobody_has_read_it() -> None:
    async with (
        RawOrigin(always(OK)) as origin,
        origin_client(origin.url, origin={"max_in_flight": 1}) as setup,
    ):
        unread = await setup.response(request())
        await settle()

        assert setup.is_at_rest()
        assert await setup.text(request()) == b"ok"
        assert await read_all(unread.body) == b"ok"


async def test_connecting_is_bounded_by_acquire_timeout_too() -> None:
    pool = {"acquire_timeout": 0.05, "min_idle": 0}
    async with (
        RawOrigin(silent) as origin,
        origin_client(f"https://127.0.0.1:{origin.port}", origin={"pool": pool}) as setup,
    ):
        assert (await setup.failure(request())).kind is FailureKind.POOL_EXHAUSTED
        await settle()


async def test_a_handshake_that_never_comes_is_a_connect_timeout() -> None:
    async with (
        RawOrigin(silent) as origin,
        origin_client(f"https://127.0.0.1:{origin.port}", origin={"connect_timeout": 0.05}) as setup,
    ):
        assert (await setup.failure(request())).kind is FailureKind.CONNECT_TIMEOUT
        await settle()


async def test_a_hundred_requests_at_once_share_the_places_and_all_are_answered() -> None:
    section = {"max_in_flight": 8, "queue": {"size": 100, "timeout": 10}}
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url, origin=section) as setup:
        bodies = await asyncio.gather(*[setup.text(request()) for _ in range(100)])

        assert bodies == [b"ok"] * 100
        assert len(origin.connections) <= 8


async def cancelled_when(setup: Setup, given: Request, reached: Callable[[], Awaitable[object]]) -> None:
    fetching = spawn("fetching", setup.fetch(given))
    await reached()
    await settle()
    fetching.cancel()
    await asyncio.wait([fetching])
    await settle()
    assert fetching.cancelled()
    assert setup.is_at_rest()
    assert setup.metrics.origin_requests.get(ROUTE, "cancelled") == 1


async def test_cancelled_while_it_waits_for_a_place() -> None:
    section = {"max_in_flight": 1}
    async with RawOrigin(held_open) as origin, origin_client(origin.url, origin=section) as setup:
        held = await setup.response(request("GET", b"/held"))
        waiting = spawn("waiting", setup.fetch(request()))
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        queued = setup.gauge("origin_queue")
        held.body.abandon()

        assert queued == 0
        assert setup.is_at_rest()


async def test_cancelled_while_it_connects() -> None:
    async with RawOrigin(silent) as origin, origin_client(f"https://127.0.0.1:{origin.port}") as setup:
        await cancelled_when(setup, request(), origin.connected)
        await (await origin.connected()).wait_closed()


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 20", b"HTTP/1.1 103 X\r\n\r\n"], ids=["nothing", "half a head", "interim"]
)
async def test_cancelled_while_it_waits_for_the_head(said: bytes) -> None:
    heard = asyncio.Event()

    async def script(end: OriginEnd) -> None:
        await end.head()
        if said:
            await end.send(said)
        heard.set()
        await end.wait_closed()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        await cancelled_when(setup, request(), heard.wait)
        await origin.connections[0].wait_closed()

        assert setup.closed("abandoned") == 1


async def test_cancelled_while_it_sends_the_body() -> None:
    body = GatedBody(length=6)
    body.give(b"abc")
    async with RawOrigin(silent) as origin, origin_client(origin.url) as setup:
        await cancelled_when(setup, request("POST", body=body), origin.connected)

        assert body.is_abandoned


async def test_cancelled_while_it_hands_on_an_interim_head() -> None:
    called = asyncio.Event()

    async def never(head: ResponseHead) -> None:
        called.set()
        await asyncio.Event().wait()

    async with (
        RawOrigin(answering(b"HTTP/1.1 103 X\r\n\r\n" + OK)) as origin,
        origin_client(origin.url) as setup,
    ):
        await cancelled_when(setup, request(on_interim=never), called.wait)


async def test_cancelled_in_the_very_turn_in_which_the_head_arrives() -> None:
    async with RawOrigin(held_open) as origin, origin_client(origin.url) as setup:
        for turns in range(30):
            fetching = spawn("fetching", setup.fetch(request("GET", b"/held")))
            for _ in range(turns):
                await asyncio.sleep(0)
            if fetching.done():
                outcome = fetching.result()
                assert isinstance(outcome, OriginResponse)
                outcome.body.abandon()
            fetching.cancel()
            await asyncio.wait([fetching])
            await settle()
            assert setup.is_at_rest(), turns
        assert origin.connections


async def test_closing_waits_for_requests_and_refuses_new_ones() -> None:
    answer = asyncio.Event()

    async def script(end: OriginEnd) -> None:
        await end.head()
        await answer.wait()
        await end.send(OK)

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        fetching = spawn("fetching", setup.text(request()))
        await origin.connected()
        await settle()
        closing = spawn("closing", setup.client.aclose(10))
        await settle()
        refused = await setup.failure(request())
        answer.set()
        await closing

        assert refused.kind is FailureKind.CLOSED
        assert await fetching == b"ok"
        assert setup.closed("shutdown") == 1


async def test_closing_ends_what_does_not_end_by_itself() -> None:
    async with (
        RawOrigin(held_open) as origin,
        origin_client(origin.url, origin={"max_in_flight": 1}) as setup,
    ):
        held = await setup.response(request("GET", b"/held"))
        waiting = spawn("waiting", setup.failure(request()))
        await settle()
        await setup.client.aclose(0.01)

        with pytest.raises(BodyBroken) as raised:
            await read_all(held.body)
        assert raised.value.failure.kind is FailureKind.CLOSED
        assert (await waiting).kind is FailureKind.CLOSED
        await origin.connections[0].wait_closed()


async def test_a_slow_answer_is_logged_with_the_clients_trace() -> None:
    trace = (b"traceparent", b"00-a-b-01")
    async with (
        RawOrigin(always(OK)) as origin,
        origin_client(origin.url, origin={"slow_after": 0}) as setup,
    ):
        with capture_logs() as lines:
            await setup.text(request("GET", b"/slow", trace))

    slow = [line for line in lines if line["event"] == "slow origin"]
    assert [(line["route"], line["traceparent"]) for line in slow] == [(ROUTE, "00-a-b-01")]


async def test_it_shows_its_state() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        await setup.text(request())

        assert repr(setup.client) == (
            f"<OriginClient {origin.url} <Admission in_flight=0 queued=0 tunnels=0> "
            "<Pool idle=1 in_use=0 opening=0>>"
        )
