"""A port opens, tells its address and closes."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from proxy.admin.server import Port
from proxy.config.schema import Address


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
