"""A purge never loses against a fill: 200 rounds on a real sidecar, 0 stale answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.sidecar import running_sidecar

ROUNDS = 200
POLICIES = """
l2: {url: embedded}
routes: [{name: all, match: {path: "/**"}, ttl: 1h, stale_while_revalidate: 1h, tags: ["all"]}]
"""


class VersionedOrigin:
    """Reads its version first and answers later: the window in which a purge can be lost."""

    def __init__(self) -> None:
        self.version = 0
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        version = self.version
        self.has_read.set()
        await asyncio.wait_for(self.may_answer.wait(), 10)
        return web.Response(text=str(version))


@pytest.fixture
async def origin() -> AsyncIterator[tuple[VersionedOrigin, str]]:
    versioned = VersionedOrigin()
    application = web.Application()
    application.router.add_get("/{key}", versioned.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield versioned, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_fetch_under_way_is_not_served_after_the_purge(
    origin: tuple[VersionedOrigin, str], tmp_path: Path
) -> None:
    versioned, url = origin
    stale = []
    with running_sidecar(tmp_path, url, POLICIES) as sidecar:
        async with aiohttp.ClientSession() as session:

            async def get() -> str:
                async with session.get(f"http://{sidecar.data}/key") as answer:
                    return await answer.text()

            for number in range(ROUNDS):
                versioned.has_read.clear()
                versioned.may_answer.clear()
                under_way = asyncio.gather(get(), get())
                await asyncio.wait_for(versioned.has_read.wait(), 10)
                versioned.version = number + 1
                selector = {"tags": ["all"]} if number % 2 else {"urls": ["/key"]}
                async with session.post(f"http://{sidecar.admin}/purge", json=selector) as purged:
                    assert purged.status == 200
                versioned.may_answer.set()
                await under_way
                after = await get()
                if after != str(number + 1):
                    stale.append((number, after))
                async with session.post(f"http://{sidecar.admin}/purge", json={"everything": True}):
                    pass

    assert stale == []
