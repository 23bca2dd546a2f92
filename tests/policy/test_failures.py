import json

import pytest

from proxy.model import FailureKind, Fields, OriginFailure
from proxy.policy.failures import is_error_status, origin_problem, problem, retry_after

NOW = 784111777.5


@pytest.mark.parametrize(
    ("status", "is_error"),
    [
        (200, False),
        (404, False),
        (499, False),
        (500, True),
        (501, False),
        (502, True),
        (503, True),
        (504, True),
        (505, False),
    ],
)
def test_error_statuses(status: int, is_error: bool) -> None:
    assert is_error_status(status) is is_error


def test_problem_says_what_and_when() -> None:
    lines, body = problem(504, 'No "stored" answer.', now=NOW)

    assert lines == (
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Content-Type: application/problem+json\r\n"
        b"Cache-Control: no-store\r\n"
    )
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Gateway Timeout",
        "status": 504,
        "detail": 'No "stored" answer.',
    }


def test_status_without_a_phrase_has_no_title() -> None:
    assert json.loads(problem(599, "x", now=NOW).body)["title"] == ""


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_has_its_sentence_and_tells_nothing_else(kind: FailureKind) -> None:
    lines, body = origin_problem(OriginFailure(kind, "10.0.0.7:8000"), now=NOW)

    told = json.loads(body)
    assert told["status"] == kind.status
    assert told["detail"].endswith(".")
    assert b"10.0.0.7" not in body + lines


@pytest.mark.parametrize("kind", FailureKind)
def test_what_was_shed_may_come_again(kind: FailureKind) -> None:
    lines = origin_problem(OriginFailure(kind), now=NOW).lines

    assert Fields.decode(lines).values(b"retry-after") == ([b"1"] if kind.status == 503 else [])


@pytest.mark.parametrize(
    ("seconds", "line"),
    [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (30.0, b"30")],
)
def test_retry_after_is_rounded_up(seconds: float, line: bytes) -> None:
    assert retry_after(seconds) == b"Retry-After: " + line + b"\r\n"
