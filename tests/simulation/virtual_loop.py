"""An event loop whose clock jumps to the next timer: hours in seconds, and the same order on every run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class VirtualLoop(asyncio.BaseEventLoop):
    """Knows no sockets. Who waits for something that no timer brings waits for ever, which is an error."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self  # the base class asks it how long to sleep

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Instead of waiting for I/O: let the time pass."""
        if timeout is None:
            raise RuntimeError("everybody waits, and no timer is set")
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There is no I/O."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end of `main`; what still runs then is cancelled, as at the death of a process."""
    loop = VirtualLoop()
    asyncio.set_event_loop(None)
    try:
        loop.run_until_complete(main)
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        if rest:
            loop.run_until_complete(asyncio.wait(rest))
    finally:
        loop.close()
