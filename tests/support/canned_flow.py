"""A `Flow` that answers from a table, and a listener in front of it on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from proxy.config.schema import Address, Config
from proxy.model import (
    NOT_ASKED,
    Answer,
    BodyBroken,
    CacheStatus,
    FailureKind,
    Hit,
    OriginFailure,
    Outcome,
    Request,
    Tunnel,
)
from proxy.net.listener import Listener
from proxy.observe import tasks
from proxy.observe.metrics import Metrics
from proxy.policy.preconditions import is_hit_not_modified
from tests.support.entries import NOW, response
from tests.support.origin_clients import unasked_origin
from tests.support.raw_client import Where

BROKEN = OriginFailure(FailureKind.BROKEN_BODY, "cut off")
LINES = b"Date: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n"

Handler = Callable[[Request], Awaitable[Answer]]


class CannedBody:
    """A body in given pieces; an OriginFailure among them breaks it, an Event holds it up."""

    def __init__(self, *pieces: bytes | OriginFailure | asyncio.Event, length: int | None = None) -> None:
        self.length = length
        self.is_abandoned = False
        self.reads = 0
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        self.reads += 1
        while self._pieces and isinstance(gate := self._pieces[0], asyncio.Event):
            await gate.wait()
            self._pieces.pop(0)
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, OriginFailure):
            raise BodyBroken(piece)
        assert isinstance(piece, bytes)
        return piece

    def abandon(self) -> None:
        self.is_abandoned = True


def answer(
    body: bytes | CannedBody = b"hello",
    *,
    status: int = 200,
    reason: bytes = b"OK",
    lines: bytes = LINES,
    length: int | None = None,
    age: int | None = None,
    cache_status: CacheStatus | None = None,
    outcome: Outcome = Outcome.MISS,
    close: bool = False,
    extra: bytes = b"",
    tunnel: Tunnel | None = None,
    failure: OriginFailure | None = None,
) -> Answer:
    return Answer(
        status,
        reason,
        lines,
        body,
        outcome,
        cache_status,
        length=body.length if isinstance(body, CannedBody) else length,
        age=age,
        route="product",
        tunnel=tunnel,
        close=close,
        extra=extra,
        failure=failure,
    )


def plain_hit(body: bytes = b"plain", *, age: int = 7, ttl: int = 41, **changes: Any) -> Hit:
    """A stored response that the plain lane may answer with at once."""
    stored = response(body, **{"lines": LINES, **changes})
    return Hit(stored, age, ttl, Outcome.HIT, "l1", "product", NOW)


class CannedFlow:
    """Answers hits at once, all else after a turn of the loop; keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.hits: dict[bytes, Answer] = {}
        """By target; everything else goes to `handler`."""
        self.plain_hits: dict[bytes, Hit] = {}
        """By target, for the plain lane alone: the whole lane does not know them."""
        self.hits_last = False
        """Until the table changes."""
        self.repeats = 0
        self.l2: dict[bytes, Hit | None] = {}
        """By target, for the plain lane alone: what L2 has, if it is asked for that."""
        self.answers_l2 = True
        self.waiting: list[Callable[[], None]] = []
        """The answers of L2 that a test holds back."""
        self.found: list[Any] = []
        """What `serve` was told of L2."""
        self.telling_fields = frozenset({b"authorization", b"cookie"})
        self.planned: list[Request] = []
        self.handler: Handler = self.echo

    def plan(self, request: Request) -> Request:
        self.planned.append(request)
        return request

    def pass_terms(self, plan: Request, request: Request) -> None:
        """The handler answers all."""

    def begin_fill(self, plan: Request, request: Request, found: Any = NOT_ASKED) -> None:
        """The handler answers all."""

    def held(self, plan: Request) -> Hit | None:
        return self.plain_hits.get(plan.target)

    def plain_hit(self, plan: Request, held: Hit) -> Hit | None:
        assert held is self.plain_hits[plan.target]
        return copy(held)  # the lane's own, to be changed

    def lasting(self, plan: Request, hit: Hit) -> Hit | None:
        """As long as the table holds the same hit."""
        del hit
        return self.plain_hits[plan.target] if self.hits_last else None

    def still_lasts(self, plan: Request, lasting: Hit) -> bool:
        """Kept count of: how often nothing was made anew."""
        is_same = self.plain_hits.get(plan.target) is lasting
        self.repeats += is_same
        return is_same

    def ask_l2(self, plan: Request, held: Hit | None, then: Callable[[Any], None]) -> bool:
        """L2 holds the plan's target, or a test lets nobody answer yet."""
        if plan.target not in self.l2:
            return False
        self.waiting.append(lambda: then(self.l2[plan.target]))
        if self.answers_l2:
            asyncio.get_running_loop().call_soon(self.waiting.pop())
        return True

    def plain_hit_l2(self, plan: Request, found: Any) -> Hit | None:
        return copy(found) if isinstance(found, Hit) else None

    def is_not_modified(self, request: Request, hit: Hit) -> bool:
        return is_hit_not_modified(request, hit.stored)

    def try_hit(self, request: Request, plan: Request) -> Answer | None:
        hit = self.hits.get(request.target)
        if hit is not None:
            self.requests.append(request)
        return hit

    async def serve(self, request: Request, plan: Request, found: Any = NOT_ASKED) -> Answer:
        self.found.append(found)
        hit = self.try_hit(request, plan)
        if hit is not None:
            return hit
        self.requests.append(request)
        await asyncio.sleep(0)
        return await self.handler(request)

    async def echo(self, request: Request) -> Answer:
        """The target and the body."""
        try:
            body = await read_all(request)
        except BodyBroken as broken:
            return answer(b"broken", status=400, reason=b"Bad Request", failure=broken.failure)
        self.bodies.append(body)
        return answer(request.target + b"|" + body)

    def always(self, made: Callable[[], Answer]) -> None:
        """Answer every request with what `made` makes, its body unread."""

        async def handler(_request: Request) -> Answer:
            return made()

        self.handler = handler


async def read_all(request: Request) -> bytes:
    """A request's body."""
    pieces = []
    if request.body is not None:
        while piece := await request.body.read():
            pieces.append(piece)
    return b"".join(pieces)


class Recorded(NamedTuple):
    """One call of the recorder."""

    target: bytes
    status: int
    sent: int
    complete: bool
    seconds: float


class CannedTally(NamedTuple):
    """Counts with the recorder that made it."""

    records: Records
    route: str
    outcome: Outcome

    def count(self, seconds: float) -> bool:  # type: ignore[override]  # no tuple is looked through here
        return self.records.count(self.route, self.outcome, seconds)


class Records(list[Recorded]):
    """What the recorder was told."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        """Whose lines were written."""
        self._changed = asyncio.Event()

    def count(self, route: str, outcome: Outcome, seconds: float) -> bool:
        return True

    def tally(self, route: str, outcome: Outcome) -> CannedTally:
        return CannedTally(self, route, outcome)

    def write_access(
        self, request: Request, given: Answer | Hit, *, seconds: float, sent: int, complete: bool
    ) -> None:
        self._add(request, given, seconds, sent, complete)

    def record(self, request: Request, given: Answer, *, seconds: float, sent: int, complete: bool) -> None:
        self._add(request, given, seconds, sent, complete)

    def _add(self, request: Request, given: Answer | Hit, seconds: float, sent: int, complete: bool) -> None:
        self.append(Recorded(request.target, given.status, sent, complete, seconds))
        self.requests.append(request)
        self._changed.set()

    async def until(self, count: int) -> Sequence[Recorded]:
        """Wait until so many answers have been recorded."""
        async with asyncio.timeout(10):
            while len(self) < count:
                self._changed.clear()
                await self._changed.wait()
        return self


class Served(NamedTuple):
    """A listener under test and all that a test looks at."""

    listener: Listener
    flow: CannedFlow
    metrics: Metrics
    records: Records
    where: Where

    def refused(self) -> dict[str, int]:
        """Refused requests by cause."""
        return {labels[0]: count for labels, count in self.metrics.refused_requests.values.items()}


@asynccontextmanager
async def serving(
    flow: CannedFlow | None = None,
    *,
    unix: Path | None = None,
    x_cache_status: bool = False,
    plain_lane: bool = True,
    **limits: object,
) -> AsyncIterator[Served]:
    """A listener on loopback with these `limits`; afterwards nothing of it is left."""
    config = Config.model_validate(
        {
            "origin": {"url": "http://127.0.0.1:1"},
            "limits": limits,
            "x_cache_status": x_cache_status,
            "plain_lane": plain_lane,
        }
    )
    flow, metrics, records = flow or CannedFlow(), Metrics(), Records()
    listener = Listener(flow, config, metrics, records, unasked_origin(config, metrics))
    bound = await listener.start(unix or Address("127.0.0.1", 0))
    crashes: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, crash: crashes.append(crash))
    try:
        yield Served(listener, flow, metrics, records, unix or (bound[0].host, bound[0].port))
    finally:
        await listener.finish(0)
        await _all_tasks_ended()
    assert not crashes


async def _all_tasks_ended() -> None:
    """What the listener started must end by itself; a task that does not is a leak."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    _, left = await asyncio.wait(others, timeout=5) if others else ((), ())
    assert not left
    assert not tasks.running()
