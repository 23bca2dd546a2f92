"""SIGTERM and SIGINT: the first asks the process to end, the second to end at once."""

from __future__ import annotations

import asyncio
import signal

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class EndSignals:
    """Heeded while the loop runs. A late one must not turn a clean exit into a failure."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def heed(self) -> None:
        """From now on both events follow the signals."""
        loop = asyncio.get_running_loop()
        for number in _NUMBERS:
            loop.add_signal_handler(number, self._told)

    def ignore(self) -> None:
        """From now on none has an effect: what is left of the process takes milliseconds."""
        loop = asyncio.get_running_loop()
        for number in _NUMBERS:
            # The loop would restore the default, which ends the process, when it closes.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _told(self) -> None:
        if self.first.is_set():
            self.second.set()
        self.first.set()
