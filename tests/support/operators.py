"""Fakes of what the operator's ports work on, and a caller that speaks real HTTP to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import orjson
from aiohttp import web

from proxy.admin.operations import Operations, admin_application
from proxy.admin.protocols import PurgeReport
from proxy.admin.server import Port
from proxy.config.reloading import Result, Unchanged
from proxy.config.schema import Address, Config
from proxy.model import Held, Request, StoredResponse
from proxy.policy.invalidation import Selector
from tests.support.configs import config as make_config

NOW = 1_000_000.0
ALL_REACHED = PurgeReport(id="7-1", published=True, known=4, acknowledged=4, complete=True)


def stored(target: bytes = b"/a", **changes: object) -> StoredResponse:
    values = {
        "status": 200,
        "reason": b"OK",
        "lines": b"",
        "body": b"",
        "route": "product",
        "host": b"shop",
        "born": None,
        "received_at": NOW - 10,
        "initial_age": 0.0,
        "lifetime": 60.0,
        "expires_at": NOW + 600,
    }
    return StoredResponse.of(target=target, **{**values, **changes})  # type: ignore[arg-type]


@dataclass
class FakeInvalidation:
    """Remembers the calls, answers as told."""

    report: PurgeReport = ALL_REACHED
    matched: int = 3
    calls: list[tuple[tuple[Selector, ...], bool, float | None]] = field(default_factory=list)
    counted: list[tuple[Selector, ...]] = field(default_factory=list)

    async def purge(
        self, selectors: Sequence[Selector], *, soft: bool, wait_seconds: float | None, refresh: bool = False
    ) -> PurgeReport:
        self.calls.append((tuple(selectors), soft, wait_seconds))
        return replace(self.report, refreshing=12) if refresh else self.report

    async def count(self, selectors: Sequence[Selector]) -> int:
        self.counted.append(tuple(selectors))
        return self.matched


@dataclass
class FakePrefetching:
    """Tells what it was told, in the order of the requests; of all others, that they are stored."""

    results: dict[bytes, tuple[str, str | None]] = field(default_factory=dict)
    calls: list[tuple[list[Request], str, int, float]] = field(default_factory=list)
    is_closed: bool = False

    async def fetch_all(
        self, requests: Sequence[Request], *, cause: str, at_once: int, seconds: float
    ) -> AsyncGenerator[tuple[int, tuple[str, str | None]], None]:
        self.calls.append((list(requests), cause, at_once, seconds))
        try:
            for number, request in enumerate(requests):
                yield number, self.results.get(request.target, ("stored", None))
        finally:
            self.is_closed = True


@dataclass
class FakeInspection:
    held: list[tuple[bytes, Held]] = field(default_factory=list)

    def entries(self) -> Iterable[tuple[bytes, Held]]:
        return list(self.held)

    def stats(self) -> Mapping[str, object]:
        return {"l1": {"entries": 2}}

    async def fleet(self) -> Mapping[str, object]:
        return {"known": 3}

    def routes(self) -> Sequence[Mapping[str, object]]:
        return [{"name": "product"}]

    def pool(self) -> Mapping[str, object]:
        return {"idle": 4}


@dataclass
class FakeConfiguration:
    config: Config = field(default_factory=make_config)
    result: Result = field(default_factory=Unchanged)

    async def reload(self) -> Result:
        return self.result


@dataclass
class FakeLifecycle:
    is_started: bool = True
    is_live: bool = True
    is_ready: bool = True
    is_draining: bool = False
    is_warming: bool = False

    def drain(self) -> None:
        self.is_draining, self.is_ready = True, False


@dataclass
class FakeOperator:
    """All that an admin port works on."""

    invalidation: FakeInvalidation = field(default_factory=FakeInvalidation)
    inspection: FakeInspection = field(default_factory=FakeInspection)
    configuration: FakeConfiguration = field(default_factory=FakeConfiguration)
    prefetching: FakePrefetching = field(default_factory=FakePrefetching)

    def application(self, token: str | None = None) -> web.Application:
        operations = Operations(
            self.invalidation, self.inspection, self.configuration, self.prefetching, clock=lambda: NOW
        )
        return admin_application(operations, token=token)


@dataclass(frozen=True)
class Said:
    """One answer, read to its end."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> dict:
        return orjson.loads(self.body)


class Caller:
    """Speaks HTTP to one port."""

    def __init__(self, session: aiohttp.ClientSession, address: Address) -> None:
        self._session = session
        self.url = f"http://{address}"

    async def __call__(self, method: str, path: str, **arguments: object) -> Said:
        async with self._session.request(method, self.url + path, **arguments) as response:  # type: ignore[arg-type]
            return Said(response.status, response.headers, await response.read())


@asynccontextmanager
async def opened(application: web.Application) -> AsyncIterator[Caller]:
    port = Port(application)
    try:
        address = await port.open(Address("127.0.0.1", 0))
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Caller(session, address)
    finally:
        await port.close()
