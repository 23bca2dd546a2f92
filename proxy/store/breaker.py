"""When L2 may be asked: a circuit breaker as a value machine. The clock is injected, no I/O.

    closed --failed--> open --recovered--> closed

One failure opens it: clients pay for an unreachable server with one deadline at most, and never with a
retry. That is bearable because closing is quick: a breaker that was calm is probed again at once, so a
single late answer, a stalled loop say, costs a moment without L2 and not a second.
"""

from __future__ import annotations

from collections.abc import Callable

PROBE_SECONDS = 1.0
"""Between two probes of a server that does not answer."""
CALM_SECONDS = 10.0
"""Closed for so long, it counts as healthy: the first probe need not wait."""


class Breaker:
    """Knows whether L2 is asked, and how long to wait before it is tried again."""

    __slots__ = ("_clock", "_closed_at", "_opened_at", "is_open")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._closed_at = clock() - CALM_SECONDS
        self._opened_at = 0.0
        self.is_open = False
        """L2 is not asked. No property: each look-up asks."""

    def __repr__(self) -> str:
        return f"<Breaker {'open' if self.is_open else 'closed'}>"

    def failed(self) -> bool:
        """An operation failed; True if that opened the breaker."""
        if self.is_open:
            return False
        self.is_open = True
        self._opened_at = self._clock()
        return True

    def recovered(self) -> None:
        """A probe was answered."""
        self.is_open = False
        self._closed_at = self._clock()

    def seconds_to_first_probe(self) -> float:
        """How long to leave the server alone after the breaker opened."""
        if not self.is_open:
            return 0.0
        was_calm = self._opened_at - self._closed_at >= CALM_SECONDS
        return 0.0 if was_calm else PROBE_SECONDS
