"""Origin clients and requests for tests, with defaults that suit a test's patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from proxy.config.schema import Config
from proxy.model import (
    Body,
    BodyBroken,
    FieldLine,
    Fields,
    OriginFailure,
    OriginResponse,
    Request,
    ResponseHead,
)
from proxy.net.origin import OriginClient
from proxy.observe.metrics import Metrics

ROUTE = "product"
_QUIET = {"pool": {"min_idle": 0}}


@dataclass
class Setup:
    """A client and what it counts."""

    client: OriginClient
    metrics: Metrics

    async def fetch(self, request: Request) -> OriginResponse | OriginFailure:
        """As the engine does."""
        return await self.client.fetch(request, route=ROUTE)

    async def response(self, request: Request) -> OriginResponse:
        """For requests that must be answered."""
        outcome = await self.fetch(request)
        assert isinstance(outcome, OriginResponse), outcome
        return outcome

    async def text(self, request: Request) -> bytes:
        """The whole body of the response."""
        return await read_all((await self.response(request)).body)

    async def failure(self, request: Request) -> OriginFailure:
        """For requests that must fail."""
        outcome = await self.fetch(request)
        assert isinstance(outcome, OriginFailure), outcome
        return outcome

    def gauge(self, name: str, *labels: str) -> float:
        """A gauge's present value."""
        return self.metrics.gauges[name]()[labels]

    def closed(self, cause: str) -> int:
        """Connections closed for this cause."""
        return self.metrics.origin_connections_closed.get(cause)

    def is_at_rest(self) -> bool:
        """Nothing is held by anybody."""
        held = ("origin_in_flight", "origin_queue", "tunnels_open")
        return not any(self.gauge(name) for name in held) and not self.gauge("origin_pool", "in-use")


def unasked_origin(config: Config, metrics: Metrics) -> OriginClient:
    """One that is never started: without connections it relays nothing."""
    return OriginClient(config.origin, limits=config.limits, forwarded=config.forwarded, metrics=metrics)


@asynccontextmanager
async def origin_client(
    url: str,
    *,
    origin: Mapping[str, Any] = _QUIET,
    limits: Mapping[str, Any] | None = None,
    forwarded: Mapping[str, Any] | None = None,
    **clocks: Callable[[], float],
) -> AsyncIterator[Setup]:
    """A started client in front of `url`; closed at the end, when it must be at rest."""
    sections = {
        "origin": {"url": url, **_QUIET, **origin},
        "limits": limits or {},
        "forwarded": forwarded or {},
    }
    config = Config.model_validate(sections)
    metrics = Metrics()
    client = OriginClient(
        config.origin, limits=config.limits, forwarded=config.forwarded, metrics=metrics, **clocks
    )
    setup = Setup(client, metrics)
    await client.start()
    try:
        yield setup
    finally:
        await client.aclose(0)
    assert setup.is_at_rest(), client


def request(
    method: str = "GET",
    target: bytes = b"/",
    *lines: FieldLine,
    body: Body | None = None,
    on_interim: Callable[[ResponseHead], Awaitable[None]] | None = None,
    **more: Any,
) -> Request:
    """A request with a Host; `more` are further attributes."""
    fields = Fields(((b"Host", b"shop.example"), *lines))
    return Request(method, target, fields, body=body, on_interim=on_interim, **more)


class GivenBody:
    """A request body of these pieces; an exception among them is raised."""

    def __init__(self, *pieces: bytes | BodyBroken, length: int | None = None) -> None:
        self.length = length
        self.is_abandoned = False
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        """The next piece."""
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, BodyBroken):
            raise piece
        return piece

    def take_rest(self) -> bytes | None:
        """It is on its way."""
        return None

    def abandon(self) -> None:
        """Nobody wants the rest."""
        self.is_abandoned = True


class ArrivedBody(GivenBody):
    """A request body that is all there; nobody has to wait for it."""

    def __init__(self, content: bytes, *, length: int | None = None) -> None:
        super().__init__(length=length)
        self._content = content

    def take_rest(self) -> bytes | None:
        """All of it, once."""
        content, self._content = self._content, b""
        return content


class GatedBody(GivenBody):
    """A request body whose pieces the test gives while it is being read; b"" is its end."""

    def __init__(self, *, length: int | None = None) -> None:
        super().__init__(length=length)
        self._given: asyncio.Queue[bytes] = asyncio.Queue()

    def give(self, *pieces: bytes) -> None:
        """The next pieces."""
        for piece in pieces:
            self._given.put_nowait(piece)

    async def read(self) -> bytes:
        """The next piece, once it is given."""
        return await self._given.get()


async def read_all(body: Body) -> bytes:
    """The whole body; raises BodyBroken."""
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    return b"".join(pieces)


class Stepped:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
