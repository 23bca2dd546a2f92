"""What several processes counted, as one: snapshots that travel as JSON, and their sum.

Owns the arithmetic: counters and histograms add up, a gauge as its row of the table says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from proxy.observe.metrics import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    Counter,
    Gauge,
    Histogram,
    Labels,
    Metrics,
    Row,
)

Snapshot = Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]
"""Kind -> name -> rows of labels and values; plain JSON."""

_COUNTED = tuple(row for row in COUNTERS if row.name != "requests")  # what request_seconds has counted
_FOLD: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


def snapshot(metrics: Metrics) -> Snapshot:
    """All values now."""
    return {
        "counters": {row.name: _listed(_counter(metrics, row).values) for row in _COUNTED},
        "histograms": {row.name: _observed(_histogram(metrics, row)) for row in HISTOGRAMS},
        "gauges": {name: _listed(read()) for name, read in metrics.gauges.items()},
    }


def add_sums(into: Metrics, taken: Snapshot) -> None:
    """Add the counters and histograms: what stays true of a process that has ended."""
    for row in _COUNTED:
        for labels, value in taken["counters"][row.name]:
            _counter(into, row).add(*labels, by=value)
    for row in HISTOGRAMS:
        for labels, cell in taken["histograms"][row.name]:
            _add_observed(_histogram(into, row), tuple(labels), cell)


def combined(ended: Metrics, living: Iterable[Snapshot]) -> Metrics:
    """The sums of those that have ended and of those that live, and the living ones' gauges as one."""
    total = Metrics()
    snapshots = tuple(living)
    for taken in (snapshot(ended), *snapshots):
        add_sums(total, taken)
    for row in GAUGES:
        read = [taken["gauges"][row.name] for taken in snapshots if row.name in taken["gauges"]]
        if read:
            total.gauges[row.name] = _gauge(row, read)
    return total


def _gauge(row: Row, read: Iterable[Sequence[Sequence[Any]]]) -> Gauge:
    values: dict[Labels, list[float]] = {}
    for listed in read:
        for labels, value in listed:
            values.setdefault(tuple(labels), []).append(value)
    folded = {labels: float(_FOLD[row.across](found)) for labels, found in values.items()}
    return lambda: folded


def _listed(values: Mapping[Labels, float]) -> list[list[object]]:
    return [[list(labels), value] for labels, value in values.items()]


def _observed(histogram: Histogram) -> list[list[object]]:
    return [[list(labels), list(cell)] for labels, cell in histogram.cells.items()]


def _add_observed(histogram: Histogram, labels: Labels, cell: Sequence[float]) -> None:
    total = histogram.cell(*labels)
    total[:] = [old + new for old, new in zip(total, cell, strict=True)]


def _counter(metrics: Metrics, row: Row) -> Counter:
    counter: Counter = getattr(metrics, row.name)
    return counter


def _histogram(metrics: Metrics, row: Row) -> Histogram:
    histogram: Histogram = getattr(metrics, row.name)
    return histogram
