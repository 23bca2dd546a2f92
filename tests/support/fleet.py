"""Replicas of one service as real processes, in front of an origin whose content is a version.

async with Fleet.started(folder, ["{url: ...}"] * 8, routes) as fleet:
    hold = fleet.origin.hold("/a")          # the next request for /a waits in the origin
    ...
    fleet.origin.change("/a")
    await fleet.purge(fleet.replicas[0], {"urls": ["/a"]}, wait="1s")
    hold.let_go()
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from proxy.fleet.log import Registration
from proxy.model import Position
from proxy.observe.loop_lag import LoopLag
from proxy.observe.tasks import spawn
from tests.support.sidecar import Sidecar, launched, running
from tests.support.valkey import Valkey

PATIENCE_SECONDS = 30.0
"""For what comes to pass at once on a machine that has nothing else to do."""
NAMESPACE = "shop"
WELL_OR_KILLED = (0, -signal.SIGKILL)


class Answer(NamedTuple):
    """What a client got. `version` is -1 where the body is not the path's content."""

    status: int
    version: int = -1
    cache_status: str = ""

    @property
    def is_hit(self) -> bool:
        """No request to the origin was waited for."""
        return self.cache_status.startswith("sidecache; hit")


CUT_OFF = Answer(0)


class Hold:
    """A request, or all for one path, that stay in the origin until they are let go."""

    def __init__(self, *, holds_all: bool) -> None:
        self.holds_all = holds_all
        self._arrived = asyncio.Event()
        self._may_go = asyncio.Event()

    async def arrived(self) -> None:
        """Until one is there."""
        await asyncio.wait_for(self._arrived.wait(), PATIENCE_SECONDS)

    def let_go(self) -> None:
        self._may_go.set()

    async def stay(self) -> None:
        """What the request does."""
        self._arrived.set()
        await asyncio.wait_for(self._may_go.wait(), PATIENCE_SECONDS)


class Origin:
    """Reads the version of what it is asked for at one instant, and answers later if it is held."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.cache_control: dict[tuple[str, int], str] = {}
        """Path and version -> what the answer says of its lifetime; else nothing."""
        self.seconds = 0.0
        """How long each answer takes."""
        self.failing: set[str] = set()
        """Paths that are answered 503."""
        self._versions: Counter[str] = Counter()
        self._before: dict[str, Hold] = {}
        self._after: dict[str, Hold] = {}
        self._news = asyncio.Condition()

    def version(self, path: str) -> int:
        """What the path's content is now."""
        return self._versions[path]

    def change(self, path: str) -> None:
        """New content."""
        self._versions[path] += 1

    def hold(self, path: str, *, before: bool = False, holds_all: bool = False) -> Hold:
        """The next request for the path, or all from now on, wait before or after they read the version."""
        where = self._before if before else self._after
        where[path] = hold = Hold(holds_all=holds_all)
        return hold

    async def was_asked(self, path: str, times: int = 1) -> None:
        """Until it was asked so often."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            await self._news.wait_for(lambda: self.asked[path] >= times)

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        async with self._news:
            self.asked[path] += 1
            self._news.notify_all()
        await _stay(self._before, path)
        version = self._versions[path]
        await _stay(self._after, path)
        await asyncio.sleep(self.seconds)
        if path in self.failing:
            return web.Response(status=503)
        headers = {"ETag": f'"{version}"'}
        if stated := self.cache_control.get((path, version)):
            headers["Cache-Control"] = stated
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(text=f"{path} {version}", headers=headers)


async def _stay(holds: dict[str, Hold], path: str) -> None:
    hold = holds.get(path)
    if hold is not None:
        if not hold.holds_all:
            del holds[path]
        await hold.stay()


class Fleet:
    """The replicas that run now, and their clients."""

    def __init__(self, folder: Path, origin: Origin, url: str, session: aiohttp.ClientSession) -> None:
        self.origin = origin
        self.replicas: list[Sidecar] = []
        self._folder = folder
        self._url = url
        self._session = session
        self._numbers = count()
        self._stack = ExitStack()
        self._routes = ""
        self._lag = LoopLag()

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path, l2s: Sequence[str], routes: str) -> AsyncIterator[Fleet]:
        """A replica for each of these `l2` sections, all with the same routes."""
        origin = Origin()
        application = web.Application()
        application.router.add_get("/{path:.*}", origin.answer)
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            timeout = aiohttp.ClientTimeout(total=2 * PATIENCE_SECONDS)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                fleet = cls(folder, origin, url, session)
                fleet._routes = routes
                lag = spawn("loop lag", fleet._lag.run())
                try:
                    await fleet.join(*l2s)
                    yield fleet
                finally:
                    lag.cancel()
                    await fleet._end()
        finally:
            await runner.cleanup()

    async def join(self, *l2s: str) -> list[Sidecar]:
        """Start more replicas, all at once: a start takes a second of a processor."""
        started = await asyncio.to_thread(self._start, l2s)
        self.replicas += started
        return started

    async def kill(self, replica: Sidecar) -> None:
        """SIGKILL: no farewell to anybody."""
        self.replicas.remove(replica)
        replica.process.kill()
        await asyncio.to_thread(replica.process.wait)

    async def leave(self, replica: Sidecar) -> None:
        """SIGTERM, and wait for its end."""
        self.replicas.remove(replica)
        await asyncio.to_thread(replica.stop)

    async def get(self, replica: Sidecar, path: str, **fields: str) -> Answer:
        headers = {"Host": "shop"} | {name.replace("_", "-"): value for name, value in fields.items()}
        try:
            async with self._session.get(f"http://{replica.data}{path}", headers=headers) as answer:
                asked, _, version = (await answer.text()).rpartition(" ")
                is_content = asked == path and version.isdecimal()
                cache_status = answer.headers.get("Cache-Status", "")
                return Answer(answer.status, int(version) if is_content else -1, cache_status)
        except aiohttp.ClientError:
            return CUT_OFF

    async def get_all(self, paths: Iterable[str], replicas: Iterable[Sidecar] = ()) -> list[Answer]:
        """Each path from each replica (all of them where none is named), at once."""
        asked = list(replicas) or self.replicas
        return await asyncio.gather(*(self.get(replica, path) for path in paths for replica in asked))

    async def versions(self, path: str) -> set[int]:
        """What the replicas answer, asked at once."""
        return {answer.version for answer in await self.get_all([path])}

    async def purge(
        self, replica: Sidecar, selectors: Mapping[str, object], *, wait: str = "", soft: bool = False
    ) -> dict[str, Any]:
        """The admin port's answer."""
        call = ("invalidate" if soft else "purge") + (f"?wait={wait}" if wait else "")
        async with self._session.post(f"http://{replica.admin}/{call}", json=selectors) as answer:
            assert answer.status in {200, 202}, await answer.text()
            return dict(await answer.json(content_type=None))

    async def purge_everywhere(
        self, replica: Sidecar, selectors: Mapping[str, object], *, soft: bool = False
    ) -> None:
        """Purge, until all have applied it."""
        answer = await self.purge(replica, selectors, wait=f"{PATIENCE_SECONDS:.0f}s", soft=soft)
        counted = answer["replicas"]
        assert counted["known"] == counted["acknowledged"] == len(self.replicas), answer

    async def settle(self) -> None:
        """Until every replica answers a `?wait` at once: until then it could not know all others (R19)."""
        await asyncio.gather(*(self.purge_everywhere(each, {"urls": ["/none"]}) for each in self.replicas))

    async def metric(self, replica: Sidecar, line: str) -> float:
        """The sum of the exposed lines that begin so; 0 where there is none."""
        async with self._session.get(f"http://{replica.ops}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(line))

    async def sum_of(self, line: str) -> int:
        """Of all replicas."""
        return int(sum([await self.metric(replica, line) for replica in self.replicas]))

    async def are_trusting(self, replicas: Iterable[Sidecar], *, are: bool = True) -> bool:
        """Do all of them say that they have read the log in time, or none?"""
        said = {await self.metric(replica, "sidecache_log_trusted ") for replica in replicas}
        return said == {float(are)}

    async def late_seconds(self, replica: Sidecar) -> float:
        """How late the machine, not the product, may make two steps of the replica and what the test sees.

        Both loops measure themselves: the worst of the last 15 s, a few ms where nothing else runs.
        """
        return 2 * (await self.metric(replica, "sidecache_loop_lag_seconds ") + self._lag.worst_seconds)

    async def _end(self) -> None:
        for replica in self.replicas:
            replica.tell()
        await asyncio.to_thread(self._stack.close)

    def _start(self, l2s: Sequence[str]) -> list[Sidecar]:
        processes = [self._launched(l2) for l2 in l2s]
        try:
            contexts = [running(process, exits=WELL_OR_KILLED) for process in processes]
            return [self._stack.enter_context(context) for context in contexts]
        except BaseException:
            for process in processes:
                process.kill()
            raise

    def _launched(self, l2: str) -> Any:
        own = self._folder / f"replica-{next(self._numbers)}"
        own.mkdir(parents=True)
        return launched(own, self._url, f"l2: {l2}\n{self._routes}")


def name_of(replica: Sidecar) -> str:
    """As it registers, and as purges name it."""
    return f"{socket.gethostname()}-{replica.process.pid}"


def tail_of(server: Valkey) -> Position | None:
    """Of the log on that server."""
    entries = server.ask("XREVRANGE", f"{NAMESPACE}:log", "+", "-", "COUNT", 1)
    if not entries:
        return None
    ((id_, fields),) = entries
    ms, _, seq = id_.partition(b"-")
    return Position(int(fields[b"n"]), int(ms), int(seq), int(fields[b"e"], 16))


def has_applied(server: Valkey, replica: Sidecar, place: Position) -> bool:
    """By what the replica registers with its polls."""
    text = server.ask("HGET", f"{{{NAMESPACE}:log}}:replicas", name_of(replica))
    position = Registration.decode(text.decode()).position if text else None
    return position is not None and position.nonce == place.nonce and position >= place


def selectors_in(server: Valkey) -> list[dict[str, Any]]:
    """Of all records that stand in the log."""
    entries = server.ask("XRANGE", f"{NAMESPACE}:log", "-", "+")
    return [json.loads(fields[b"t"]) for _, fields in entries if fields[b"t"]]


async def until(is_so: Callable[[], Any], within: float = PATIENCE_SECONDS) -> float:
    """Ask on until it is so, as long as it takes at most; how many seconds it took.

    A function that waits for an answer of its own may be given, too.
    """
    began_at = monotonic()
    while True:
        answer = is_so()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return monotonic() - began_at
        assert monotonic() - began_at < within, "it never came to pass"
        await asyncio.sleep(0.005)
