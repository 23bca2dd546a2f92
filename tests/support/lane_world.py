"""A listener in front of a whole engine, with or without the plain lane: a story told twice must end alike.

Stores, rules, keys and answers are the product's; origin, log and clocks are stepped. What a world has made
of its story is all that anybody outside can see: bytes on each connection, requests at the origin, metrics,
lines.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

from proxy.config.schema import Address, Config
from proxy.engine.assembly import assemble
from proxy.model import Answer, FieldLine, Hit, OriginFailure, OriginResponse, Request
from proxy.net.listener import Listener
from proxy.observe.metrics import Metrics
from proxy.observe.recorder import Recorder
from proxy.observe.tasks import running
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore
from tests.support.clocks import SteppedClock
from tests.support.configs import config
from tests.support.engine_fakes import REFUSED, FakeL2, FakeLog, Reply
from tests.support.origin_clients import unasked_origin
from tests.support.raw_client import settle
from tests.support.responses import NOW, date

_QUIET_ROUNDS = 2
_PATIENCE_SECONDS = 20.0
_DATE = re.compile(rb"Date: [^\r]*")
_TIMED = re.compile(r"_seconds_(bucket|sum)|_created")

ROUTES: list[dict[str, Any]] = [
    {
        "name": "product",
        "match": {"path": "/product/**"},
        "ttl": "20s",
        "negative": {404: "10s"},
        "stale_while_revalidate": "10s",
        "key": {"query": {"include": ["page"]}},
    },
    {"name": "tenant", "match": {"path": "/tenant/**"}, "ttl": "20s", "key": {"headers": ["X-Tenant"]}},
    {"name": "user", "match": {"path": "/user/**"}, "ttl": "20s", "identity": {"cookie": "session"}},
    {
        "name": "preview",
        "match": {"path": "/preview/**"},
        "ttl": "20s",
        "ignore_cookies": ["theme"],
        "bypass_when": {"headers": ["X-Preview"], "cookies": ["admin"]},
    },
    {"name": "off", "match": {"path": "/off/**"}, "cache": False},
    {"name": "other", "match": {"path": "/**", "host": "other"}, "ttl": "5s", "negative": {404: "5s"}},
]
RELOADED: list[dict[str, Any]] = [
    {
        "name": "all",
        "match": {"path": "/**"},
        "ttl": "20s",
        "key": {"headers": ["X-Trace"]},
        "client_cache_control": "ignore",
    }
]


class Outside(NamedTuple):
    """All that can be seen of a world."""

    received: list[bytes]
    """By connection, in the order in which they were made; without dates."""
    ended: list[bool]
    asked: list[tuple[str, bytes, bytes, tuple[FieldLine, ...]]]
    """Of the origin."""
    metrics: str
    lines: list[tuple[Any, ...]]
    kept: list[bytes]
    """Keys in L1, most recently used first."""
    looked_up: list[bytes]
    """Keys that L2 was asked for."""


class ScriptedOrigin:
    """Says by the last part of the path what it says, numbered by how often that was asked for."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._made: Counter[bytes] = Counter()
        self.asked: list[tuple[str, bytes, bytes, tuple[FieldLine, ...]]] = []

    async def fetch(self, request: Request, *, route: str) -> OriginResponse | OriginFailure:
        self.asked.append((route, request.method.encode(), request.target, request.fields.lines))
        body = b"".join([await request.body.read()]) if request.body is not None else b""
        word = request.target.partition(b"?")[0].rpartition(b"/")[2]
        self._made[request.target] += 1
        content = b"%b %d %b" % (request.target, self._made[request.target], body)
        await asyncio.sleep(0)
        reply = _reply(word, content, request)
        return reply if isinstance(reply, OriginFailure) else reply.respond(self._clock())


_FRESH = (b"Cache-Control", b"max-age=8, stale-while-revalidate=4")
_ETAG = (b"ETag", b'"e"')
_LINES: dict[bytes, tuple[FieldLine, ...]] = {
    b"empty": (_FRESH,),
    b"etag": (_FRESH, _ETAG, (b"Last-Modified", date(-3600))),
    b"private": ((b"Cache-Control", b"private"),),
    b"public": ((b"Cache-Control", b"public, max-age=8"),),
    b"varies": (_FRESH, (b"Vary", b"Accept-Language")),
    b"cookie": (_FRESH, (b"Set-Cookie", b"a=b")),
    b"large": (_FRESH, _ETAG),
    b"unknown": (_FRESH,),
}
_STATUS = {b"gone": 404, b"empty": 204}


def _reply(word: bytes, content: bytes, request: Request) -> Reply | OriginFailure:
    if word == b"fails":
        return REFUSED
    lines, status = _LINES.get(word, ()), _STATUS.get(word, 200)
    if _ETAG in lines and request.fields.first(b"if-none-match") == _ETAG[1]:
        return Reply(lines, (), 304, length=None)
    if status == 204:
        return Reply(lines, (), status, length=None)
    pieces = (content, b"x" * 70_000) if word == b"large" else (content,)
    return Reply(lines, pieces, status, length=None if word == b"unknown" else "whole")


class Lines(Recorder):
    """Keeps the access lines instead of writing them."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics, access_share=1.0, roll=lambda: 0.0, clock=lambda: 0.0)
        self.written: list[tuple[Any, ...]] = []

    def write_access(
        self, request: Request, answer: Answer | Hit, *, seconds: float, sent: int, complete: bool
    ) -> None:
        said = (answer.status, answer.route, answer.outcome, sent, complete)
        asked = (request.method, request.target, request.host, request.peer, request.fields.lines)
        self.written.append((*asked, *said))


class Client(asyncio.Protocol):
    """Takes whatever comes, until the server ends."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.has_ended = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def reset(self) -> None:
        """RST instead of FIN."""
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.has_ended = True


class World:
    """One telling: two connections at a time, made anew where the server has ended one."""

    def __init__(self, *, plain_lane: bool, l2: bool) -> None:
        self._l1_ttl = "3s" if l2 else "1h"
        # Stories that end amid a head are waited for: ten of them would take the default's 100 s.
        limits = {"head_time": "1s"}
        self._sections: dict[str, Any] = {
            "x_cache_status": True,
            "plain_lane": plain_lane,
            "limits": limits,
        }
        self._is_reloaded = False
        made = self._config(ROUTES)
        self.clock, self.monotonic = SteppedClock(NOW), SteppedClock()
        self.metrics = Metrics()
        self.origin = ScriptedOrigin(self.clock)
        self.log = FakeLog(self.monotonic)
        self.memory = MemoryStore(
            self.metrics, max_entries=100, max_bytes=10_000_000, max_entry_bytes=1_000_000
        )
        self.l2 = FakeL2() if l2 else None
        self.tiers = TieredStore(self.memory, self.l2, on_error="open")  # type: ignore[arg-type]
        self.flow = assemble(
            made,
            origin=self.origin,
            tiers=self.tiers,
            shared=self.tiers,
            log=self.log,
            leases=None,
            metrics=self.metrics,
            spool_bytes=1_000_000,
            clock=self.clock,
            monotonic=self.monotonic,
            dice=lambda: 0.5,
        )
        self.lines = Lines(self.metrics)
        self.listener = Listener(
            self.flow, made, self.metrics, self.lines, unasked_origin(made, self.metrics)
        )
        self.clients: list[Client] = []
        self._current: dict[int, Client] = {}

    def _config(self, routes: list[dict[str, Any]]) -> Config:
        return config(routes=routes, defaults={"jitter": 0, "l1_ttl": self._l1_ttl}, **self._sections)

    def step(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.clock.step(seconds)
        self.monotonic.step(seconds)

    def reload(self) -> None:
        """The other of two sets of routes."""
        self._is_reloaded = not self._is_reloaded
        made = self._config(RELOADED if self._is_reloaded else ROUTES)
        self.flow.use(made)
        self.listener.use(made)

    async def send(self, pieces: Sequence[bytes], connection: int = 0) -> None:
        """The pieces, each read by the server before the next is sent; then all answers."""
        client = await self._client(connection)
        for piece in pieces:
            if not client.transport.is_closing():
                client.transport.write(piece)
            await settle()
        await self.quiet()

    async def quiet(self) -> None:
        """Until nothing is under way any more."""
        rounds = 0
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while rounds < _QUIET_ROUNDS:
                await settle()
                is_idle = all(connection.is_idle for connection in self.listener._connections.open)
                is_done = is_idle and not running() and not self.listener._service.under_way
                rounds = rounds + 1 if is_done else 0

    async def _client(self, number: int) -> Client:
        client = self._current.get(number)
        if client is None or client.transport.is_closing():
            (server,) = self.listener._servers
            where = server.sockets[0].getsockname()
            _, client = await asyncio.get_running_loop().create_connection(Client, *where)
            self._current[number] = client
            self.clients.append(client)
        return client

    def outside(self) -> Outside:
        """What is to be seen now."""
        metrics = self.metrics.exposition().decode().splitlines()
        return Outside(
            [_DATE.sub(b"Date: -", bytes(client.received)) for client in self.clients],
            [client.transport.is_closing() for client in self.clients],
            self.origin.asked,
            "\n".join(line for line in metrics if not _TIMED.search(line)),
            self.lines.written,
            [key for key, _ in self.memory.entries()],
            [] if self.l2 is None else self.l2.asked,
        )


@asynccontextmanager
async def world(*, plain_lane: bool, l2: bool = False) -> AsyncIterator[World]:
    """One that listens on loopback; afterwards nothing of it is left."""
    made = World(plain_lane=plain_lane, l2=l2)
    crashes: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, crash: crashes.append(crash))
    await made.listener.start(Address("127.0.0.1", 0))
    try:
        yield made
    finally:
        for client in made.clients:
            client.transport.close()
        await made.listener.finish(0)
        await settle()
    assert not crashes
