"""What has no place in the tests of the whole port: a body that never ends."""

from __future__ import annotations

import asyncio

from aiohttp import web

from proxy.admin import bodies
from proxy.admin.problems import errors_as_problems
from tests.support.operators import opened


async def test_a_body_that_does_not_arrive_is_408(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    application = web.Application(middlewares=[errors_as_problems])
    application.add_routes([web.post("/", bodies.json_body)])

    async with opened(application) as call:
        host, _, port = call.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        async with asyncio.timeout(10):
            status_line = await reader.readline()
        writer.close()

    assert status_line.startswith(b"HTTP/1.1 408 ")
