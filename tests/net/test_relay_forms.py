"""In which forms the origin's answers are relayed, and which have none."""

from __future__ import annotations

import pytest

from proxy.model import CacheStatus, Forward, Outcome, RelayTerms, names_of
from proxy.net.relay_forms import MOST_REASON_BYTES, RelayForms

TERMS = RelayTerms("all", Outcome.BYPASS, CacheStatus(forward=Forward.BYPASS), frozenset({b"location"}))
NAMES = (b"Date", b"Content-Length", b"X-A")


def forms(*, via: bool = False, word: bool = False) -> RelayForms:
    return RelayForms(via=via, with_x_cache_status=word)


@pytest.mark.parametrize(
    ("via", "word", "said"),
    [
        (False, False, b""),
        (True, False, b""),
        (False, True, b"X-Cache-Status: BYPASS\r\n"),
    ],
)
def test_a_form_is_filled_in_with_what_an_answer_has_of_its_own(via: bool, word: bool, said: bytes) -> None:
    form = forms(via=via, word=word).of(b"200", b"OK", names_of(NAMES), TERMS)

    assert form is not None
    values = (b"now", b"5", b"a")
    lines = b"Date: now\r\nX-A: a\r\n" + (b"Via: 1.1 sidecache\r\n" if via else b"")
    assert form.lines(values) == form.fields(values).encode() == lines
    assert form.head % (lines, b"Age: 3\r\n", 5, b"hello") == (
        b"HTTP/1.1 200 OK\r\n" + lines + b"Age: 3\r\nCache-Status: sidecache; fwd=bypass; fwd-status=200\r\n"
        b"%bContent-Length: 5\r\n\r\nhello" % said
    )
    assert (form.length, form.options) == (1, None)


@pytest.mark.parametrize(
    ("status", "names"),
    [
        (b"103", NAMES),
        (b"204", NAMES),
        (b"304", NAMES),
        (b"200", (b"Date", b"X-A")),
        (b"200", (b"Content-Length",)),
        (b"200", (*NAMES, b"content-length")),
        (b"200", (*NAMES, b"Transfer-Encoding")),
        (b"200", (*NAMES, b"Connection", b"Connection")),
        (b"200", (*NAMES, b"Location")),
    ],
)
def test_others_have_none(status: bytes, names: tuple[bytes, ...]) -> None:
    assert forms().of(status, b"OK", names_of(names), TERMS) is None


def test_of_one_kind_there_is_one() -> None:
    made = forms()
    kinds = [(b"200", b"OK"), (b"201", b"OK"), (b"200", b"Fine"), (b"204", b"")]
    first = [made.of(status, reason, names_of(NAMES), TERMS) for status, reason in kinds]

    assert [made.of(status, reason, names_of(NAMES), TERMS) for status, reason in kinds] == first
    assert len(made.known) == len({id(form) for form in first}) == 4


def test_what_is_long_is_not_remembered() -> None:
    made = forms()
    long = names_of((*NAMES, b"X-" + b"a" * 2000))

    assert made.of(b"200", b"OK", long, TERMS) is not None
    assert made.of(b"200", b"r" * (MOST_REASON_BYTES + 1), names_of(NAMES), TERMS) is None
    assert made.of(b"200", b"r" * MOST_REASON_BYTES, names_of(NAMES), TERMS) is not None
    assert len(made.known) == 1
