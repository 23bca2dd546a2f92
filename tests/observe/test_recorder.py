"""What one answered request leaves behind in metrics and logs."""

from __future__ import annotations

import pytest
import structlog

from proxy.model import (
    Answer,
    CacheStatus,
    FailureKind,
    Fields,
    OriginFailure,
    Outcome,
    Request,
)
from proxy.observe import logs
from proxy.observe.metrics import Metrics
from proxy.observe.recorder import ERROR_LINES_PER_SECOND, LineBudget, Recorder

SECRETS = [(b"Authorization", b"Bearer hunter2"), (b"Cookie", b"sid=hunter2")]
IDS = [(b"Traceparent", b"00-ab-cd-01"), (b"X-Request-Id", b"r1")]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def request(**changes) -> Request:
    values = {
        "method": "GET",
        "target": b"/a?b=c",
        "fields": Fields([*SECRETS, *IDS]),
        "host": b"shop",
        "peer": "10.0.0.9",
    }
    return Request(**{**values, **changes})


def answer(outcome: Outcome = Outcome.HIT, status: int = 200, **changes) -> Answer:
    values = {"reason": b"", "lines": b"", "body": b"", "cache_status": None, "route": "product"}
    return Answer(status=status, outcome=outcome, **{**values, **changes})


def record(recorder: Recorder, answered: Answer, asked: Request | None = None) -> list[dict]:
    with structlog.testing.capture_logs() as lines:
        recorder.record(asked or request(), answered, seconds=0.0123456789, sent=7, complete=True)
    return lines


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_is_counted_by_route_and_word(outcome):
    metrics = Metrics()

    record(Recorder(metrics), answer(outcome))

    assert metrics.requests.values == {("product", outcome.word): 1}
    assert metrics.request_seconds.cells["product", outcome.word][-1] == 0.0123456789


@pytest.mark.parametrize(
    ("answered", "negative_hits", "coalesced"),
    [
        (answer(Outcome.HIT), 0, 0),
        (answer(Outcome.NEGATIVE), 1, 0),
        (answer(Outcome.COLLAPSED, cache_status=CacheStatus(collapsed=True)), 0, 1),
        (answer(Outcome.MISS, cache_status=CacheStatus(collapsed=False)), 0, 0),
        (answer(Outcome.ERROR, cache_status=CacheStatus(collapsed=True)), 0, 1),
    ],
)
def test_negative_hits_and_shared_fetches_are_counted_too(answered, negative_hits, coalesced):
    metrics = Metrics()

    record(Recorder(metrics), answered)

    assert metrics.negative_hits.get("product") == negative_hits
    assert metrics.coalesced.get("product") == coalesced


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_tally_that_is_kept_counts_what_the_recorder_counts(outcome):
    metrics = Metrics()
    recorder = Recorder(metrics)
    tally = recorder.tally("product", outcome)

    tally.count(0.25)
    recorder.count("product", outcome, 0.5)
    record(recorder, answer(outcome))
    tally.count(0.125)

    assert metrics.requests.values == {("product", outcome.word): 4}
    assert metrics.request_seconds.cells["product", outcome.word][-1] == 0.25 + 0.5 + 0.0123456789 + 0.125
    assert metrics.negative_hits.get("product") == (4 if outcome is Outcome.NEGATIVE else 0)


def test_routes_and_outcomes_have_tallies_of_their_own():
    metrics = Metrics()
    recorder = Recorder(metrics)

    for route in ("product", "cart"):
        for outcome in (Outcome.HIT, Outcome.HIT_L2):
            assert recorder.tally(route, outcome) is recorder.tally(route, outcome)
            recorder.tally(route, outcome).count(0.1)

    pairs = {("product", "hit"), ("product", "hit-l2"), ("cart", "hit"), ("cart", "hit-l2")}
    assert metrics.requests.values == dict.fromkeys(pairs, 1)


def test_a_tally_that_is_kept_heeds_another_share():
    recorder = Recorder(Metrics(), access_share=0.0, roll=lambda: 0.5)
    tally = recorder.tally("product", Outcome.HIT)

    drawn = []
    for share in (0.0, 1.0, 0.5, 0.6, 0.0):
        recorder.sample(share)
        drawn.append(tally.count(0.1))

    assert drawn == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("share", "roll", "is_written"),
    [(0.0, 0.0, False), (0.01, 0.0099, True), (0.01, 0.01, False), (1.0, 0.9999, True)],
)
def test_the_dice_choose_the_requests_that_get_an_access_line(share, roll, is_written):
    recorder = Recorder(Metrics(), access_share=share, roll=lambda: roll)

    assert bool(record(recorder, answer())) is is_written


def test_the_share_can_change_while_running():
    recorder = Recorder(Metrics(), access_share=0.0)

    before = record(recorder, answer())
    recorder.sample(1.0)
    after = record(recorder, answer())

    assert (len(before), len(after)) == (0, 1)


def test_access_lines_follow_a_new_form(capfdbinary):
    logs.configure(level="info", form="json")
    recorder = Recorder(Metrics(), access_share=1.0)
    logs.configure(level="info", form="console")
    recorder.sample(1.0)

    recorder.record(request(), answer(), seconds=0.1, sent=0, complete=True)

    assert not capfdbinary.readouterr().out.startswith(b"{")


def test_without_access_lines_no_dice_are_rolled():
    def roll() -> float:
        raise AssertionError("rolled")

    assert record(Recorder(Metrics(), roll=roll), answer()) == []


def test_an_access_line_says_what_happened_and_no_secret():
    recorder = Recorder(Metrics(), access_share=1.0)

    lines = record(recorder, answer())

    assert lines == [
        {
            "event": "request",
            "log_level": "info",
            "method": "GET",
            "target": b"/a?b=c",
            "host": b"shop",
            "status": 200,
            "outcome": "hit",
            "route": "product",
            "seconds": 0.012346,
            "bytes": 7,
            "complete": True,
            "peer": "10.0.0.9",
            "traceparent": "00-ab-cd-01",
            "request_id": "r1",
        }
    ]


def test_an_error_answer_is_logged_with_its_failure_and_the_clients_ids():
    failure = OriginFailure(FailureKind.RESET, "after 3 bytes")

    lines = record(Recorder(Metrics()), answer(Outcome.ERROR, 502, failure=failure))

    assert lines == [
        {
            "event": "request failed",
            "log_level": "warning",
            "method": "GET",
            "target": b"/a?b=c",
            "status": 502,
            "route": "product",
            "seconds": 0.012346,
            "failure": "reset: after 3 bytes",
            "withheld": 0,
            "traceparent": "00-ab-cd-01",
            "request_id": "r1",
        }
    ]


@pytest.mark.parametrize(
    ("outcome", "status", "is_written"),
    [(Outcome.ERROR, 499, False), (Outcome.ERROR, 500, True), (Outcome.MISS, 500, False)],
)
def test_only_errors_that_we_made_are_logged_as_failed(outcome, status, is_written):
    assert bool(record(Recorder(Metrics()), answer(outcome, status))) is is_written


def test_error_lines_of_one_second_are_bounded_and_the_rest_is_counted():
    clock = Clock()
    recorder = Recorder(Metrics(), clock=clock)
    failed = answer(Outcome.ERROR, 502)

    with structlog.testing.capture_logs() as lines:
        for _ in range(ERROR_LINES_PER_SECOND + 5):
            recorder.record(request(), failed, seconds=0.1, sent=0, complete=True)
        clock.now = 1.0
        recorder.record(request(), failed, seconds=0.1, sent=0, complete=True)

    assert len(lines) == ERROR_LINES_PER_SECOND + 1
    assert [line["withheld"] for line in lines[-2:]] == [0, 5]


def test_a_line_budget_refills_with_each_second():
    clock = Clock()
    budget = LineBudget(2, clock)

    taken = []
    for clock.now in (0.0, 0.5, 0.999, 1.0, 1.0, 1.5):
        taken.append(budget.try_take())

    assert taken == [True, True, False, True, True, False]
    assert budget.collect_withheld() == 2
    assert budget.collect_withheld() == 0
