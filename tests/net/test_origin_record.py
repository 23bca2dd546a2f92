from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from proxy.model import FailureKind, Fields, Framing, OriginFailure, OriginResponse, ResponseHead
from proxy.net.origin_record import OriginRecord
from proxy.net.response_head import ReceivedHead
from proxy.observe.metrics import Metrics
from tests.support.origin_clients import ROUTE, GivenBody, request

HEAD = ReceivedHead(200, b"OK", Fields())
TRACED = ((b"traceparent", b"00-a-b-01"), (b"X-Request-Id", b"r7"))


def record(metrics: Metrics, clock: Callable[[], float] = lambda: 0.0) -> OriginRecord:
    return OriginRecord(metrics, slow_after=0.1, clock=clock)


def response(status: int) -> OriginResponse:
    return OriginResponse(ResponseHead(status, Fields()), GivenBody(), Framing.NONE, 0, 0)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (response(101), "1xx"),
        (response(200), "2xx"),
        (response(599), "5xx"),
        (None, "cancelled"),
        *[(OriginFailure(kind), kind.word) for kind in FailureKind],
    ],
)
def test_each_outcome_is_counted_by_route(outcome: OriginResponse | OriginFailure | None, word: str) -> None:
    metrics = Metrics()
    record(metrics).result(outcome, route=ROUTE)

    assert metrics.origin_requests.values == {(ROUTE, word): 1}


@pytest.mark.parametrize("kind", FailureKind)
def test_what_spared_the_origin_is_counted_as_shed(kind: FailureKind) -> None:
    metrics = Metrics()
    record(metrics).result(OriginFailure(kind), route=ROUTE)
    shed = {"pool-exhausted", "queue-full", "queue-timeout", "tunnels-full"}

    assert set(metrics.shed_requests.values) == ({(kind.word,)} if kind.word in shed else set())


@pytest.mark.parametrize(("seconds", "slow"), [(0.1, 0), (0.1001, 1)])
def test_an_answer_is_slow_when_it_takes_longer_than_allowed(seconds: float, slow: int) -> None:
    metrics = Metrics()
    with capture_logs() as lines:
        record(metrics).waited(request(), HEAD, route=ROUTE, seconds=seconds)

    assert metrics.origin_slow.get(ROUTE) == slow
    assert {labels: cell[-1] for labels, cell in metrics.origin_seconds.cells.items()} == {(ROUTE,): seconds}
    assert len(lines) == slow


def test_a_slow_answer_is_logged_with_what_ties_it_to_the_clients_log() -> None:
    given = request("GET", b"/products/7?q=1", *TRACED)
    with capture_logs() as lines:
        record(Metrics()).waited(given, HEAD, route=ROUTE, seconds=0.2)

    assert lines == [
        {
            "event": "slow origin",
            "log_level": "warning",
            "method": "GET",
            "target": b"/products/7?q=1",
            "route": ROUTE,
            "result": 200,
            "seconds": 0.2,
            "withheld": 0,
            "traceparent": "00-a-b-01",
            "request_id": "r7",
        }
    ]


def test_a_failure_after_long_waiting_is_slow_but_no_answer() -> None:
    metrics = Metrics()
    failure = OriginFailure(FailureKind.RESPONSE_TIMEOUT, "nothing for 10 s")
    with capture_logs() as lines:
        record(metrics).waited(request(), failure, route=ROUTE, seconds=10)

    assert lines[0]["result"] == "response-timeout: nothing for 10 s"
    assert metrics.origin_seconds.cells == {}


def test_a_slow_origin_does_not_flood_the_log() -> None:
    metrics = Metrics()
    now = 0.0
    recorder = record(metrics, lambda: now)
    with capture_logs() as lines:
        for _ in range(30):
            recorder.waited(request(), HEAD, route=ROUTE, seconds=1)
        now = 1.0
        recorder.waited(request(), HEAD, route=ROUTE, seconds=1)

    assert metrics.origin_slow.get(ROUTE) == 31
    assert [line["withheld"] for line in lines] == [0] * 20 + [10]


def test_answers_are_counted_like_all_by_route_and_class() -> None:
    fetched, answered = Metrics(), Metrics()
    told = record(answered)
    for route, status in (("a", 200), ("a", 204), ("a", 404), ("b", 200), ("a", 200)):
        record(fetched).waited(request(), HEAD, route=route, seconds=0.01)
        record(fetched).result(response(status), route=route)
        told.answered(status, route=route, seconds=0.01)

    assert answered.origin_requests.values == fetched.origin_requests.values
    assert answered.origin_seconds.cells == fetched.origin_seconds.cells
    assert answered.origin_requests.get("a", "2xx") == 3


def test_what_was_counted_before_an_answer_is_kept() -> None:
    metrics = Metrics()
    one, other = record(metrics), record(metrics)
    one.answered(200, route=ROUTE, seconds=0.01)
    other.answered(200, route=ROUTE, seconds=0.01)

    assert metrics.origin_requests.values == {(ROUTE, "2xx"): 2}
