"""One word per concept: no two members of a set share one."""

import re

import pytest

from proxy.model import Forward, Outcome, Reason

NGINX_WORDS = {"HIT", "MISS", "BYPASS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED"}


def test_outcomes_have_words_of_their_own_and_nginx_ones() -> None:
    assert len({outcome.word for outcome in Outcome}) == len(Outcome)
    assert {outcome.nginx_word for outcome in Outcome} == NGINX_WORDS


@pytest.mark.parametrize("words", [[member.value for member in Reason], [member.value for member in Forward]])
def test_words_are_tokens_in_lower_case(words: list[str]) -> None:
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", word) for word in words)
