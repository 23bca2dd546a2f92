"""Where the process stands between start and end, for probes and for the drain.

Owns the states and their order; what a drain does to sockets is the callers'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

UNDO_SECONDS = 300.0
"""A drain that no SIGTERM follows undoes itself: a preStop hook of a stop that was called off."""


class ProcessLifecycle:
    """Started, draining, ending. `on_drain` and `on_undo` are told of changes, once each.

    `serves` tells whether anybody would take a request: a supervisor may be without workers. `warms` tells
    whether L1 is still being filled.
    """

    def __init__(
        self,
        *,
        on_drain: Callable[[], None],
        on_undo: Callable[[], None],
        serves: Callable[[], bool] = lambda: True,
        warms: Callable[[], bool] = lambda: False,
    ) -> None:
        self._on_drain = on_drain
        self._on_undo = on_undo
        self._serves = serves
        self._warms = warms
        self._is_started = False
        self._is_ending = False
        self._undo: asyncio.TimerHandle | None = None

    @property
    def is_started(self) -> bool:
        """The policy is loaded and the sockets are bound."""
        return self._is_started

    @property
    def is_live(self) -> bool:
        """The process can go on: whoever can ask has a running loop."""
        return True

    @property
    def is_ready(self) -> bool:
        """New requests are welcome: started, filled, not draining, and there is who serves."""
        is_up = self._is_started and not self.is_draining
        return is_up and not self.is_warming and self._serves()

    @property
    def is_warming(self) -> bool:
        """L1 is being filled; requests are answered all the same."""
        return self._warms()

    @property
    def is_draining(self) -> bool:
        """Told to drain, or ending."""
        return self._is_ending or self._undo is not None

    def started(self) -> None:
        """The sockets are bound and the log was read, or its time is over."""
        self._is_started = True

    def drain(self) -> None:
        """Begin to drain; again has no effect. Undone after five minutes unless `end` follows."""
        if self.is_draining:
            return
        self._undo = asyncio.get_running_loop().call_later(UNDO_SECONDS, self._take_back)
        self._on_drain()

    def end(self) -> None:
        """SIGTERM: the drain that is not undone."""
        was_draining = self.is_draining
        self._is_ending = True
        self._forget_undo()
        if not was_draining:
            self._on_drain()

    def _take_back(self) -> None:
        self._undo = None
        self._on_undo()

    def _forget_undo(self) -> None:
        if self._undo is not None:
            self._undo.cancel()
            self._undo = None
