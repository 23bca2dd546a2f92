from __future__ import annotations

from http import HTTPStatus

import orjson
import pytest

from proxy.model import Fields, Outcome
from proxy.net.refusals import Refusal, problem_answer

NOW = 1_700_000_000.0


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_is_a_problem_that_ends_the_connection(refusal: Refusal) -> None:
    answer = refusal.answer(now=NOW)
    fields = Fields.decode(answer.lines)
    assert isinstance(answer.body, bytes)
    problem = orjson.loads(answer.body)

    assert HTTPStatus(refusal.status) >= 400
    assert fields.first(b"content-type") == b"application/problem+json"
    assert fields.first(b"date") == b"Tue, 14 Nov 2023 22:13:20 GMT"
    assert (problem["status"], problem["detail"]) == (refusal.status, refusal.detail)
    assert (answer.status, answer.close, answer.outcome) == (refusal.status, True, Outcome.ERROR)
    assert answer.cache_status is None


def test_words_tell_refusals_apart() -> None:
    assert len({refusal.word for refusal in Refusal}) == len(Refusal)


def test_405_names_methods() -> None:
    assert Refusal.TRACE.answer(now=NOW).extra.startswith(b"Allow: GET, ")


def test_a_problem_of_the_listeners_own() -> None:
    answer = problem_answer(503, "Full.", now=NOW, lines=b"Retry-After: 1\r\n")

    assert (answer.status, answer.extra, answer.close) == (503, b"Retry-After: 1\r\n", True)
