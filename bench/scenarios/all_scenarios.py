"""Every scenario, in the order of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bench.report.result import Result
from bench.scenarios.million import Million
from bench.scenarios.paced import PacedHits
from bench.scenarios.shop import Shop
from bench.scenarios.stampede import Stampede
from bench.scenarios.start import Start
from bench.scenarios.throughput import THROUGHPUT
from bench.scenarios.workers import Workers
from bench.session import Session


class Scenario(Protocol):
    """What is run together; it has one name for each result."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]: ...


SCENARIOS: tuple[Scenario, ...] = (
    *THROUGHPUT,
    Shop(),
    PacedHits(),
    Stampede(),
    Start(),
    Million(),
    Workers(),
)
NAMES = tuple(name for scenario in SCENARIOS for name in scenario.names)
