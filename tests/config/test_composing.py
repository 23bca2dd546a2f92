from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.composing import MOST_CHARACTERS, MOST_DEPTH, MOST_NODES, Document, compose
from proxy.config.faults import Misplaced
from proxy.config.nodes import ListNode, MappingNode, Place, Scalar


def composed(text: str) -> Document:
    document = compose(text)
    assert isinstance(document, Document)
    return document


def mapping(text: str) -> MappingNode:
    root = composed(text).root
    assert isinstance(root, MappingNode)
    return root


@pytest.mark.parametrize(
    "word", ["off", "no", "on", "yes", "010", "1:30", "0x1F", "1e3", "2024-01-01", "NaN"]
)
def test_scalar_is_the_text_that_stands_there(word: str) -> None:
    assert mapping(f"key: {word}").entries["key"] == Scalar(Place(1, 6), word)


@pytest.mark.parametrize("nothing", ["", "~", "null", "Null", "NULL"])
def test_key_without_value_has_no_text(nothing: str) -> None:
    assert mapping(f"key: {nothing}").entries["key"].text is None


@pytest.mark.parametrize("quoted", ['""', '"null"', "'~'"])
def test_quoted_text_is_always_text(quoted: str) -> None:
    assert mapping(f"key: {quoted}").entries["key"].text == quoted[1:-1]


def test_places_count_from_one() -> None:
    root = mapping("a: 1\nlist:\n  - x\n  - {k: v}\n")

    assert root.keys == {"a": Place(1, 1), "list": Place(2, 1)}
    items = root.entries["list"]
    assert isinstance(items, ListNode)
    assert [item.place for item in items.items] == [Place(3, 5), Place(4, 5)]


def test_empty_text_is_an_empty_mapping() -> None:
    assert mapping("# nothing\n").entries == {}


def test_byte_order_mark_is_not_text() -> None:
    assert mapping("\ufeffkey: 1").entries["key"].text == "1"


def test_alias_stands_for_its_anchor() -> None:
    root = mapping("a: &x [1]\nb: *x\n")

    assert root.entries["b"] is root.entries["a"]


FAULTY = [
    ("a: 1\na: 2", Place(2, 1), 'found "a" a second time, expected it once (first in line 1)'),
    ("a: 1\n---\nb: 2", Place(2, 1), "found a second document, expected one"),
    ("? [x]\n: 1", Place(1, 3), "found a list or mapping as a key, expected text"),
    ("a: {<<: {b: 1}}", Place(1, 5), "found a merge key (<<), expected every key written out"),
    ("a: !!int 1", Place(1, 4), "found the tag tag:yaml.org,2002:int, expected none"),
    (
        "a: !!python/object/apply:os.getcwd []",
        Place(1, 4),
        "found the tag tag:yaml.org,2002:python/object/apply:os.getcwd, expected none",
    ),
]


@pytest.mark.parametrize(("text", "place", "message"), FAULTY)
def test_fault_that_can_be_read_past_has_its_place(text: str, place: Place, message: str) -> None:
    assert composed(text).faults == (Misplaced(place, message),)


UNREADABLE = [
    ("a:\n\tb: 1", Place(2, 1), "found a tab, expected spaces"),
    ("a: [1", Place(1, 6), "not YAML: expected ',' or ']', but got '<stream end>'"),
    ("a: b: c", Place(1, 5), "not YAML: mapping values are not allowed here"),
    ("a: @b", Place(1, 4), "not YAML: found character '@' that cannot start any token"),
    ("a: 1\nb: \x07", Place(2, 4), "found a character that YAML forbids"),
    ('a: "\\UFFFFFFFF"', Place(1, 1), "found an escape or number that is out of range"),
    ("&a [*a]", Place(1, 5), "found *a, expected &a before it"),
    ("a: *nobody", Place(1, 4), "found *nobody, expected &nobody before it"),
    ("[" * 40, Place(1, 34), f"found more than {MOST_DEPTH} levels, expected fewer"),
    ("x" * (MOST_CHARACTERS + 1), Place(1, 1), "found 1048577 characters, expected at most 1048576"),
]


@pytest.mark.parametrize(("text", "place", "message"), UNREADABLE)
def test_text_that_is_no_yaml_has_the_place_where_it_ends(text: str, place: Place, message: str) -> None:
    assert compose(text) == Misplaced(place, message)


def test_deepest_nesting_is_taken() -> None:
    assert composed("[" * MOST_DEPTH + "x" + "]" * MOST_DEPTH).faults == ()


def test_aliases_cannot_multiply_without_end() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)
    )

    assert compose(bomb) == Misplaced(Place(5, 25), f"found more than {MOST_NODES} values, expected fewer")


@given(
    st.text(st.sampled_from("ab:-[]{},&*!|>'\"%@`#?\n\t \\u0\x00\ufeff<"), max_size=40) | st.text(max_size=60)
)
def test_no_text_ever_raises(text: str) -> None:
    assert isinstance(compose(text), Document | Misplaced)
