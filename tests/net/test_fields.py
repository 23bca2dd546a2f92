from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields
from proxy.net.fields import are_clean, is_field_value, is_token, list_members

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VALUE_BYTES = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])


@pytest.mark.parametrize("byte", range(256))
def test_each_byte_is_known_as_part_of_a_name_or_a_value(byte: int) -> None:
    one = bytes([byte])

    assert is_token(b"a" + one) is (one in TOKEN_BYTES)
    assert is_field_value(b"a" + one) is (one in VALUE_BYTES)
    assert are_clean(Fields([(b"a" + one, b"v")])) is (one in TOKEN_BYTES)
    assert are_clean(Fields([(b"a", b"v" + one)])) is (one in VALUE_BYTES)


def test_a_name_is_never_empty_but_a_value_may_be() -> None:
    assert not is_token(b"")
    assert is_field_value(b"")
    assert not are_clean(Fields([(b"", b"v")]))
    assert are_clean(Fields([(b"a", b"")]))
    assert are_clean(Fields([]))


@given(st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=4))
def test_lines_are_judged_together_as_each_one_would_be(lines: list[tuple[bytes, bytes]]) -> None:
    expected = all(is_token(name) and is_field_value(value) for name, value in lines)

    assert are_clean(Fields(lines)) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([b""], []),
        ([b"close"], [b"close"]),
        ([b"Keep-Alive, \tUpgrade ,,"], [b"keep-alive", b"upgrade"]),
        ([b"a", b"B, c"], [b"a", b"b", b"c"]),
    ],
)
def test_list_members_are_stripped_and_lower_case(values: list[bytes], expected: list[bytes]) -> None:
    assert list_members(values) == expected
