"""How many requests may be at the origin at once, who waits, and how many tunnels are open.

The one queue of the origin client: a request that has a place finds a connection or room to open one,
because `max_in_flight` never exceeds `pool.max_connections`. Knows no connections.
"""

from __future__ import annotations

import asyncio
from enum import Enum

from proxy.model import FailureKind, OriginFailure


class _Held(Enum):
    """What a place holds."""

    SLOT = "slot"
    TUNNEL = "tunnel"
    NOTHING = "nothing"


class Admission:
    """Slots for requests with a bounded first-come queue before them; slots for tunnels without one."""

    __slots__ = (
        "_is_closed",
        "_is_empty",
        "_max_in_flight",
        "_max_tunnels",
        "_queue_size",
        "_waiting",
        "in_flight",
        "tunnels",
    )

    def __init__(self, *, max_in_flight: int, queue_size: int, max_tunnels: int) -> None:
        self.in_flight = 0
        self.tunnels = 0
        self._max_in_flight = max_in_flight
        self._queue_size = queue_size
        self._max_tunnels = max_tunnels
        self._waiting: dict[asyncio.Future[Place | OriginFailure], None] = {}
        """In order of arrival; a dict, because those who give up leave from the middle."""
        self._is_closed = False
        self._is_empty = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Admission in_flight={self.in_flight} queued={self.queued} tunnels={self.tunnels}>"

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return len(self._waiting)

    @property
    def is_full_of_tunnels(self) -> bool:
        """No further tunnel may be opened."""
        return self.tunnels >= self._max_tunnels

    def try_enter(self) -> Place | None:
        """A place if there is one without waiting and nobody waits; None: `enter` says why, or waits."""
        return Place(self) if self.try_take() else None

    def try_take(self) -> bool:
        """The same, a bare slot: it ends with `give_back`, or in a `Place`."""
        if self._is_closed or self._waiting or self.in_flight >= self._max_in_flight:
            return False
        self.in_flight += 1
        return True

    async def enter(self, timeout: float) -> Place | OriginFailure:
        """A place, at once or after waiting for at most `timeout` seconds."""
        if self._is_closed:
            return _closed()
        place = self.try_enter()
        if place is not None:
            return place
        if self.queued >= self._queue_size:
            return OriginFailure(FailureKind.QUEUE_FULL, f"{self.queued} requests are waiting")
        return await self._wait(timeout)

    def close(self) -> None:
        """Admit nobody any more, those who wait included."""
        self._is_closed = True
        while self._waiting:
            waiter, _ = self._waiting.popitem()
            waiter.set_result(_closed())

    async def wait_until_empty(self, timeout: float) -> None:
        """Return when no request is in flight, after `timeout` seconds at the latest."""
        try:
            async with asyncio.timeout(timeout):
                while self.in_flight:
                    self._is_empty.clear()
                    await self._is_empty.wait()
        except TimeoutError:
            return

    def leave(self, held: _Held) -> None:
        """For places: give back what it holds."""
        if held is _Held.TUNNEL:
            self.tunnels -= 1
        elif held is _Held.SLOT:
            self.give_back()

    def give_back(self) -> None:
        """A slot: it goes to whoever waits longest."""
        if not self._waiting:
            self.in_flight -= 1
            if not self.in_flight:
                self._is_empty.set()
            return
        waiter = next(iter(self._waiting))
        # Out of the queue with it now: until its task runs, it would bar newcomers from slots that are free.
        del self._waiting[waiter]
        waiter.set_result(Place(self))

    async def _wait(self, timeout: float) -> Place | OriginFailure:
        waiter: asyncio.Future[Place | OriginFailure] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(waiter)
        except TimeoutError:
            if waiter.done():  # granted in the very tick of the timeout
                return waiter.result()
            return OriginFailure(FailureKind.QUEUE_TIMEOUT, f"no place at the origin within {timeout:g} s")
        except asyncio.CancelledError:
            if waiter.done() and isinstance(place := waiter.result(), Place):
                place.leave()
            raise
        finally:
            self._waiting.pop(waiter, None)


class Place:
    """A request's place at the origin; given back once, by whoever ends the exchange."""

    __slots__ = ("_admission", "_held")

    def __init__(self, admission: Admission) -> None:
        """For a slot that was taken."""
        self._admission = admission
        self._held = _Held.SLOT

    @property
    def is_tunnel(self) -> bool:
        """It holds a slot for tunnels."""
        return self._held is _Held.TUNNEL

    def leave(self) -> None:
        """Give it back."""
        held, self._held = self._held, _Held.NOTHING
        self._admission.leave(held)

    def move_to_tunnels(self) -> bool:
        """Leave the slot to other requests and hold one for tunnels instead. False: there is none."""
        if self._admission.is_full_of_tunnels:
            return False
        self.leave()
        self._admission.tunnels += 1
        self._held = _Held.TUNNEL
        return True


def _closed() -> OriginFailure:
    return OriginFailure(FailureKind.CLOSED, "shutting down")
