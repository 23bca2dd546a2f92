"""Who is told once what was queued has been written or given up, in the order in which they asked.

Owns how long they wait, and how many may. Knows nothing of what is queued: whoever does counts it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

MOST_WAITING = 20_000
"""Twice the writes that wait at most. Beyond it nobody waits."""

Then = Callable[[bool], None]
"""Takes whether L2 may be relied upon to have it."""

_log = structlog.get_logger("sidecache.l2")


class Settling:
    """Each who asks is told once: by `reached`, after `seconds`, or at the end.

    All wait equally long, so those who have waited longest are the first, and one timer is enough.
    """

    def __init__(self, seconds: float, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._seconds = seconds
        self._loop = loop
        self._waiting: deque[tuple[int, float, Then]] = deque()
        """Which count they wait for, until when at most, and who."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, count: int, then: Then) -> None:
        """Tell `then` once all up to `count` are settled. Counts never sink."""
        if len(self._waiting) >= MOST_WAITING:
            _tell(then, has_settled=False)
            return
        loop = self._loop = self._loop or asyncio.get_running_loop()
        self._waiting.append((count, loop.time() + self._seconds, then))
        if self._timer is None:
            self._timer = self._timer_for_first(loop)

    def reached(self, count: int, *, has_settled: bool) -> None:
        """All up to `count` are written, or given up."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= count:
            _tell(waiting.popleft()[2], has_settled=has_settled)

    def end(self) -> None:
        """Nothing is written any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _tell(self._waiting.popleft()[2], has_settled=False)

    def _timer_for_first(self, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle | None:
        if not self._waiting:
            return None
        ends_at = self._waiting[0][1]
        return loop.call_at(ends_at, self._on_time, loop, ends_at)

    def _on_time(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        # The loop may fire a timer up to its clock's resolution early: the timer decides, not time().
        while self._waiting and self._waiting[0][1] <= now:
            _tell(self._waiting.popleft()[2], has_settled=False)
        self._timer = self._timer_for_first(loop)


def _tell(then: Then, *, has_settled: bool) -> None:
    try:
        then(has_settled)
    except Exception:  # noqa: BLE001 - a defect of ours: it must not leave the others waiting
        _log.exception("who waited for a write crashed")
