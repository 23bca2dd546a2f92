"""What is counted and logged of each request to the origin. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from proxy.model import FailureKind, OriginFailure, OriginResponse, Request
from proxy.net.response_head import ReceivedHead
from proxy.observe.logs import correlation
from proxy.observe.metrics import Cell, Labels, Metrics, observe_in
from proxy.observe.recorder import LineBudget

CANCELLED = "cancelled"
_SLOW_LINES_PER_SECOND = 20
_SHED = frozenset(
    {
        FailureKind.POOL_EXHAUSTED,
        FailureKind.QUEUE_FULL,
        FailureKind.QUEUE_TIMEOUT,
        FailureKind.TUNNELS_FULL,
    }
)
"""The origin was spared."""

_CLASSES = ("", "1xx", "2xx", "3xx", "4xx", "5xx")
"""By the first digit of the status."""

_log = structlog.get_logger("sidecache.origin")


class OriginRecord:
    """Counts results by route; logs what took longer than `slow_after` seconds, at a bounded rate."""

    __slots__ = ("_counts", "_metrics", "_series", "_slow_lines", "slow_after")

    def __init__(self, metrics: Metrics, *, slow_after: float, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self.slow_after = slow_after
        """Of what takes longer, in seconds, `waited` tells more than it counts."""
        self._counts = metrics.origin_requests.values
        self._series: dict[tuple[str, int], tuple[Cell, Labels]] = {}
        """Where answers are counted, by route and class: as many as the metric has series."""
        self._slow_lines = LineBudget(_SLOW_LINES_PER_SECOND, clock)

    def result(self, outcome: OriginResponse | OriginFailure | None, *, route: str) -> None:
        """A fetch has come to its end; None: it was cancelled."""
        self._metrics.origin_requests.add(route, _word(outcome))
        if isinstance(outcome, OriginFailure) and outcome.kind in _SHED:
            self._metrics.shed_requests.add(outcome.kind.word)

    def answered(self, status: int, *, route: str, seconds: float) -> None:
        """What `waited` and `result` count of an answer that is not slow."""
        kind = route, status // 100
        cell, labels = self._series.get(kind) or self._series_of(*kind)
        observe_in(cell, seconds)
        self._counts[labels] += 1

    def _series_of(self, route: str, status_class: int) -> tuple[Cell, Labels]:
        labels = route, _CLASSES[status_class]
        self._counts.setdefault(labels, 0)
        series = self._series[route, status_class] = self._metrics.origin_seconds.cell(route), labels
        return series

    def retry(self) -> None:
        """A request is sent again."""
        self._metrics.origin_retries.add()

    def tunnel(self) -> None:
        """A connection has left HTTP."""
        self._metrics.tunnels.add()

    def waited(
        self, request: Request, outcome: ReceivedHead | OriginFailure, *, route: str, seconds: float
    ) -> None:
        """From the request's first byte to the response's head, or to the failure instead of it."""
        if isinstance(outcome, ReceivedHead):
            self._metrics.origin_seconds.observe(seconds, route)
        if seconds <= self.slow_after:
            return
        self._metrics.origin_slow.add(route)
        if not self._slow_lines.try_take():
            return
        _log.warning(
            "slow origin",
            method=request.method,
            target=request.target,
            route=route,
            result=str(outcome) if isinstance(outcome, OriginFailure) else outcome.status,
            seconds=round(seconds, 6),
            withheld=self._slow_lines.collect_withheld(),
            **correlation(request.fields),
        )


def _word(outcome: OriginResponse | OriginFailure | None) -> str:
    if outcome is None:
        return CANCELLED
    if isinstance(outcome, OriginFailure):
        return outcome.kind.word
    return _CLASSES[outcome.head.status // 100]
