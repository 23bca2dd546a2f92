from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.model import FailureKind, Request
from tests.support.origin_clients import (
    ROUTE,
    ArrivedBody,
    GivenBody,
    origin_client,
    request,
)
from tests.support.raw_origin import (
    OK,
    OriginEnd,
    RawOrigin,
    Script,
    always,
    answering,
)

ON_BOTH_LOOPS = True


def closing_after_first() -> Script:
    """The first connection answers once and closes as soon as it hears more; later ones answer always."""
    seen: list[OriginEnd] = []

    async def script(end: OriginEnd) -> None:
        seen.append(end)
        await end.head()
        await end.send(OK)
        if len(seen) == 1:
            await end.exactly(1)
            end.close()
            return
        await always(OK)(end)

    return script


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_on_a_connection_that_was_closed_is_sent_again_once(method: str) -> None:
    answers = {"HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"}

    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(OK if len(origin.connections) == 1 else answers.get(method, OK))
        await end.exactly(1)
        end.close()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        await setup.text(request())
        response = await setup.response(request(method))

        assert response.head.status == 200
        assert len(origin.connections) == 2
        assert setup.metrics.origin_retries.get() == 1
        assert setup.metrics.origin_requests.values == {(ROUTE, "2xx"): 2}
        response.body.abandon()


@pytest.mark.parametrize(
    ("length", "framing", "content"),
    [
        (3, b"Content-Length: 3", b"abc"),
        (None, b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
    ],
    ids=["counted", "chunked"],
)
async def test_a_body_that_had_come_whole_is_sent_again_with_its_request(
    length: int | None, framing: bytes, content: bytes
) -> None:
    async with RawOrigin(closing_after_first()) as origin, origin_client(origin.url) as setup:
        await setup.text(request())

        assert await setup.text(request("PUT", b"/a", body=ArrivedBody(b"abc", length=length))) == b"ok"
        assert len(origin.connections) == 2
        head, _, body = bytes(origin.connections[1].received).partition(b"\r\n\r\n")
        assert head.startswith(b"PUT /a HTTP/1.1\r\n")
        assert head.count(framing) == 1
        assert body == content
        assert setup.metrics.origin_retries.get() == 1


@pytest.mark.parametrize(
    "given",
    [
        lambda: request("POST"),
        lambda: request("POST", body=ArrivedBody(b"a", length=1)),
        lambda: request("PATCH"),
        lambda: request("PURGE"),
        lambda: request("PUT", body=GivenBody(b"a", length=1)),
        lambda: request("GET", body=GivenBody(b"a", length=1)),
    ],
    ids=[
        "POST",
        "POST with a body",
        "PATCH",
        "PURGE",
        "PUT, its body still coming",
        "GET, its body still coming",
    ],
)
async def test_what_might_act_twice_or_was_still_coming_is_sent_once(given: Callable[[], Request]) -> None:
    async with RawOrigin(closing_after_first()) as origin, origin_client(origin.url) as setup:
        await setup.text(request())

        assert (await setup.failure(given())).kind is FailureKind.RESET
        assert len(origin.connections) == 1
        assert setup.metrics.origin_retries.get() == 0


async def test_a_request_on_a_fresh_connection_is_never_sent_again() -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        end.close()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        assert (await setup.failure(request())).kind is FailureKind.RESET
        assert len(origin.connections) == 1


async def test_a_request_is_sent_again_once_only() -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        if len(origin.connections) == 1:
            await end.send(OK)
            await end.exactly(1)
        end.close()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        await setup.text(request())

        assert (await setup.failure(request())).kind is FailureKind.RESET
        assert len(origin.connections) == 2


@pytest.mark.parametrize("byte", [b"H", b"HTTP/1.1 103 X\r\n\r\n"])
async def test_after_a_response_byte_nothing_is_sent_again(byte: bytes) -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(OK)
        await end.head()
        await end.send(byte)
        end.close()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        await setup.text(request())

        assert (await setup.failure(request())).kind is FailureKind.RESET
        assert len(origin.connections) == 1


async def test_a_timeout_is_never_sent_again() -> None:
    async with (
        RawOrigin(answering(OK)) as origin,
        origin_client(origin.url, origin={"response_timeout": 0.05}) as setup,
    ):
        await setup.text(request())

        assert (await setup.failure(request())).kind is FailureKind.RESPONSE_TIMEOUT
        assert len(origin.connections) == 1


async def test_it_is_sent_again_on_a_fresh_connection_not_on_another_that_may_be_closed_too() -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        is_old = len(origin.connections) <= 2
        if is_old:
            both_asked.set() if len(origin.connections) == 2 else await both_asked.wait()
        await end.send(OK)
        await end.exactly(1)
        end.close()

    both_asked = asyncio.Event()
    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        await asyncio.gather(setup.text(request()), setup.text(request()))

        assert await setup.text(request()) == b"ok"
        assert len(origin.connections) == 3
        assert setup.gauge("origin_pool", "idle") == 2
