"""An engine with real stores and rules, in front of an origin and behind a log that the test steps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.engine.coalescing import Flights
from proxy.engine.fetching import Fetcher
from proxy.engine.filling import Filling
from proxy.engine.fleet_fetching import FleetFetcher
from proxy.engine.keeping import Keeper
from proxy.engine.lookup import Lookup
from proxy.engine.marks import Marks
from proxy.engine.origin_flow import OriginFlow
from proxy.engine.passing import Passing
from proxy.engine.plan import make_plan
from proxy.engine.receiving import Receiver
from proxy.engine.refreshing import Refresher
from proxy.engine.request_flow import RequestFlow
from proxy.engine.spool import SpoolBudget
from proxy.model import (
    NOT_ASKED,
    Answer,
    BodyBroken,
    Capture,
    Claim,
    Entry,
    FailureKind,
    FieldLine,
    Fields,
    Found,
    Framing,
    Held,
    OriginFailure,
    OriginResponse,
    Position,
    Request,
    ResponseHead,
    StoredResponse,
    Succession,
    Tunnel,
    Validity,
)
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import running, spawn
from proxy.policy.invalidation import Selector
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore
from tests.support.clocks import GatedPause, SteppedClock
from tests.support.configs import config
from tests.support.responses import NOW, date
from tests.support.routing import SECRET, get, routes_of

REFUSED = OriginFailure(FailureKind.REFUSED)
BROKEN = OriginFailure(FailureKind.BROKEN_BODY)

Piece = bytes | OriginFailure | asyncio.Event


class FakeBody:
    """Pieces as they arrive: bytes, a break (a failure) or a wait (an event)."""

    def __init__(
        self, pieces: Sequence[Piece], length: int | None = None, *, has_arrived: bool = False
    ) -> None:
        self._pieces = deque(pieces)
        self.length = length
        self._has_arrived = has_arrived
        self.is_abandoned = False

    async def read(self) -> bytes:
        """The next piece, waiting where the script says so."""
        while self._pieces:
            piece = self._pieces.popleft()
            if isinstance(piece, OriginFailure):
                raise BodyBroken(piece)
            if isinstance(piece, bytes):
                return piece
            await piece.wait()
        return b""

    def take_rest(self) -> bytes | None:
        """All pieces, where the script says that they came with the head."""
        if not self._has_arrived:
            return None
        rest = b"".join(piece for piece in self._pieces if isinstance(piece, bytes))
        self._pieces.clear()
        return rest

    def abandon(self) -> None:
        """Nobody reads on."""
        self.is_abandoned = True


@dataclass
class Reply:
    """What the origin says once; `length` of "whole" states the pieces' own."""

    lines: tuple[FieldLine, ...] = ((b"Cache-Control", b"max-age=100"),)
    pieces: Sequence[Piece] = (b"body",)
    status: int = 200
    length: int | str | None = "whole"
    framing: Framing = Framing.LENGTH
    tunnel: Tunnel | None = None
    has_arrived: bool = False
    bodies: list[FakeBody] = field(default_factory=list)

    def respond(self, now: float) -> OriginResponse:
        """A response of this script, received at once."""
        length = self.length
        if length == "whole":
            length = sum(len(piece) for piece in self.pieces if isinstance(piece, bytes))
        assert not isinstance(length, str)
        body = FakeBody(self.pieces, length, has_arrived=self.has_arrived)
        self.bodies.append(body)
        head = ResponseHead(self.status, Fields([(b"Date", date(now - NOW)), *self.lines]), b"")
        return OriginResponse(head, body, self.framing, now, now, self.tunnel)


def reply(cache_control: bytes = b"max-age=100", *lines: FieldLine, **changes: Any) -> Reply:
    """A reply with this Cache-Control (none where it is empty)."""
    stated = ((b"Cache-Control", cache_control),) if cache_control else ()
    return Reply(lines=(*stated, *lines), **changes)


class FakeOrigin:
    """Answers by script: one reply a request, the last one for ever; `gate` holds all heads back."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._script: deque[Reply | OriginFailure | Exception] = deque([reply()])
        self._asked = asyncio.Condition()
        self.requests: list[Request] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def will(self, *script: Reply | OriginFailure | Exception) -> None:
        """Answer with these from now on."""
        self._script = deque(script)

    async def fetch(self, request: Request, *, route: str) -> OriginResponse | OriginFailure:
        """The script's next answer, once the gate is open."""
        del route
        async with self._asked:
            self.requests.append(request)
            said = self._script.popleft() if len(self._script) > 1 else self._script[0]
            self._asked.notify_all()
        await self.gate.wait()
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, OriginFailure) else said.respond(self._clock())

    async def asked(self, times: int) -> None:
        """Wait until so many requests were sent."""
        async with asyncio.timeout(10), self._asked:
            await self._asked.wait_for(lambda: len(self.requests) >= times)


class FakeLog:
    """An ordered log in memory: each purge has a place, and what was born before it is taken back."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._purges: list[tuple[int, bool]] = []
        self._now = 0
        self.is_synced = True
        self.purged: list[tuple[tuple[Selector, ...], bool]] = []
        self.forced: Validity | None = None

    def purge(self, *, soft: bool = False) -> None:
        """Invalidate everything that was born so far."""
        self._now += 1
        self._purges.append((self._now, soft))

    def capture(self) -> Capture:
        """The place of the newest purge."""
        return Capture(Position(1, self._now, 0, 7), len(self._purges), self._monotonic())

    def judge(self, entry: StoredResponse, *, began_at: float | None = None) -> Validity:
        """Dead or stale where a purge is newer than the entry's birth."""
        del began_at
        if self.forced is not None:
            return self.forced
        born = entry.born.ms if entry.born else -1
        newer = [soft for at, soft in self._purges if at > born]
        if not newer:
            return Validity.ALIVE
        return Validity.STALE if all(newer) else Validity.DEAD

    def is_current(self, held: Held) -> bool:
        """Nothing has changed since it was found alive."""
        return self.is_synced and self.judge_held(held) is Validity.ALIVE

    def judge_held(self, held: Held) -> Validity:
        """The same for a copy in L1."""
        assert isinstance(held.entry, StoredResponse)
        return self.judge(held.entry)

    async def append(self, selectors: Sequence[Selector], *, soft: bool) -> object:
        """Remember what was asked for."""
        self.purged.append((tuple(selectors), soft))
        return None

    def purge_soon(self, selectors: Sequence[Selector]) -> None:
        """Remember what was asked for."""
        self.purged.append((tuple(selectors), False))

    def supersede(self, selectors: Sequence[Selector], *, heir: StoredResponse, since: Capture) -> Succession:
        """Purge everything; the heir is born here, unless there was a purge since `since`."""
        del heir
        is_current = since.version == len(self._purges)
        self.purge_soon(selectors)
        self.purge()
        return self._succession(self.capture() if is_current else None)

    async def _succession(self, capture: Capture | None) -> Capture | None:
        return capture


class FakeL2:
    """A dict behind L1."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.asked: list[bytes] = []
        self.is_open = False
        self.on_look_up: Callable[[], None] = lambda: None
        self.takes_writes = True
        self.unwritten: list[Callable[[bool], None]] | None = None
        """Who waits for the writes, where the test has them wait."""

    async def look_up(self, key: bytes) -> Entry | None:
        """What was put; `on_look_up` happens meanwhile."""
        self.asked.append(key)
        await asyncio.sleep(0)
        self.on_look_up()
        return self.entries.get(key)

    def ask(self, key: bytes, then: Callable[[Entry | None], None]) -> bool:
        """The same, unless the link is open."""
        if self.is_open:
            return False

        def answer() -> None:
            self.on_look_up()
            then(self.entries.get(key))

        self.asked.append(key)
        asyncio.get_running_loop().call_soon(answer)
        return True

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep it at once."""
        if self.takes_writes:
            self.entries[key] = entry

    def when_written(self, then: Callable[[bool], None]) -> None:
        """At once, unless writes are refused or the test has them wait."""
        if self.unwritten is None:
            then(self.takes_writes)
        else:
            self.unwritten.append(then)


class FakeLeases:
    """Who fetches what, among the engines of a test. With an L2, a claim looks there, too."""

    def __init__(self, l2: FakeL2 | None = None) -> None:
        self._l2 = l2
        self.holders: set[bytes] = set()
        self.lone: dict[bytes, float] = {}
        """Key -> for how long it was said that nobody is to wait; the test ends it."""
        self.is_down = False

    def ask(self, key: bytes, entry_key: bytes, then: Callable[[Claim, Found], None]) -> None:
        """The same without a wait."""
        spawn("claim", self.claim(key, entry_key)).add_done_callback(lambda claim: then(*claim.result()))

    async def claim(self, key: bytes, entry_key: bytes) -> tuple[Claim, Found]:
        """Take it if nobody has it; then look."""
        await asyncio.sleep(0)
        if self.is_down:
            return Claim.UNAVAILABLE, NOT_ASKED
        if key in self.lone:
            return Claim.LONE, NOT_ASKED
        claim = Claim.TAKEN if key in self.holders else Claim.HELD
        self.holders.add(key)
        return claim, NOT_ASKED if self._l2 is None else await self._l2.look_up(entry_key)

    def release(self, key: bytes, *, lone_seconds: float = 0.0) -> None:
        """Give it back."""
        self.holders.remove(key)
        if lone_seconds:
            self.lone[key] = lone_seconds


class Engine:
    """All of the engine on one route for every path; jitter is off unless the policy asks for it."""

    def __init__(
        self,
        *,
        l2: FakeL2 | None = None,
        leases: FakeLeases | None = None,
        on_error: str = "open",
        spool: int = 1_000_000,
        max_entry_bytes: int = 500_000,
        at_once: int = 4,
        profile: str = "safe",
        sections: dict[str, Any] | None = None,
        **policy: Any,
    ) -> None:
        self.clock, self.monotonic = SteppedClock(NOW), SteppedClock()
        self.roll = 0.5
        self.profile = profile
        self.metrics = Metrics()
        self.origin = FakeOrigin(self.clock)
        self.log = FakeLog(self.monotonic)
        self.memory = MemoryStore(
            self.metrics, max_entries=1000, max_bytes=10_000_000, max_entry_bytes=max_entry_bytes
        )
        self.l2 = l2
        self.leases = leases
        self.pause = GatedPause(self.monotonic)
        self.tiers = TieredStore(self.memory, l2, on_error=on_error)
        self.route = {"name": "all", "match": {"path": "/**"}, "jitter": 0, **policy}
        self.routes = routes_of(self.route)
        self.budget = SpoolBudget(spool)
        self.flights = Flights()
        self.keeper = Keeper(self.tiers, secret=SECRET, clock=self.clock)
        self.uncacheable = Marks(seconds=10, limit=100)
        self.fetcher = self._fetcher(max_entry_bytes)
        self.fleet_fetcher = self._fleet_fetcher()
        self.refresher = Refresher(
            flights=self.flights,
            fetcher=self.fleet_fetcher,
            log=self.log,
            metrics=self.metrics,
            failing=Marks(seconds=1, limit=100),
            at_once=at_once,
            monotonic=self.monotonic,
        )
        self.flow = self._flow(sections or {})

    def _fetcher(self, max_entry_bytes: int) -> Fetcher:
        return Fetcher(
            origin=self.origin,
            keeper=self.keeper,
            log=self.log,
            metrics=self.metrics,
            receiver=Receiver(budget=self.budget, max_entry_bytes=max_entry_bytes, metrics=self.metrics),
            uncacheable=self.uncacheable,
            profile=self.profile,
            clock=self.clock,
            monotonic=self.monotonic,
            dice=self.dice,
        )

    def _fleet_fetcher(self) -> FleetFetcher:
        return FleetFetcher(
            self.fetcher,
            self.leases,
            tiers=self.tiers,
            shared=self.tiers,
            log=self.log,
            metrics=self.metrics,
            secret=SECRET,
            clock=self.clock,
            monotonic=self.monotonic,
            dice=self.dice,
            pause=self.pause,
        )

    def _flow(self, sections: dict[str, Any]) -> RequestFlow:
        origin_flow = OriginFlow(
            shared=self.tiers,
            log=self.log,
            fetcher=self.fetcher,
            fleet_fetcher=self.fleet_fetcher,
            flights=self.flights,
            refresher=self.refresher,
            uncacheable=self.uncacheable,
            secret=SECRET,
            clock=self.clock,
            monotonic=self.monotonic,
            dice=self.dice,
        )
        return RequestFlow(
            config(routes=[self.route], profile=self.profile, **sections),
            tiers=self.tiers,
            shared=self.tiers,
            log=self.log,
            origin_flow=origin_flow,
            filling=Filling(
                origin_flow=origin_flow,
                fetcher=self.fetcher,
                fleet_fetcher=self.fleet_fetcher,
                flights=self.flights,
                refresher=self.refresher,
                uncacheable=self.uncacheable,
                log=self.log,
                clock=self.clock,
                monotonic=self.monotonic,
            ),
            passing=Passing(
                origin=self.origin,
                log=self.log,
                fetcher=self.fetcher,
                flights=self.flights,
                secret=SECRET,
                clock=self.clock,
            ),
            refresher=self.refresher,
            secret=SECRET,
            clock=self.clock,
            dice=self.dice,
        )

    def dice(self) -> float:
        """The roll that the test chose."""
        return self.roll

    def step(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.clock.step(seconds)
        self.monotonic.step(seconds)

    def lookup(self, request: Request) -> Lookup:
        """The question that this request is."""
        return make_plan(request, self.routes, secret=SECRET).lookup(request)

    async def ask(self, target: bytes = b"/", *lines: FieldLine, **changes: Any) -> Answer:
        """A GET through the engine."""
        return await self.serve(get(target, *lines, **changes))

    async def serve(self, request: Request) -> Answer:
        """Any request through the engine, within a deadline."""
        async with asyncio.timeout(10):
            return await self.flow.serve(request)

    async def settle(self) -> None:
        """Wait until no task of the engine runs."""
        async with asyncio.timeout(10):
            while tasks := running():
                await asyncio.wait(tasks)
                await turns(1)


async def turns(count: int) -> None:
    """Let the loop go round: everybody who can go on does."""
    for _ in range(count):
        await asyncio.sleep(0)


async def body_of(answer: Answer) -> bytes:
    """The whole body. Raises BodyBroken as it does."""
    if isinstance(answer.body, bytes):
        return answer.body
    pieces = []
    async with asyncio.timeout(10):
        while piece := await answer.body.read():
            pieces.append(piece)
    return b"".join(pieces)


def detail_of(answer: Answer) -> str | None:
    """The word in Cache-Status that says more."""
    assert answer.cache_status is not None
    return answer.cache_status.detail
