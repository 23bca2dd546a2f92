"""Departures for tests of what is written, not of when."""

from __future__ import annotations

from proxy.net.departures import Departing, Departures


class _NoWait(list[Departing]):
    """None stays in it."""

    def append(self, connection: Departing) -> None:
        connection.depart()


class AtOnce(Departures):
    """Nothing is held back."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = _NoWait()

    def begin(self) -> None:
        """None waits."""
