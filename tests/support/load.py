"""Clients that ask whole sidecar processes without pause, and notice every error and every old answer.

async with LoadedFleet.started(folder, l2="...") as fleet:
    await fleet.warm()
    fleet.begin()
    await fleet.change_and_purge()
    fleet.check()     # no error, nothing purged
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import web

from proxy.observe.tasks import spawn
from tests.support.sidecar import Sidecar, ask, launched, running

PATHS = [f"/k/{number}" for number in range(120)]
PATIENCE_SECONDS = 20.0
POLICIES = """
l2: {{url: "{url}", namespace: shop, {options}}}
routes: [{{name: all, match: {{path: "/**"}}, ttl: 1h, l1_ttl: 200ms, stale_if_error: 0s}}]
"""
"""L1 asks L2 again five times a second: an L2 that is not asked could not be missed."""


class VersionedOrigin:
    """Answers with the version that its content has; `version` is raised by the test."""

    def __init__(self) -> None:
        self.version = 1
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=f"{request.path} {self.version}", headers={"Cache-Control": "max-age=3600"})


class LoadedFleet:
    """Replicas, their clients, and what these have seen."""

    def __init__(
        self, origin: VersionedOrigin, session: aiohttp.ClientSession, replicas: list[Sidecar]
    ) -> None:
        self.origin = origin
        self.replicas = replicas
        self.seen: Counter[str] = Counter()
        """`ok`, `stale`, or what went wrong."""
        self.seconds: list[float] = []
        """How long each answer took."""
        self.reach: dict[str, Any] = {}
        """What the last purge was answered."""
        self._session = session
        self._obeyed = 0
        """No answer to a request from now on may be of an older version."""
        self._clients: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def started(
        cls, folder: Path, *, l2: str, options: str = "timeout: 100ms", replicas: int = 2
    ) -> AsyncIterator[LoadedFleet]:
        """So many replicas in front of one origin."""
        origin = VersionedOrigin()
        application = web.Application()
        application.router.add_get("/{path:.*}", origin.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        policies = POLICIES.format(url=l2, options=options)
        where = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            with ExitStack() as stack:
                started = await asyncio.to_thread(_start, stack, folder, where, policies, replicas)
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                    fleet = cls(origin, session, started)
                    try:
                        yield fleet
                    finally:
                        await fleet.end()
                await asyncio.to_thread(stack.close)
        finally:
            await runner.cleanup()

    async def warm(self) -> None:
        """Each replica asks for everything; L2 has it then."""
        for replica in self.replicas:
            await asyncio.gather(*(self.get(replica, path) for path in PATHS))

    def begin(self, clients: int = 4) -> None:
        """Ask on and on, each client one replica after the other."""
        self._clients = [spawn("client", self._ask_on(random.Random(number))) for number in range(clients)]

    async def end(self) -> None:
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)
        self._clients = []

    async def get(self, replica: Sidecar, path: str) -> None:
        """One request, and what its answer was."""
        obeyed, began_at = self._obeyed, monotonic()
        try:
            async with self._session.get(
                f"http://{replica.data}{path}",
                headers={"Host": "shop"},
                timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS),
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.seen[type(error).__name__] += 1
            return
        self.seconds.append(monotonic() - began_at)
        if answer.status != 200:
            self.seen[f"{answer.status} {text}"] += 1
        else:
            asked, _, version = text.partition(" ")
            self.seen["ok" if asked == path and int(version) >= obeyed else f"stale {text}"] += 1

    async def change_and_purge(self) -> bool:
        """New content, and a purge of all of it through the first replica. True: all have applied it.

        Only then an older answer is wrong: a replica that is named as silent may give it for a while.
        """
        self.origin.version += 1
        version = self.origin.version
        answer = await asyncio.to_thread(
            self.replicas[0].post_admin, "/purge?wait=300ms", {"prefixes": ["/k/"]}
        )
        assert answer.status in {200, 202}, answer
        self.reach = json.loads(answer.body)
        counted = self.reach["replicas"]
        has_reached = counted["known"] == counted["acknowledged"] == len(self.replicas)
        if self.reach["published"] and has_reached:
            self._obeyed = version
            return True
        return False

    async def purge_everywhere(self, within: float) -> None:
        """A purge that begins within so many seconds is applied by all."""
        deadline = monotonic() + within
        while not await self.change_and_purge():
            assert monotonic() < deadline, self.reach
            await asyncio.sleep(0.1)

    def check(self) -> int:
        """No client has seen an error or anything that was purged; how many answers that were."""
        assert self.seen.keys() == {"ok"}, self.seen
        return self.seen["ok"]

    async def count(self, metric: str, replica: Sidecar) -> float:
        """The value of a metric's line, as exposed; 0 where there is none."""
        page = await asyncio.to_thread(ask, replica.ops, "/metrics")
        lines = page.body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))

    async def until_grows(self, metric: str, within: float) -> None:
        """Until the metric of every replica has grown by ten."""
        before = [await self.count(metric, replica) for replica in self.replicas]
        deadline = monotonic() + within
        for replica, old in zip(self.replicas, before, strict=True):
            while await self.count(metric, replica) < old + 10:
                assert monotonic() < deadline, f"{metric} stands still for {within} s"
                await asyncio.sleep(0.05)

    async def _ask_on(self, dice: random.Random) -> None:
        while True:
            for replica in self.replicas:
                await self.get(replica, dice.choice(PATHS))
            await asyncio.sleep(0.005)


L2_HITS = 'sidecache_l2_operations_total{operation="get",result="hit"}'


def _start(stack: ExitStack, folder: Path, origin: str, policies: str, count: int) -> list[Sidecar]:
    processes = []
    for number in range(count):
        own = folder / f"replica-{number}"
        own.mkdir(parents=True)
        processes.append(launched(own, origin, policies))
    return [stack.enter_context(running(process)) for process in processes]
