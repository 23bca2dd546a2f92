"""One fetch per key in this process; those who ask meanwhile share its outcome.

A flight belongs to no client: its task runs to the end whoever hangs up. Its leader may read the body
along; followers get the finished entry, and `request_flow.py` decides for each whether it may have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from msgspec import Struct, field

from proxy.engine.spool import SpoolReader
from proxy.model import (
    Capture,
    FailureKind,
    Fields,
    OriginFailure,
    OriginResponse,
    Reason,
    ResponseHead,
    StoredResponse,
)
from proxy.observe.tasks import spawn


class Streaming(Struct, frozen=True):
    """For the leader only: the response will be stored, its body arrives now."""

    head: ResponseHead
    body: SpoolReader


class Uncacheable(Struct, frozen=True):
    """For the leader only: the response itself, unread. Followers are released at this moment."""

    response: OriginResponse
    reason: Reason


class Unshared(Struct, frozen=True):
    """For the leader only: validated by a 304 that forbids to keep it (a Set-Cookie, private, ...)."""

    stored: StoredResponse
    head: ResponseHead
    reason: Reason


class Fetched(Struct, frozen=True):
    """The whole response as an entry."""

    stored: StoredResponse
    head: ResponseHead | None
    """The origin's own, for the one who asked; None: it was not about the whole response (304, 206)."""
    is_kept: bool
    """A store has it; False when an invalidation overtook the fetch."""
    origin_status: int
    vary: tuple[bytes, ...] = ()
    """Request fields in which a follower must agree with the one who asked (RFC 9111 §4.1)."""
    asked: Fields = field(default_factory=Fields)
    """The fields of the request that asked."""

    @property
    def is_validated(self) -> bool:
        """The origin said that the stored response holds."""
        return self.origin_status == 304


class Found(Struct, frozen=True):
    """What another replica fetched meanwhile, as L2 has it."""

    stored: StoredResponse
    vary: tuple[bytes, ...]
    """Request fields in which whoever shares it must agree with the one who looked (RFC 9111 §4.1)."""
    asked: Fields
    """The fields of the request that looked."""


class Released(Struct, frozen=True):
    """Nothing to share: each asks for itself."""

    reason: Reason


class Failed(Struct, frozen=True):
    """The origin failed: unreachable, broken off, or an error status (then `failure` is None)."""

    status: int
    failure: OriginFailure | None = None


Ending = Fetched | Found | Released | Failed
Asked = Streaming | Uncacheable | Unshared | Fetched | Released | Failed
"""What asking the origin leads to first."""
Opening = Asked | Found

_log = structlog.get_logger("sidecache.engine")

_Waiters = dict[asyncio.Future[None], None]
"""In the order of arrival, in which they are woken; a dict, as they may leave from the middle."""


class Flight:
    """One fetch under way and those who wait for it."""

    __slots__ = ("_ended", "_followers", "_leaders", "_on_end", "_opened", "capture", "has_leader", "key")

    def __init__(self, key: bytes, capture: Capture, *, has_leader: bool = True) -> None:
        self.key = key
        self.capture = capture
        self.has_leader = has_leader
        """A client waits for the response's head; False for a background refresh."""
        self._opened: Opening | None = None
        self._ended: Ending | None = None
        self._on_end: tuple[Callable[[Ending], None], ...] = ()
        # One future for each who waits, so that each can be cancelled alone.
        self._leaders: _Waiters = {}
        self._followers: _Waiters = {}

    def __repr__(self) -> str:
        state = "ended" if self._ended else "opened" if self._opened else "asking"
        return f"<Flight {self.key.hex()} {state}>"

    def open(self, opening: Streaming | Uncacheable | Unshared) -> bool:
        """The head is here and the leader may go on; False when there is no leader to take it."""
        if not self.has_leader or self._opened is not None:
            return False
        self._opened = opening
        _wake(self._leaders)
        return True

    def end(self, ending: Ending) -> None:
        """The outcome for everybody; later calls change nothing."""
        if self._ended is None:
            self._ended = ending
        if self._opened is None:
            self._opened = ending
        _wake(self._leaders)
        _wake(self._followers)
        thens, self._on_end = self._on_end, ()
        for then in thens:
            _tell(then, self._ended)

    def when_ended(self, then: Callable[[Ending], None]) -> None:
        """Tell `then` the outcome, once, in the step in which it is known."""
        if self._ended is None:
            self._on_end += (then,)
        else:
            _tell(then, self._ended)

    async def opening(self) -> Opening:
        """For the leader: the head, or the end where that is all there is.

        Needs no deadline of its own: every wait of the fetch has one.
        """
        if self._opened is None:
            # As `_woken` waits, without its coroutine: a miss has a leader, and seldom a follower.
            waiter = asyncio.get_running_loop().create_future()
            self._leaders[waiter] = None
            try:
                await waiter
            except asyncio.CancelledError:
                self._leave()
                raise
            finally:
                self._leaders.pop(waiter, None)
        return cast(Opening, self._opened)

    async def ending(self) -> Ending:
        """For followers: the outcome. Bounded as `opening` is."""
        if self._ended is None:
            await _woken(self._followers)
        return cast(Ending, self._ended)

    @property
    def is_ended(self) -> bool:
        """The outcome is known: whoever asks now finds it in a store or fetches anew."""
        return self._ended is not None

    def _leave(self) -> None:
        self.has_leader = False
        match self._opened:
            case Streaming(body=body):
                body.abandon()
            case Uncacheable(response=response):
                response.body.abandon()
            case _:
                pass


async def _woken(waiters: _Waiters) -> None:
    waiter = asyncio.get_running_loop().create_future()
    waiters[waiter] = None
    try:
        await waiter
    finally:
        waiters.pop(waiter, None)


def _wake(waiters: _Waiters) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _tell(then: Callable[[Ending], None], ending: Ending) -> None:
    try:
        then(ending)
    except Exception:  # noqa: BLE001 - a defect of ours: the fetch has ended all the same
        _log.exception("who waited for the end of a fetch crashed")


_CUT_OFF = Failed(503, OriginFailure(FailureKind.CLOSED, "the fetch was ended"))


class Flights:
    """The flights under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: bytes) -> Flight | None:
        """The flight to join; None when there is none."""
        flight = self._flights.get(key)
        return None if flight is None or flight.is_ended else flight

    def start(
        self,
        key: bytes,
        capture: Capture,
        fetch: Callable[[Flight], Awaitable[Ending]],
        *,
        is_shared: bool = True,
        has_leader: bool = True,
    ) -> Flight:
        """Start a fetch in a task of its own; with `is_shared`, others may join until it ends."""
        flight = Flight(key, capture, has_leader=has_leader)
        if is_shared:
            self._flights[key] = flight
        self.go_on(flight, fetch)
        return flight

    def begin(self, key: bytes, capture: Capture) -> Flight:
        """One that others may join, without a task: for who calls `end`, or `go_on`, whatever happens."""
        flight = self._flights[key] = Flight(key, capture)
        return flight

    def go_on(self, flight: Flight, fetch: Callable[[Flight], Awaitable[Ending]]) -> None:
        """In a task of its own from here on."""
        spawn(f"fetch {flight.key.hex()}", self._run(flight, fetch))

    def end(self, flight: Flight, ending: Ending) -> None:
        """Nobody joins it any more, and who has waits no longer."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        flight.end(ending)

    async def _run(self, flight: Flight, fetch: Callable[[Flight], Awaitable[Ending]]) -> None:
        ending: Ending = _CUT_OFF
        try:
            ending = await fetch(flight)
        finally:
            # Also after a crash or a cancellation: waiters are never left behind.
            self.end(flight, ending)
