"""One fill per key across pods: real sidecar processes on one real Valkey, in front of one origin."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import pytest
from aiohttp import web

from proxy.observe.tasks import spawn
from tests.support.sidecar import Sidecar, ask, launched, running
from tests.support.valkey import Valkey, running_valkey

REPLICAS = 4
CLIENTS = 25
"""Of each replica."""
ROUNDS = 10
PATIENCE_SECONDS = 20.0
CUT_OFF = (0, "cut off")
WELL_OR_KILLED = (0, -signal.SIGKILL)
POLICIES = """
l2: {{url: "{url}", timeout: 2s, namespace: shop}}
routes: [{{name: all, match: {{path: "/**"}}, ttl: 1h, coalesce: {{wait: 10s}}}}]
"""


class Origin:
    """Holds each answer back until `gate` is open, and counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()
        self.cache_control = "max-age=3600"
        self._news = asyncio.Condition()

    async def answer(self, request: web.Request) -> web.Response:
        async with self._news:
            self.asked[request.path] += 1
            self._news.notify_all()
        await asyncio.wait_for(self.gate.wait(), PATIENCE_SECONDS)
        return web.Response(text=f"content of {request.path}", headers={"Cache-Control": self.cache_control})

    async def was_asked(self, path: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            await self._news.wait_for(lambda: self.asked[path] >= times)


@asynccontextmanager
async def serving(origin: Origin) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{path:.*}", origin.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Fleet:
    """Replicas of one service and their clients."""

    def __init__(self, origin: Origin, session: aiohttp.ClientSession, replicas: list[Sidecar]) -> None:
        self.origin = origin
        self.replicas = replicas
        self._session = session

    def burst(self, path: str, replicas: list[Sidecar] | None = None) -> asyncio.Task[list[tuple[int, str]]]:
        """All clients of these replicas ask at once."""
        asked = self.replicas if replicas is None else replicas
        clients = [replica for replica in asked for _ in range(CLIENTS)]
        return spawn("burst", self._all(clients, path))

    async def _all(self, replicas: list[Sidecar], path: str) -> list[tuple[int, str]]:
        return await asyncio.gather(*(self._get(replica, path) for replica in replicas))

    async def _get(self, replica: Sidecar, path: str) -> tuple[int, str]:
        try:
            async with self._session.get(f"http://{replica.data}{path}", headers={"Host": "shop"}) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return CUT_OFF

    async def leases(self, result: str) -> int:
        """How many fetches of the fleet ended their wait so."""
        pages = [await asyncio.to_thread(ask, replica.ops, "/metrics") for replica in self.replicas]
        wanted = f'sidecache_leases_total{{result="{result}",route="all"}} '
        lines = [line for page in pages for line in page.body.decode().splitlines()]
        return sum(int(float(line.removeprefix(wanted))) for line in lines if line.startswith(wanted))

    async def all_fetch(self) -> None:
        """Until each replica fetches something, or waits for another to do it."""
        deadline = monotonic() + PATIENCE_SECONDS
        while not await self._all_fetch():
            assert monotonic() < deadline, "they never did"
            await asyncio.sleep(0.01)

    async def _all_fetch(self) -> bool:
        pages = [await asyncio.to_thread(ask, replica.ops, "/metrics") for replica in self.replicas]
        return all(b"\nsidecache_flights 1.0" in page.body for page in pages)

    async def kill(self, replica: Sidecar) -> None:
        """SIGKILL: no farewell to anybody."""
        replica.process.kill()
        await asyncio.to_thread(replica.process.wait)
        self.replicas.remove(replica)


@pytest.fixture
def server() -> Iterator[Valkey]:
    with running_valkey() as own:
        yield own


@pytest.fixture
async def fleet(server: Valkey, tmp_path: Path) -> AsyncIterator[Fleet]:
    origin = Origin()
    async with serving(origin) as url:
        with ExitStack() as stack:
            replicas = await asyncio.to_thread(_start, stack, url, server.url, tmp_path)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                yield Fleet(origin, session, replicas)
            await asyncio.to_thread(stack.close)


def _start(stack: ExitStack, origin: str, redis: str, folder: Path) -> list[Sidecar]:
    """All at once: a start takes a second of a processor."""
    processes = []
    for number in range(REPLICAS):
        own = folder / str(number)
        own.mkdir()
        processes.append(launched(own, origin, POLICIES.format(url=redis)))
    return [stack.enter_context(running(process, exits=WELL_OR_KILLED)) for process in processes]


def everybody(path: str, replicas: int = REPLICAS) -> list[tuple[int, str]]:
    return [(200, f"content of {path}")] * (replicas * CLIENTS)


async def test_a_cold_key_costs_the_fleet_one_request(fleet: Fleet) -> None:
    for number in range(ROUNDS):
        path = f"/cold/{number}"
        assert await fleet.burst(path) == everybody(path)

    assert dict(fleet.origin.asked) == {f"/cold/{number}": 1 for number in range(ROUNDS)}


async def test_who_waits_gets_what_one_replica_fetched(fleet: Fleet) -> None:
    fleet.origin.gate.clear()
    burst = fleet.burst("/slow")
    await fleet.all_fetch()
    await asyncio.sleep(1.5)  # longer than a lease lasts unless it is renewed
    fleet.origin.gate.set()

    assert await burst == everybody("/slow")
    assert fleet.origin.asked["/slow"] == 1
    assert (await fleet.leases("held"), await fleet.leases("shared")) == (1, REPLICAS - 1)


async def test_another_takes_over_from_a_leader_that_was_killed(fleet: Fleet) -> None:
    fleet.origin.gate.clear()
    first = fleet.replicas[0]
    doomed = fleet.burst("/slow", [first])
    await fleet.origin.was_asked("/slow")
    others = fleet.burst("/slow", fleet.replicas[1:])
    await fleet.all_fetch()
    await fleet.kill(first)
    killed_at = monotonic()
    await fleet.origin.was_asked("/slow", 2)
    takeover_seconds = monotonic() - killed_at
    fleet.origin.gate.set()

    assert await others == everybody("/slow", REPLICAS - 1)
    assert fleet.origin.asked["/slow"] == 2
    assert takeover_seconds < 2.0
    assert (await fleet.leases("takeover"), await fleet.leases("shared")) == (1, REPLICAS - 2)
    assert await doomed == [CUT_OFF] * CLIENTS


async def test_when_redis_dies_each_replica_goes_on_alone(fleet: Fleet, server: Valkey) -> None:
    fleet.origin.gate.clear()
    burst = fleet.burst("/slow")
    await fleet.all_fetch()
    await asyncio.to_thread(server.kill)
    await fleet.origin.was_asked("/slow", REPLICAS)
    fleet.origin.gate.set()

    assert await burst == everybody("/slow")
    assert fleet.origin.asked["/slow"] == REPLICAS
    assert await fleet.leases("unavailable") == REPLICAS - 1


async def test_uncacheable_answers_do_not_make_the_fleet_queue(fleet: Fleet) -> None:
    fleet.origin.cache_control = "no-store"
    everyone = REPLICAS * CLIENTS
    fleet.origin.gate.clear()
    first = fleet.burst("/own", fleet.replicas[:1])
    await fleet.origin.was_asked("/own")
    fleet.origin.gate.set()
    assert await first == everybody("/own", 1)

    fleet.origin.gate.clear()
    burst = fleet.burst("/own")
    # One for each client of the replica that knows; each other learns it by one first.
    await fleet.origin.was_asked("/own", 2 * CLIENTS + REPLICAS - 1)
    fleet.origin.gate.set()

    assert await burst == everybody("/own")
    assert fleet.origin.asked["/own"] == CLIENTS + everyone
    assert await fleet.leases("lone") == REPLICAS - 1
