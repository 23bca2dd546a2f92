"""Departures for tests of what is written, not of when."""

from __future__ import annotations

from proxy.net.departures import Departing, Departures


class AtOnce(Departures):
    """Nothing is held back."""

    def add(self, connection: Departing) -> None:
        connection.depart()
