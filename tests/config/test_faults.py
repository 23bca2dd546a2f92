from __future__ import annotations

import pytest

from proxy.config.faults import Fault, shown, suggestion


def test_fault_reads_as_editors_expect() -> None:
    assert str(Fault("a.yaml", 3, 7, "listen: what")) == "a.yaml:3:7: listen: what"


def test_fault_in_something_without_lines_names_it_alone() -> None:
    assert str(Fault("--origin", 0, 0, "what")) == "--origin: what"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        ({}, "a mapping"),
        ([], "a list"),
        ((), "a list"),
        ("a\nb", '"a\\nb"'),
        (7, '"7"'),
        ("\u00e9", '"\u00e9"'),
        ("x" * 60, '"' + "x" * 60 + '"'),
        ("x" * 61, '"' + "x" * 60 + '..."'),
    ],
)
def test_value_is_shown_in_one_short_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_closest_word_is_suggested() -> None:
    assert suggestion("orign", ["listen", "origin"]) == "; did you mean origin?"
    assert suggestion("Listen", ["listen"]) == "; did you mean listen?"
    assert suggestion("zzz", ["listen", "origin"]) == ""
