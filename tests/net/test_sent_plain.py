"""A plain request sent at once: what the origin gets of it, and what becomes of it when it is taken over."""

from __future__ import annotations

import pytest

from proxy.model import OriginFailure, OriginResponse, names_of
from proxy.net.received_body import WholeBody
from proxy.net.sent_plain import SentPlain
from tests.support.origin_clients import ROUTE, Setup, origin_client, read_all, request
from tests.support.raw_origin import OK, RawOrigin, always, settle

ON_BOTH_LOOPS = True

NAMES, VALUES = names_of((b"Host", b"X-A")), (b"shop.example", b"1")
SHUT_DOWN = b"shut down"
GIVEN = request("GET", b"/a", (b"X-A", b"1"))


class Waiting(SentPlain):
    """Keeps what it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[bytes] = []

    def on_bytes(self, data: bytes) -> None:
        self.received.append(data)

    def on_eof(self) -> bool:
        """No origin does it here, nor what is below."""
        return False

    def on_lost(self, error: Exception | None) -> None:
        """See above."""

    def on_deadline(self) -> None:
        """See above."""

    def shut_down(self) -> None:
        self.received.append(SHUT_DOWN)


def send(setup: Setup, waiting: Waiting) -> bool:
    return setup.client.try_send(waiting, b"GET /a", NAMES, VALUES, peer="", content=b"")


async def sent(setup: Setup) -> Waiting:
    """One that an idle connection has taken."""
    await setup.text(GIVEN)
    waiting = Waiting()
    assert send(setup, waiting)
    return waiting


async def test_without_an_idle_connection_nothing_is_sent_and_no_place_is_kept() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        assert not send(setup, Waiting())
        await settle()

        assert setup.is_at_rest()
        assert not origin.connections


async def test_without_a_place_nothing_is_sent() -> None:
    async with (
        RawOrigin(always(OK)) as origin,
        origin_client(origin.url, origin={"max_in_flight": 1}) as setup,
    ):
        first = await sent(setup)
        assert not send(setup, Waiting())
        await settle()
        setup.client.end(first, 200, route=ROUTE, seconds=0.0)
        second = Waiting()
        assert send(setup, second)
        await settle()
        setup.client.end(second, 200, route=ROUTE, seconds=0.0)

        assert setup.metrics.origin_requests.get(ROUTE, "2xx") == 3
        assert len(origin.connections) == 1


async def test_who_is_under_way_is_told_that_the_process_goes_away() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        ended, under_way = await sent(setup), Waiting()
        setup.client.end(ended, 200, route=ROUTE, seconds=0.0)
        assert send(setup, under_way)
        await setup.client.aclose(0)
        told = under_way.received, ended.received
        setup.client.end(under_way, 200, route=ROUTE, seconds=0.0)

        assert told == ([SHUT_DOWN], [])
        assert setup.closed("shutdown") == 1


async def test_the_origin_gets_what_it_gets_of_any_request() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        waiting = await sent(setup)
        await settle()
        received = bytes(origin.connections[0].received)

        assert received == received[: len(received) // 2] * 2
        assert waiting.received == [OK]
        setup.client.end(waiting, 200, route=ROUTE, seconds=0.0)


async def test_what_is_taken_over_is_waited_for_where_it_is() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        waiting = await sent(setup)
        taken = request("GET", b"/a", (b"X-A", b"1"), sent=waiting)
        setup.client.take_over(waiting, taken)
        response = await setup.fetch(taken)

        assert isinstance(response, OriginResponse)
        assert await read_all(response.body) == b"ok"
        assert origin.connections[0].received.count(b"GET /a") == 2
        assert not waiting.received


@pytest.mark.parametrize("content", [b"", b"abc"], ids=["alone", "with a body"])
@pytest.mark.parametrize(("method", "is_sent_again"), [("GET", True), ("PUT", True), ("POST", False)])
async def test_what_is_lost_is_sent_again_where_that_is_allowed(
    method: str, content: bytes, is_sent_again: bool
) -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        waiting = await sent(setup)
        body = WholeBody(len(content), content) if content else None
        taken = request(method, b"/a", (b"X-A", b"1"), sent=waiting, body=body)
        setup.client.take_over(waiting, taken).on_lost(ConnectionResetError())
        waiting.connection.transport.abort()  # type: ignore[union-attr]
        outcome = await setup.fetch(taken)

        assert isinstance(outcome, OriginResponse if is_sent_again else OriginFailure)
        assert setup.metrics.origin_retries.get() == int(is_sent_again)
        if isinstance(outcome, OriginResponse):
            assert await read_all(outcome.body) == b"ok"
            assert origin.connections[1].received.endswith(b"\r\n\r\n" + content)
