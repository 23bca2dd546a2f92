"""Counts each answered request once and writes its lines: access (sampled) and error.

Sees the request and the answer, never a body. A request whose line is not written costs one dictionary
look-up, or none where its tally is at hand: nothing is formatted for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import structlog

from proxy.model import Answer, Hit, Outcome, Request
from proxy.observe import logs
from proxy.observe.metrics import Metrics, observe_in

ERROR_LINES_PER_SECOND = 20
"""While the origin is down every request fails: the log must not be the next to fail."""


class Recorder:
    """What the listener calls at the end of each answer."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        access_share: float = 0.0,
        roll: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._tallies: dict[tuple[str, str], Tally] = {}
        """By route and the outcome's word: as many as the metric has series."""
        self._roll = roll
        self._error_log = structlog.get_logger("sidecache.requests")
        self._error_lines = LineBudget(ERROR_LINES_PER_SECOND, clock)
        self.sample(access_share)

    def sample(self, access_share: float) -> None:
        """From now on this share of the requests (0 to 1) gets an access line, in the form now configured."""
        self.access_share = access_share
        self._access_log = logs.access_logger()

    def record(self, request: Request, answer: Answer, *, seconds: float, sent: int, complete: bool) -> None:
        """Count the answer; `seconds` from the request's head, `sent` body bytes that left."""
        if answer.cache_status is not None and answer.cache_status.collapsed:
            self._metrics.coalesced.add(answer.route)
        if answer.outcome is Outcome.ERROR and answer.status >= 500:
            self._write_error(request, answer, seconds)
        if self.count(answer.route, answer.outcome, seconds):
            self.write_access(request, answer, seconds=seconds, sent=sent, complete=complete)

    def count(self, route: str, outcome: Outcome, seconds: float) -> bool:
        """Count an answer of this outcome. True: an access line was drawn for it."""
        return self.tally(route, outcome).count(seconds)

    def tally(self, route: str, outcome: Outcome) -> Tally:
        """What counts these; only for who has one to count. It may be kept for those that follow."""
        labels = route, outcome.word
        known = self._tallies.get(labels)
        if known is None:
            known = self._tallies[labels] = Tally(self, self._metrics, route, outcome)
        return known

    def draws_line(self) -> bool:
        """Whether one more answer gets an access line. Asked only while the share is not 0."""
        return self._roll() < self.access_share

    def write_access(
        self, request: Request, answer: Answer | Hit, *, seconds: float, sent: int, complete: bool
    ) -> None:
        """The line of an answered request."""
        self._access_log.info(
            "request",
            **_subject(request, answer, seconds),
            host=request.host,
            outcome=answer.outcome.word,
            bytes=sent,
            complete=complete,
            peer=request.peer,
            **logs.correlation(request.fields),
        )

    def _write_error(self, request: Request, answer: Answer, seconds: float) -> None:
        if not self._error_lines.try_take():
            return
        self._error_log.warning(
            "request failed",
            **_subject(request, answer, seconds),
            failure=str(answer.failure) if answer.failure else None,
            withheld=self._error_lines.collect_withheld(),
            **logs.correlation(request.fields),
        )


class Tally:
    """The answers of one route and outcome: what every hit asks, with nothing to look up."""

    __slots__ = ("_cell", "_negative_hits", "_recorder", "_route")

    def __init__(self, recorder: Recorder, metrics: Metrics, route: str, outcome: Outcome) -> None:
        self._recorder = recorder
        self._route = route
        self._cell = metrics.request_seconds.cell(route, outcome.word)
        self._negative_hits = metrics.negative_hits if outcome is Outcome.NEGATIVE else None

    def count(self, seconds: float) -> bool:
        """Count one. True: an access line was drawn for it."""
        observe_in(self._cell, seconds)
        if self._negative_hits is not None:
            self._negative_hits.add(self._route)
        recorder = self._recorder
        return recorder.access_share > 0 and recorder.draws_line()


class LineBudget:
    """At most so many lines in each second; counts those that it withheld."""

    def __init__(self, lines_per_second: int, clock: Callable[[], float]) -> None:
        self._limit = lines_per_second
        self._clock = clock
        self._second = -1
        self._taken = 0
        self._withheld = 0

    def try_take(self) -> bool:
        """Whether one more line may be written now."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= self._limit:
            self._withheld += 1
            return False
        self._taken += 1
        return True

    def collect_withheld(self) -> int:
        """How many lines were withheld since the last time this was asked."""
        withheld, self._withheld = self._withheld, 0
        return withheld


def _subject(request: Request, answer: Answer | Hit, seconds: float) -> dict[str, object]:
    return {
        "method": request.method,
        "target": request.target,
        "status": answer.status,
        "route": answer.route,
        "seconds": round(seconds, 6),
    }
