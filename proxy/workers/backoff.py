"""How long to wait before a worker that ended is started again."""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import monotonic

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 10.0
"""A worker that ends each time costs the start of an interpreter in so many seconds."""
STEADY_SECONDS = 60.0
"""After having run for so long the next end counts as the first."""


class Backoff:
    """Of one worker. `clock` is monotonic, `dice` uniform in [0, 1)."""

    def __init__(self, *, clock: Callable[[], float] = monotonic, dice: Callable[[], float] = random) -> None:
        self._clock = clock
        self._dice = dice
        self._started_at = 0.0
        self.ends = 0
        """In a row, each soon after a start."""

    def started(self) -> None:
        """It was started now."""
        self._started_at = self._clock()

    def ended(self) -> float:
        """It ended now; seconds until the next start."""
        if self._clock() - self._started_at >= STEADY_SECONDS:
            self.ends = 0
        self.ends += 1
        longest = min(FIRST_SECONDS * (1 << min(self.ends - 1, 10)), LONGEST_SECONDS)
        # Not all at once: what ended one of them may have ended them all.
        return longest * (0.5 + 0.5 * self._dice())
