from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.composing import Document, compose
from proxy.config.faults import Finding
from proxy.config.values import has_control_character, plain_values

ENVIRON = {"NAME": "value", "EMPTY": "", "BRACES": "${NAME}", "LINES": "a\nb"}


def plain(text: str) -> tuple[Any, list[Finding]]:
    document = compose(text)
    assert isinstance(document, Document)
    return plain_values(document.root, ENVIRON)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${NAME}", "value"),
        ("a${NAME}b${NAME}", "avaluebvalue"),
        ("${NAME:-other}", "value"),
        ("${NONE:-other}", "other"),
        ("${NONE:-}", ""),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${NONE:-http://h:1/$}", "http://h:1/$"),
        ("$${NAME}", "${NAME}"),
        ("$NAME", "$NAME"),
        ("100$", "100$"),
        ("${BRACES}", "${NAME}"),
    ],
)
def test_variables_are_put_in_once(written: str, value: str) -> None:
    assert plain(f"key: '{written}'") == ({"key": value}, [])


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${NONE}", "found ${NONE}, expected the environment variable NONE, which is not set"),
        ("${NAME", "found ${ that is not closed, expected ${NAME} or ${NAME:-default}; $$ stands for $"),
        ("${1}", "found ${ that is not closed, expected ${NAME} or ${NAME:-default}; $$ stands for $"),
        (
            "${NONE:-{}}",
            "found ${ that is not closed, expected ${NAME} or ${NAME:-default}; $$ stands for $",
        ),
        ("${LINES}", "found a line break or control character, expected text on one line"),
    ],
)
def test_value_that_cannot_be_made_is_a_finding(written: str, message: str) -> None:
    assert plain(f"list: ['{written}']") == ({"list": [None]}, [Finding(message, (("list", 0),))])


def test_lines_in_a_value_are_refused() -> None:
    values, findings = plain("key: |\n  a\n  b\n")

    assert values == {"key": None}
    assert [finding.about for finding in findings] == [(("key",),)]


def test_keys_and_nothing_stay_as_they_are() -> None:
    assert plain("${NAME}:\n") == ({"${NAME}": None}, [])


@pytest.mark.parametrize("text", ["\n", "\x00", "\x7f", "a\tb", "\ud800"])
def test_control_characters_are_recognised(text: str) -> None:
    assert has_control_character(text)


@given(st.text(st.sampled_from("${}:-NAMEx"), max_size=20))
def test_any_mix_of_braces_is_a_value_or_a_finding(written: str) -> None:
    values, findings = plain(f'key: "{written}"')

    assert (values["key"] is None) == bool(findings)
