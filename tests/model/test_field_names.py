"""What follows from the names of a head is found out once for all heads that have the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FieldNames, Fields, names_of
from proxy.model.field_names import MOST_DERIVED, MOST_LIST_BYTES, MOST_LISTS

LISTED = (b"Host", b"X-A", b"x-a", b"100%")


def test_a_list_of_names_is_one_object() -> None:
    assert names_of(LISTED) is names_of((b"Host", b"X-A", b"x-a", b"1" + b"00%"))
    assert names_of(LISTED) is not names_of(LISTED[1:])
    assert repr(names_of((b"A",))) == "FieldNames((b'A',))"


def test_places_are_by_lower_case_names() -> None:
    assert names_of(LISTED).places == {b"host": (0,), b"x-a": (1, 2), b"100%": (3,)}


def test_lines_are_encoded_as_sent() -> None:
    assert names_of(LISTED).encode((b"a", b"%b", b"", b"2")) == b"Host: a\r\nX-A: %b\r\nx-a: \r\n100%: 2\r\n"
    assert names_of(()).encode(()) == b""


def test_a_rule_is_asked_once() -> None:
    asked: list[tuple[bytes, ...]] = []

    def rule(names: FieldNames) -> bool:
        asked.append(names.listed)
        return False

    names = FieldNames(LISTED)

    assert [names.derived(rule), names.derived(rule)] == [False, False]
    assert asked == [LISTED]


def test_what_is_remembered_of_a_list_is_bounded() -> None:
    names = FieldNames(LISTED)
    for number in range(3 * MOST_DERIVED):
        unwanted = frozenset({b"x-a", b"n%d" % number})
        cut = names.without(unwanted)
        longer = names.plus((b"N%d" % number,))
        assert cut is not None
        assert (cut.names.listed, cut.pick((b"1", b"2", b"3", b"4"))) == ((b"Host", b"100%"), (b"1", b"4"))
        assert longer.listed == (*LISTED, b"N%d" % number)
        assert (names.without(unwanted) is cut) is (number < MOST_DERIVED)
        assert (names.plus((b"N%d" % number,)) is longer) is (number < MOST_LISTS)


def test_lists_are_forgotten_the_longest_unused_first_and_long_ones_at_once() -> None:
    first = names_of((b"first",))
    for number in range(MOST_LISTS):
        names_of((b"another", b"%d" % number))
    long = (b"n" * (MOST_LIST_BYTES + 1),)

    assert names_of((b"first",)) is not first
    assert names_of(long) is not names_of(long)


NAMES = st.sampled_from([b"A", b"a", b"B", b"C", b"%"])
LINES = st.lists(st.tuples(NAMES, st.binary(max_size=2)), max_size=5)
LOWER = st.frozensets(NAMES.map(bytes.lower))


@given(LINES, LOWER, LINES)
def test_fields_say_what_their_lines_say(
    lines: list[tuple[bytes, bytes]], unwanted: frozenset[bytes], more: list[tuple[bytes, bytes]]
) -> None:
    kept = [line for line in lines if line[0].lower() not in unwanted]
    fields = Fields(lines).without(unwanted).plus(more)

    assert fields.lines == (*kept, *more)
    assert fields.encode() == b"".join(b"%b: %b\r\n" % line for line in (*kept, *more))
    for name in (b"a", b"b", b"c", b"%"):
        values = [value for sent, value in (*kept, *more) if sent.lower() == name]
        assert fields.values(name) == values
        assert fields.first(name) == (values[0] if values else None)
        assert fields.combined(name) == (b", ".join(values) if values else None)
        assert (name in fields, name in fields.names()) == (bool(values), bool(values))
