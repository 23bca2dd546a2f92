from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Placed, cut_of
from proxy.net.line_form import line_form

VALUES = (b"0", b"1", b"two", b"%b %%", b"")
NAMES = st.sampled_from([b"A", b"b-C", b"%b", b"%"])


@pytest.mark.parametrize(
    ("placed", "known", "lines"),
    [
        ([], {}, b""),
        ([(b"A", 2)], {}, b"A: two\r\n"),
        ([(b"A", 2)], {2: b"100%"}, b"A: 100%\r\n"),
        ([(b"A", 1), (b"B", 4), (b"A", 0)], {4: b"last"}, b"A: 1\r\nB: last\r\nA: 0\r\n"),
    ],
)
def test_lines_have_the_values_of_their_places(
    placed: list[Placed], known: dict[int, bytes], lines: bytes
) -> None:
    form = line_form(placed, known)

    assert form.lines % form.pick(VALUES) == lines


@given(st.lists(st.tuples(NAMES, st.integers(0, 4)), max_size=6), st.sets(st.integers(0, 4)))
def test_what_is_known_is_written_as_if_it_was_not(placed: list[Placed], known: set[int]) -> None:
    form = line_form(placed, {place: VALUES[place] for place in known})
    cut = cut_of(placed)

    assert form.lines % form.pick(VALUES) == cut.names.encode(cut.pick(VALUES))
