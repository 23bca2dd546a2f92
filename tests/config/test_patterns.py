from __future__ import annotations

import pytest

from proxy.config import patterns

UNCLEAR = "expected a path without query, empty or dot segments, backslashes and escaped . / \\ ; ? #"


@pytest.mark.parametrize(
    "pattern",
    ["/", "/**", "/products/{id}", "/a/*.json", "/{a}/{b}", "/a/", "/caf\u00e9", "/%7ejoe", "/" + "x" * 1023],
)
def test_pattern_is_taken_as_written(pattern: str) -> None:
    assert patterns.checked(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("products", "expected a path pattern such as /products/{id} or /static/**"),
        (7, "expected a path pattern such as /products/{id} or /static/**"),
        ("/a\nb", "expected a path pattern such as /products/{id} or /static/**"),
        ("/" + "x" * 1024, "expected at most 1024 bytes"),
        ("/a?b", UNCLEAR),
        ("/a#b", UNCLEAR),
        ("/a//b", UNCLEAR),
        ("/a/../b", UNCLEAR),
        ("/a/.", UNCLEAR),
        ("/a\\b", UNCLEAR),
        ("/a%2fb", UNCLEAR),
        ("/a%252Fb", UNCLEAR),
        ("/%zz", UNCLEAR),
        ("/**.css", "expected ** to be a whole segment, as in /static/**"),
        ("/{id", "expected each brace to belong to a parameter such as {id}"),
        ("/{1}", "expected each brace to belong to a parameter such as {id}"),
        ("/{id}/{id}", "expected each parameter name once"),
    ],
)
def test_pattern_without_clear_meaning_is_refused(pattern: object, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        patterns.checked(pattern)

    assert str(refused.value) == message


def test_parameters_are_named_in_order() -> None:
    assert patterns.parameters("/{shop}/x/{id}.json") == ("shop", "id")
    assert patterns.parameters("/x/*/**") == ()


def test_canonical_text_has_unreserved_characters_decoded() -> None:
    assert patterns.canonical("%41%2f%7e%c3") == "A%2F~%C3"


@pytest.mark.parametrize(
    "pattern",
    ["/**/*.css", "/*.css", "/{file}.css", "/{a}/{b}.css", "/*/**/x", "/**/images/**", "/{tenant}/**/*.js"],
)
def test_pattern_that_any_path_can_end_in_is_recognised(pattern: str) -> None:
    assert patterns.judges_by_ending_alone(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["/**", "/", "/static/**/*.css", "/{tenant}/products", "/*", "/*/**", "/v1/*.css", "/a*.css", "/x.css"],
)
def test_pattern_that_begins_with_a_literal_or_takes_all_is_not(pattern: str) -> None:
    assert not patterns.judges_by_ending_alone(pattern)
