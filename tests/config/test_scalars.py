from __future__ import annotations

import pytest

from proxy.config import scalars
from proxy.config.scalars import MemoryShare


@pytest.mark.parametrize("word", ["true", "on", "yes", "True", "ON", True])
def test_words_for_true(word: object) -> None:
    assert scalars.flag(word) is True


@pytest.mark.parametrize("word", ["false", "off", "no", "False", "NO", False])
def test_words_for_false(word: object) -> None:
    assert scalars.flag(word) is False


@pytest.mark.parametrize(
    ("given", "number"), [("010", 10), ("0", 0), (7, 7), ("1000000000", 10**9), ("0001", 1)]
)
def test_count_is_decimal(given: object, number: int) -> None:
    assert scalars.count(given) == number


@pytest.mark.parametrize(
    ("given", "limit"),
    [("40%", MemoryShare(0.4)), ("64MiB", 64 << 20), (1024, 1024), (MemoryShare(0.1), MemoryShare(0.1))],
)
def test_memory_limit_is_a_share_or_bytes(given: object, limit: object) -> None:
    assert scalars.memory_limit(given) == limit


def test_memory_share_reads_as_percentage() -> None:
    assert str(MemoryShare(0.4)) == "40%"


REFUSED = [
    (scalars.flag, "maybe", "expected true or false"),
    (scalars.flag, "1", "expected true or false"),
    (scalars.flag, None, "expected true or false"),
    (scalars.count, "0x10", "expected a whole number from 0 to 1000000000"),
    (scalars.count, "1_000", "expected a whole number from 0 to 1000000000"),
    (scalars.count, "1000000001", "expected a whole number from 0 to 1000000000"),
    (scalars.count, 1.0, "expected a whole number from 0 to 1000000000"),
    (scalars.count, True, "expected a whole number from 0 to 1000000000"),
    (scalars.count, "-1", "expected a whole number from 0 to 1000000000"),
    (scalars.positive_count, "0", "expected a whole number from 1 to 1000000000"),
    (scalars.token, "a b", "expected a name of letters, digits and -_.!#$%&'*+^`|~"),
    (scalars.token, "", "expected a name of letters, digits and -_.!#$%&'*+^`|~"),
    (scalars.method, "get", "expected a method in capitals; did you mean GET?"),
    (scalars.tag, "two words", "expected a tag of at most 1024 characters without spaces and commas"),
    (scalars.tag, "a,b", "expected a tag of at most 1024 characters without spaces and commas"),
    (scalars.tag, "x" * 1025, "expected a tag of at most 1024 characters without spaces and commas"),
    (
        scalars.label,
        "-x",
        "expected at most 64 letters, digits, -, _, . and :, the first a letter or digit",
    ),
    (
        scalars.label,
        "x" * 65,
        "expected at most 64 letters, digits, -, _, . and :, the first a letter or digit",
    ),
    (scalars.memory_limit, "140%", "expected a share from 0% to 100%"),
    (
        scalars.memory_limit,
        "much",
        "expected a size such as 64KiB or 256MiB, or a share such as 40%",
    ),
]


@pytest.mark.parametrize(("read", "given", "message"), REFUSED)
def test_anything_else_is_refused_with_what_was_expected(read, given: object, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(given)

    assert str(refused.value) == message


def test_longest_tag_and_label_are_taken() -> None:
    assert scalars.tag("x" * 1024) == "x" * 1024
    assert scalars.label("x" * 64) == "x" * 64
