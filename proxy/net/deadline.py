"""One deadline that moves often and passes rarely, for a connection's whole life.

Moving it costs an assignment: the loop's timer stays where it is and, when it fires too early, is
set again for the rest. A busy connection so sets a timer every few seconds, not one for every read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `on_passed` once the instant set last has passed; never after `clear` or `close`."""

    __slots__ = ("_at", "_fires_at", "_loop", "_on_passed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_passed: Callable[[], None]) -> None:
        self._loop = loop
        self._on_passed: Callable[[], None] | None = on_passed
        self._at: float | None = None
        self._fires_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """From now on the deadline is `seconds` away."""
        self._at = at = self._loop.time() + seconds
        if self._timer is not None and self._fires_at <= at:
            return
        self._cancel_timer()
        self._start_timer(at)

    def clear(self) -> None:
        """Nothing is waited for."""
        self._at = None

    def close(self) -> None:
        """For ever; also lets go of the callback."""
        self._at = self._on_passed = None
        self._cancel_timer()

    def _start_timer(self, at: float) -> None:
        self._fires_at = at
        self._timer = self._loop.call_at(at, self._fire)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        at = self._at
        if at is None or self._on_passed is None:
            return
        # The loop may fire a timer up to its clock's resolution early: _fires_at decides, not time().
        if at > self._fires_at:
            self._start_timer(at)
            return
        self._at = None
        self._on_passed()
