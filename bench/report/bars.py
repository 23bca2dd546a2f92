"""The bars: what must be reached, and what of it a run reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from bench.report.result import Result

OURS = "sidecache"


class Verdict(Enum):
    """What a measured value says of a bar."""

    GOAL = "goal reached"
    MET = "met"
    NOT_MET = "**not met**"
    WRONG = "**wrong answers**"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Bar:
    """A line to be above, or below where `is_most`."""

    scenario: str
    what: str
    value: Callable[[Result], float | None]
    bar: float
    goal: float | None = None
    is_most: bool = False
    unit: str = ""
    """Nothing for a ratio."""

    def measured(self, results: Mapping[str, Result]) -> float | None:
        result = results.get(self.scenario)
        return self.value(result) if result else None

    def verdict(self, results: Mapping[str, Result]) -> Verdict:
        """Speed with wrong answers counts for nothing."""
        measured = self.measured(results)
        if measured is None:
            return Verdict.NOT_MEASURED
        if OURS in results[self.scenario].faults:
            return Verdict.WRONG
        if self.goal is not None and self._is_reached(measured, self.goal):
            return Verdict.GOAL
        return Verdict.MET if self._is_reached(measured, self.bar) else Verdict.NOT_MET

    def _is_reached(self, measured: float, line: float) -> bool:
        return measured <= line if self.is_most else measured >= line


def _rate(scenario: str, peer: str, bar: float, goal: float | None = None) -> Bar:
    return Bar(scenario, f"requests/s ÷ {peer}'s", _ratio("requests_per_second", peer), bar, goal)


def _ratio(figure: str, other: str) -> Callable[[Result], float | None]:
    return lambda result: result.ratio(figure, OURS, other)


def _middle(figure: str) -> Callable[[Result], float | None]:
    return lambda result: result.middle(OURS, figure)


def _worst_above_bare_loop(result: Result) -> float | None:
    """The worst of all rounds: a pause that comes once in a while is in one of them."""
    ours, bare = (result.figures.get(name, {}).get("worst_ms") for name in (OURS, "bare loop"))
    return max(ours) - max(bare) if ours and bare else None


def _second_worker(result: Result) -> float | None:
    ours, theirs = (
        result.ratio("requests_per_second", f"{name} with 2 workers", name) for name in (OURS, "nginx")
    )
    return ours / theirs if ours and theirs else None


BARS = (
    _rate("hit", "nginx", 0.85, 1.1),
    _rate("hit", "varnish", 1.5),
    _rate("hit-same", "nginx", 1.15, 1.5),
    _rate("hit-304", "nginx", 0.8, 1.0),
    _rate("hit-100k", "nginx", 0.8, 1.0),
    _rate("hit-1m", "nginx", 0.8, 1.0),
    _rate("l2", "nginx-lua", 0.85, 1.2),
    _rate("pass", "nginx", 0.55, 0.8),
    _rate("miss", "nginx", 1.2, 2.0),
    _rate("post", "nginx", 0.4, 0.6),
    Bar("shop", "requests/s ÷ our own hits", _ratio("requests_per_second", f"{OURS} hits"), 0.3, 0.45),
    Bar("shop", "P99", _middle("p99_ms"), 25, 15, is_most=True, unit="ms"),
    Bar("paced", "P99 ÷ nginx's", _ratio("p99_ms", "nginx"), 1.3, 1.0, is_most=True),
    Bar("start", "time ÷ imports alone", _ratio("ready_seconds", "imports alone"), 2.2, 1.5, is_most=True),
    Bar("start", "resting memory", _middle("resting_mib"), 60, 50, is_most=True, unit="MiB"),
    Bar("memory", "per entry, 100,000", _middle("bytes_at_100000"), 700, 450, is_most=True, unit="bytes"),
    Bar("memory", "per entry, 1,000,000", _middle("bytes_at_1000000"), 700, 450, is_most=True, unit="bytes"),
    Bar("pauses", "worst above a bare loop's", _worst_above_bare_loop, 10, 5, is_most=True, unit="ms"),
    Bar("workers", "(two ÷ one) ÷ nginx's", _second_worker, 0.9),
)
