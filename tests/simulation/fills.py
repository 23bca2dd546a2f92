"""Fills under way at one replica, and the purges that fall into them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.promises import Purge


@dataclass(eq=False)
class Fill:
    """Something on its way into a tier."""

    sort: str
    target: bytes
    version: int | None = None
    """Of its content; None: not read yet."""
    met: dict[Purge, str] = field(default_factory=dict)
    """Purge -> where it was asked for."""


class Fills:
    """Those of one process. `races` counts what really raced: old content that landed behind its purge."""

    def __init__(self, races: Counter[str]) -> None:
        self._races = races
        self._under_way: dict[Fill, None] = {}

    def __contains__(self, fill: Fill) -> bool:
        return fill in self._under_way

    def begin(self, sort: str, target: bytes, version: int | None = None) -> Fill:
        """Something sets out for a tier."""
        fill = Fill(sort, target, version)
        self._under_way[fill] = None
        return fill

    def with_content(self, sort: str, target: bytes) -> Fill | None:
        """One of this sort that has its content already; whatever changes now it does not bring."""
        fills = (fill for fill in self._under_way if (fill.sort, fill.target) == (sort, target))
        return next((fill for fill in fills if fill.version is not None), None)

    def meet(self, purge: Purge, where: str) -> None:
        """A purge is asked for, or applied, while they are under way: each pair counts once."""
        for fill in self._under_way:
            if fill.target in purge.versions:
                fill.met.setdefault(purge, where)

    def land(self, fill: Fill) -> None:
        """It is in its tier. With content that a purge on its way has named, it was a race."""
        self.drop(fill)
        for purge, where in fill.met.items():
            if fill.version is not None and fill.version < purge.versions[fill.target]:
                self._races[f"{fill.sort}, purged {where}"] += 1

    def drop(self, fill: Fill) -> None:
        """It came to nothing."""
        del self._under_way[fill]
