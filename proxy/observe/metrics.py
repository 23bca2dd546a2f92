"""Every metric in one table, counted in plain integers, put into Prometheus' form on scrape.

A label is never a path or a key: routes come from the configuration, all other labels from closed sets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]
Cell = list[float]
"""Of a histogram: how many fell into each bucket; behind them, the sum of all."""
Gauge = Callable[[], Mapping[Labels, float]]

PREFIX = "sidecache_"
SECONDS_BOUNDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)
"""Upper bounds in seconds: 0.1 ms (an L1 hit) to 10 s (the default response timeout)."""
_FIRST_BOUND = SECONDS_BOUNDS[0]


class Counter:
    """A sum per combination of labels."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[Labels, int] = {}

    def add(self, *labels: str, by: int = 1) -> None:
        """Count `by` more for these labels, given in the table's order."""
        self.values[labels] = self.values.get(labels, 0) + by

    def get(self, *labels: str) -> int:
        """The sum for these labels so far."""
        return self.values.get(labels, 0)


class Histogram:
    """Durations in seconds per combination of labels."""

    __slots__ = ("cells",)

    def __init__(self) -> None:
        self.cells: dict[Labels, Cell] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one duration for these labels, given in the table's order."""
        observe_in(self.cell(*labels), seconds)

    def cell(self, *labels: str) -> Cell:
        """Where these labels are counted, from now on for good: whoever counts them often may keep it."""
        cell = self.cells.get(labels)
        if cell is None:
            cell = self.cells[labels] = [0] * (len(SECONDS_BOUNDS) + 1) + [0.0]
        return cell

    def get(self, *labels: str) -> int:
        """How many durations were counted for these labels."""
        return int(sum(self.cells.get(labels, (0,))[:-1]))


def observe_in(cell: Cell, seconds: float) -> None:
    """Count one duration."""
    # Most answers are hits, and most hits are of the first bucket.
    cell[0 if seconds <= _FIRST_BOUND else bisect_left(SECONDS_BOUNDS, seconds)] += 1
    cell[-1] += seconds


class CountOf:
    """Reads as a `Counter` of what a histogram has counted, so that nothing is counted twice."""

    __slots__ = ("_histogram",)

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    @property
    def values(self) -> dict[Labels, int]:
        """The sums by labels."""
        return {labels: self._histogram.get(*labels) for labels in self._histogram.cells}

    def get(self, *labels: str) -> int:
        """The sum for these labels so far."""
        return self._histogram.get(*labels)


class Row(NamedTuple):
    """One metric: its attribute in `Metrics`, what it means, and its labels."""

    name: str
    help: str
    labels: Labels = ()
    across: Literal["sum", "max", "min"] = "sum"
    """What the values of several workers make together."""


COUNTERS = (
    Row("requests", "Requests answered", ("route", "outcome")),
    Row("refused_requests", "Requests refused before routing, by cause", ("cause",)),
    Row("connections_refused", "Client connections refused above limits.connections"),
    Row("client_timeouts", "Client connections ended by a deadline", ("cause",)),
    Row("not_stored", "Origin responses not stored, by reason", ("route", "reason")),
    Row("coalesced", "Requests that shared another request's fetch", ("route",)),
    Row("leases", "Fetches that might have waited for another replica's, by result", ("route", "result")),
    Row("lease_waits", "Fetches that waited for another replica's", ("route",)),
    Row("negative_hits", "Answers from remembered failures and absences", ("route",)),
    Row("refreshes", "Background refreshes, by result", ("route", "result")),
    Row("prefetches", "Fetches that no client asked for (warm, refresh), by result", ("cause", "result")),
    Row("origin_requests", "Requests to the origin, by status class or failure", ("route", "result")),
    Row("origin_retries", "Requests sent again on a fresh connection"),
    Row("origin_slow", "Origin responses slower than origin.slow_after", ("route",)),
    Row("origin_connections_created", "Connections opened to the origin"),
    Row("origin_connections_closed", "Connections to the origin closed, by cause", ("cause",)),
    Row("shed_requests", "Requests answered 503 to protect the origin, by cause", ("cause",)),
    Row("l1_evictions", "Entries that left L1, by cause", ("cause",)),
    Row("l1_refused", "Entries that L1 did not take, by cause", ("cause",)),
    Row("l2_operations", "L2 operations, by result", ("operation", "result")),
    Row("l2_dropped_writes", "L2 writes dropped, by cause", ("cause",)),
    Row("warmed", "Keys that were hot in the fleet and looked up at the start, by result", ("result",)),
    Row("l2_restarts", "Starts of the embedded server after it ended, by result", ("result",)),
    Row("l2_garbage", "L2 values that could not be used, by cause", ("cause",)),
    Row("invalidations", "Invalidation selectors applied", ("selector", "mode")),
    Row("log_errors", "Failed reads or appends of the invalidation log", ("operation",)),
    Row("log_gaps", "Times that the invalidation log could not be followed, by cause", ("cause",)),
    Row("log_rebuilds", "Full reads of the invalidation log, by cause", ("cause",)),
    Row("unsynced", "Entries refused because the invalidation log was not read in time"),
    Row("config_reloads", "Configuration reloads, by result", ("result",)),
    Row("tunnels", "Connections that left HTTP (WebSocket and other upgrades)"),
    Row("worker_ends", "Worker processes that ended and were replaced, by cause", ("cause",)),
)

HISTOGRAMS = (
    Row("request_seconds", "Time from a request's head to its answer's end", ("route", "outcome")),
    Row("origin_seconds", "Time from a request's first byte to the response head", ("route",)),
    Row("l2_seconds", "Time of an L2 operation", ("operation",)),
)

GAUGES = (
    Row("l1_entries", "Entries in L1", ("kind",)),
    Row("l1_bytes", "Bytes in L1: heads, bodies, keys and object overhead", ("kind",)),
    Row("l1_limit_bytes", "The most bytes that L1 may hold"),
    Row("l2_breaker_open", "1 while L2, or one of its servers, is not asked because it failed", across="max"),
    Row("l2_queue_entries", "Writes waiting for L2"),
    Row("l2_queue_bytes", "Bytes waiting for L2"),
    Row("origin_in_flight", "Requests at the origin now"),
    Row("origin_queue", "Requests waiting for a place at the origin"),
    Row("origin_pool", "Connections to the origin, by state", ("state",)),
    Row("flights", "Coalesced fetches under way"),
    Row("leases_held", "Keys that this replica fetches on behalf of all"),
    Row("spool_bytes", "Bytes held by fetches under way"),
    Row("client_connections", "Client connections open"),
    Row("tunnels_open", "Tunnels and event streams open"),
    Row("draining", "1 while draining", across="max"),
    Row("warming", "1 while readiness waits for L1 to be filled", across="max"),
    Row("log_trusted", "1 while the invalidation log was read in time", across="min"),
    Row("log_lag_seconds", "Time since the invalidation log was read to its end", across="max"),
    Row("log_records", "Records in the invalidation index", ("mode",), across="max"),
    Row("replicas_known", "Replicas that shared the invalidation log when it was read last", across="max"),
    Row("config_last_reload_success", "1 if the last reload was applied", across="min"),
    Row("config_loaded_at_seconds", "When the policy in force was loaded, epoch seconds", across="max"),
    Row("config_info", "The policy in force", ("hash",), across="max"),
    Row("loop_lag_seconds", "How late the event loop ran at worst in the last 15 s", across="max"),
    Row("workers", "Worker processes that serve; none without `workers`"),
)


class Metrics:
    """The counters and histograms of the table as attributes; gauges are read on scrape.

    `metrics.requests.add(route, outcome)`; `metrics.gauges["flights"] = lambda: {(): 3}`.
    """

    requests: CountOf
    refused_requests: Counter
    connections_refused: Counter
    client_timeouts: Counter
    not_stored: Counter
    coalesced: Counter
    leases: Counter
    lease_waits: Counter
    negative_hits: Counter
    refreshes: Counter
    prefetches: Counter
    origin_requests: Counter
    origin_retries: Counter
    origin_slow: Counter
    origin_connections_created: Counter
    origin_connections_closed: Counter
    shed_requests: Counter
    l1_evictions: Counter
    l1_refused: Counter
    l2_operations: Counter
    l2_dropped_writes: Counter
    warmed: Counter
    l2_restarts: Counter
    l2_garbage: Counter
    invalidations: Counter
    log_errors: Counter
    log_gaps: Counter
    log_rebuilds: Counter
    unsynced: Counter
    config_reloads: Counter
    tunnels: Counter
    worker_ends: Counter
    request_seconds: Histogram
    origin_seconds: Histogram
    l2_seconds: Histogram

    def __init__(self) -> None:
        for row in COUNTERS:
            setattr(self, row.name, Counter())
        for row in HISTOGRAMS:
            setattr(self, row.name, Histogram())
        self.requests = CountOf(self.request_seconds)
        self.gauges: dict[str, Gauge] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """For prometheus-client: the table's rows with their present values."""
        for row in COUNTERS:
            yield self._counter_family(row)
        for row in HISTOGRAMS:
            yield self._histogram_family(row)
        for row in GAUGES:
            yield self._gauge_family(row)

    def _counter_family(self, row: Row) -> Metric:
        family = CounterMetricFamily(PREFIX + row.name, row.help, labels=row.labels)
        counter: Counter | CountOf = getattr(self, row.name)
        values = counter.values or ({} if row.labels else {(): 0})
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family

    def _histogram_family(self, row: Row) -> Metric:
        family = HistogramMetricFamily(PREFIX + row.name, row.help, labels=row.labels)
        histogram: Histogram = getattr(self, row.name)
        for labels, (*counts, seconds) in histogram.cells.items():
            family.add_metric(labels, _cumulative(counts), seconds)
        return family

    def _gauge_family(self, row: Row) -> Metric:
        family = GaugeMetricFamily(PREFIX + row.name, row.help, labels=row.labels)
        read = self.gauges.get(row.name)
        for labels, value in (read() if read else {}).items():
            family.add_metric(labels, value)
        return family


def _cumulative(counts: list[float]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    total = 0.0
    for bound, count in zip((*map(str, SECONDS_BOUNDS), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
