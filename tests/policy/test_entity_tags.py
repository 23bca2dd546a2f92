import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.entity_tags import entity_tags, is_weak, match_strongly, match_weakly

# The comparison table of RFC 9110 §8.8.3.2, and tags that are none.
COMPARED = [
    (b'W/"1"', b'W/"1"', False, True),
    (b'W/"1"', b'W/"2"', False, False),
    (b'W/"1"', b'"1"', False, True),
    (b'"1"', b'"1"', True, True),
    (b'"1"', b'"2"', False, False),
    (b'w/"1"', b'w/"1"', True, True),
    (b'w/"1"', b'"1"', False, False),
    (b"1", b'"1"', False, False),
    (b'"W/1"', b'"1"', False, False),
]


@pytest.mark.parametrize(("tag", "other", "strongly", "weakly"), COMPARED)
def test_comparison(tag: bytes, other: bytes, strongly: bool, weakly: bool) -> None:
    for left, right in ((tag, other), (other, tag)):
        assert match_strongly(left, right) is strongly
        assert match_weakly(left, right) is weakly


@pytest.mark.parametrize(
    ("tag", "weak"), [(b'W/"1"', True), (b'"1"', False), (b'w/"1"', False), (b"", False)]
)
def test_weakness(tag: bytes, weak: bool) -> None:
    assert is_weak(tag) is weak


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        ([], []),
        ([b""], []),
        ([b"*"], [b"*"]),
        ([b'"a"'], [b'"a"']),
        ([b'"a", W/"b"', b'"c"'], [b'"a"', b'W/"b"', b'"c"']),
        ([b' ,"a",,"b" '], [b'"a"', b'"b"']),
        ([b'"a,b c", ""'], [b'"a,b c"', b'""']),
        ([b"abc, def"], [b"abc", b"def"]),
        ([b'"caf\xe9"'], [b'"caf\xe9"']),
        ([b'"a'], [b"a"]),
    ],
)
def test_members(lines: list[bytes], tags: list[bytes]) -> None:
    assert entity_tags(lines) == tags


@given(st.binary())
def test_any_bytes_are_read(line: bytes) -> None:
    assert all(entity_tags([line]))


@pytest.mark.parametrize("piece", [b'"', b"W/", b'W/"', b"a,", b'"a'])
def test_work_is_linear(piece: bytes) -> None:
    began = time.process_time()

    entity_tags([piece * (64 * 1024 // len(piece))])

    assert time.process_time() - began < 1.0
