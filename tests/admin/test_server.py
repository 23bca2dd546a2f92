"""A port opens, tells its address and closes."""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from proxy.admin.server import Port
from proxy.config.schema import Address
from tests.support.raw_client import connected, request


async def test_a_port_answers_until_it_is_closed():
    port = Port(web.Application())
    address = await port.open(Address("127.0.0.1", 0))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/") as response:
            assert response.status == 404
        await port.close()

        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{address}/")


async def test_a_taken_address_is_an_oserror_and_closing_is_harmless():
    first, second = Port(web.Application()), Port(web.Application())
    address = await first.open(Address("127.0.0.1", 0))
    try:
        with pytest.raises(OSError, match="address already in use"):
            await second.open(address)
    finally:
        await second.close()
        await first.close()


async def test_a_port_that_never_opened_can_be_closed():
    await Port(web.Application()).close()


async def test_a_trailer_never_becomes_a_field_of_the_next_request():
    seen: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        await request.read()
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    application = web.Application()
    application.router.add_post("/", note)
    port = Port(application)
    address = await port.open(Address("127.0.0.1", 0))
    with_trailer = b"0\r\nAuthorization: Bearer forged\r\n\r\n"
    async with connected((address.host, address.port)) as client:
        await client.send(request("/", "Transfer-Encoding: chunked", method="POST", body=with_trailer))
        answer = await client.answer()
        with suppress(ConnectionError):
            await client.send(request("/", method="POST", body=b"next"))
        is_closed = await client.is_closed()
    await port.close()

    assert (answer.status, answer.first("connection")) == (200, b"close")
    assert is_closed
    assert seen == [None]


async def test_a_request_behind_a_trailer_in_the_same_segment_is_not_answered():
    port = Port(web.Application())
    address = await port.open(Address("127.0.0.1", 0))
    first = request("/", "Transfer-Encoding: chunked", method="POST", body=b"0\r\nX-Forged: 1\r\n\r\n")
    async with connected((address.host, address.port)) as client:
        await client.send(first + request("/"))
        answer = await client.answer()
        is_closed = await client.is_closed()
    await port.close()

    assert (answer.status, answer.first("connection")) == (404, b"close")
    assert is_closed
