"""Fields keep what came over the wire and find it by lower-case names."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields

FIELDS = Fields([(b"Host", b"a"), (b"X-A", b"1"), (b"x-a", b"2")])


def test_look_ups_ignore_case_and_keep_order() -> None:
    assert FIELDS.values(b"x-a") == [b"1", b"2"]
    assert FIELDS.first(b"x-a") == b"1"
    assert FIELDS.combined(b"x-a") == b"1, 2"


def test_absent_fields_are_none_or_empty() -> None:
    assert FIELDS.values(b"cookie") == []
    assert FIELDS.first(b"cookie") is None
    assert FIELDS.combined(b"cookie") is None
    assert b"cookie" not in FIELDS
    assert b"host" in FIELDS


def test_only_a_single_line_is_the_only_one() -> None:
    assert FIELDS.only(b"host") == b"a"
    assert FIELDS.only(b"x-a") is None
    assert FIELDS.only(b"cookie") is None


def test_a_copy_is_encoded_as_itself() -> None:
    original = FIELDS.encode()

    assert FIELDS.without([b"x-a"]).encode() == b"Host: a\r\n"
    assert FIELDS.plus([(b"B", b"3")]).encode() == original + b"B: 3\r\n"
    assert FIELDS.encode() == original


def test_copies_leave_the_original_alone() -> None:
    assert FIELDS.without([b"x-a"]) == Fields([(b"Host", b"a")])
    assert FIELDS.plus([(b"B", b"3")]).lines == (*FIELDS.lines, (b"B", b"3"))
    assert len(FIELDS.lines) == 3


TOKENS = st.binary(min_size=1, max_size=8).map(lambda raw: raw.hex().encode())
VALUES = st.binary(max_size=20).filter(lambda value: b"\r" not in value and b"\n" not in value)


@given(st.lists(st.tuples(TOKENS, VALUES)))
def test_what_was_encoded_is_decoded(lines: list[tuple[bytes, bytes]]) -> None:
    assert Fields.decode(Fields(lines).encode()) == Fields(lines)


def test_a_copy_of_fields_that_were_looked_up_says_the_same_as_a_new_one() -> None:
    fields = Fields([(b"Host", b"a"), (b"X-A", b"1"), (b"x-a", b"2"), (b"B", b"3")])
    assert b"host" in fields

    more = fields.plus([(b"X-a", b"4"), (b"N", b"5")])
    for copy in (fields.without({b"x-a"}), fields.without({b"c"}), more):
        anew = Fields(copy.lines)
        assert list(copy.names()) == list(anew.names())
        assert [copy.values(name) for name in copy.names()] == [anew.values(name) for name in anew.names()]
    assert fields.values(b"x-a") == [b"1", b"2"]
