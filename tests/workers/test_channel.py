"""A call has one answer, or none within its deadline, as a value."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from proxy.admin.server import Port
from proxy.workers.channel import Call, Channel, Reply, Silence


async def echo(request: web.Request) -> web.Response:
    body = await request.read()
    return web.Response(status=201, text=f"{request.method} {request.raw_path} {body.decode()}")


async def test_the_target_and_the_body_arrive_as_they_are(tmp_path: Path) -> None:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", echo)
    port = Port(application)
    await port.open_private(tmp_path / "s")
    reply = await Channel(tmp_path / "s").ask(Call("PURGE", "/a%2Fb//c?d=%20", b"e"), seconds=5)
    await port.close()

    assert reply == Reply(201, b"PURGE /a%2Fb//c?d=%20 e", "text/plain")


async def test_where_nobody_listens_nothing_has_begun(tmp_path: Path) -> None:
    silence = await Channel(tmp_path / "s").ask(Call("GET", "/"), seconds=5)

    assert isinstance(silence, Silence)
    assert silence.is_unheard


async def test_who_hangs_is_given_up_and_may_have_begun(tmp_path: Path) -> None:
    may_end, has_ended = asyncio.Event(), asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_end.wait()
        writer.close()
        await writer.wait_closed()
        has_ended.set()

    server = await asyncio.start_unix_server(hang, tmp_path / "s")
    silence = await Channel(tmp_path / "s").ask(Call("GET", "/"), seconds=0.05)
    may_end.set()
    await has_ended.wait()
    server.close()

    assert silence == Silence("nothing came within 0.05 s", is_unheard=False)
