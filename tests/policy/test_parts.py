"""What a 206 holds, what is missing from it, and what two of them make."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FieldLine, Fields, Part, ResponseHead, StoredResponse
from proxy.policy.parts import (
    asks_one_range,
    completion_lines,
    holds_range,
    is_sound,
    joint,
    may_be_joined,
    part_of,
    size_of,
    strong_validator,
)
from tests.support.responses import date, entry, head
from tests.support.routing import get

ETAG = (b"ETag", b'"a"')


def content_range(value: bytes) -> FieldLine:
    return (b"Content-Range", value)


def stored_part(first: int, body: bytes, complete_length: int = 10, *lines: FieldLine) -> StoredResponse:
    """Bytes from `first` on, of `complete_length`."""
    part = Part(first, first + len(body) - 1, complete_length)
    encoded = Fields([(b"Date", date()), (b"A", b"1"), *(lines or (ETAG,))]).encode()
    return entry(status=206, part=part, body=body, lines=encoded)


CONTENT_RANGES: list[tuple[list[bytes], Part | None]] = [
    ([b"bytes 0-4/10"], Part(0, 4, 10)),
    ([b"bytes 9-9/10"], Part(9, 9, 10)),
    ([b"BYTES 0-9/10"], Part(0, 9, 10)),
    ([b"bytes 0-10/10"], None),
    ([b"bytes 5-4/10"], None),
    ([b"bytes 0-4/*"], None),
    ([b"bytes */10"], None),
    ([b"bytes 0-4"], None),
    ([b"bytes=0-4/10"], None),
    ([b"lines 0-4/10"], None),
    ([b"bytes 0-4/10", b"bytes 0-4/10"], None),
    ([b"bytes 0-4/" + b"9" * 19], None),
    ([], None),
]


@pytest.mark.parametrize(("values", "part"), CONTENT_RANGES)
def test_content_range(values: list[bytes], part: Part | None) -> None:
    assert part_of(head(*map(content_range, values), status=206)) == part


def test_only_a_206_is_a_part() -> None:
    assert part_of(head(content_range(b"bytes 0-4/10"))) is None


def test_size_counts_both_ends() -> None:
    assert size_of(Part(4, 9, 10)) == 6


VALIDATORS: list[tuple[list[FieldLine], bytes | None]] = [
    ([ETAG], b'"a"'),
    ([(b"ETag", b'W/"a"')], None),
    ([(b"ETag", b'W/"a"'), (b"Last-Modified", date(-60))], None),
    ([(b"Last-Modified", date(-60))], date(-60)),
    ([(b"Last-Modified", date(-1))], date(-1)),
    ([(b"Last-Modified", date())], None),
    ([(b"Last-Modified", b"yesterday")], None),
    ([], None),
]


@pytest.mark.parametrize(("lines", "validator"), VALIDATORS)
def test_strong_validator(lines: list[FieldLine], validator: bytes | None) -> None:
    assert strong_validator(head(*lines).fields) == validator


def test_last_modified_proves_nothing_without_a_date() -> None:
    assert strong_validator(Fields([(b"Last-Modified", date(-60))])) is None


@pytest.mark.parametrize(
    ("lines", "holds"),
    [
        ([(b"Range", b"bytes=0-1")], True),
        ([(b"Range", b"bytes=0-1,3-4")], False),
        ([(b"Range", b"lines=0-1")], False),
        ([], False),
    ],
)
def test_one_range(lines: list[FieldLine], holds: bool) -> None:
    assert asks_one_range(get(b"/", *lines)) is holds


@pytest.mark.parametrize(
    ("value", "holds"), [(b"bytes=4-5", True), (b"bytes=3-4", False), (b"bytes=-1", False)]
)
def test_a_part_holds_the_ranges_inside_it(value: bytes, holds: bool) -> None:
    assert holds_range(get(b"/", (b"Range", value)), stored_part(4, b"4567")) is holds


def test_a_part_holds_nothing_whole() -> None:
    assert not holds_range(get(), stored_part(0, b"01234"))


REST: list[tuple[int, bytes, bytes | None]] = [
    (0, b"01234", b"bytes=5-"),  # partial-store-partial-complete
    (5, b"56789", b"bytes=0-4"),
    (9, b"9", b"bytes=0-8"),
    (1, b"12345678", None),
    (0, b"0123456789", None),
]


@pytest.mark.parametrize(("first", "body", "rest"), REST)
def test_the_rest_is_asked_for_where_it_is_one_range(first: int, body: bytes, rest: bytes | None) -> None:
    expected = () if rest is None else ((b"Range", rest), (b"If-Range", b'"a"'))

    assert completion_lines(stored_part(first, body)) == expected


def test_the_rest_without_a_validator_is_asked_for_without_a_condition() -> None:
    assert completion_lines(stored_part(0, b"01234", 10, (b"B", b"2"))) == ((b"Range", b"bytes=5-"),)


def test_nothing_is_missing_from_a_complete_response() -> None:
    assert completion_lines(entry()) == ()


@pytest.mark.parametrize(
    ("lines", "is_fresh", "may"),
    [([ETAG], False, True), ([(b"B", b"2")], True, True), ([(b"B", b"2")], False, False)],
)
def test_a_stale_part_is_joined_only_by_its_validator(
    lines: list[FieldLine], is_fresh: bool, may: bool
) -> None:
    assert may_be_joined(stored_part(0, b"01234", 10, *lines), is_fresh=is_fresh) is may


def newer(value: bytes, *lines: FieldLine, status: int = 206) -> ResponseHead:
    return head(content_range(value), *(lines or (ETAG,)), status=status)


JOINTS: list[tuple[StoredResponse, ResponseHead, bytes, int, bytes]] = [
    (stored_part(0, b"01234"), newer(b"bytes 5-9/10"), b"56789", 200, b"0123456789"),
    (stored_part(5, b"56789"), newer(b"bytes 0-4/10"), b"01234", 200, b"0123456789"),
    (stored_part(0, b"0123"), newer(b"bytes 2-9/10"), b"23456789", 200, b"0123456789"),
    (stored_part(2, b"234567"), newer(b"bytes 0-9/10"), b"0123456789", 200, b"0123456789"),
    (stored_part(0, b"012"), newer(b"bytes 3-5/10"), b"345", 206, b"012345"),
    (stored_part(0, b"0123456"), newer(b"bytes 2-3/10"), b"23", 206, b"0123456"),
    (stored_part(7, b"789"), newer(b"bytes 4-6/10"), b"456", 206, b"456789"),
]


@pytest.mark.parametrize(("stored", "given", "received", "status", "body"), JOINTS)
def test_parts_that_touch_become_one(
    stored: StoredResponse, given: ResponseHead, received: bytes, status: int, body: bytes
) -> None:
    joined = joint(stored, given)

    assert joined is not None
    assert (joined.head.status, joined.size, joined.body(received)) == (status, len(received), body)
    assert joined.total == len(body)


def test_the_larger_part_says_what_it_holds() -> None:
    joined = joint(stored_part(2, b"23"), newer(b"bytes 4-6/10"))

    assert joined is not None
    assert part_of(joined.head) == Part(2, 6, 10)


def test_newer_fields_go_before_stored_ones_and_others_stay() -> None:  # partial-use-headers
    joined = joint(
        stored_part(0, b"01234", 10, ETAG, (b"B", b"1")), newer(b"bytes 5-9/10", ETAG, (b"B", b"2"))
    )

    assert joined is not None
    fields = joined.head.fields
    assert (fields.values(b"a"), fields.values(b"b")) == ([b"1"], [b"2"])
    assert b"content-range" not in fields


@pytest.mark.parametrize("name", [b"Content-Digest", b"Content-MD5"])
def test_what_is_said_of_one_part_is_not_said_of_both(name: bytes) -> None:
    joined = joint(
        stored_part(0, b"01234", 10, ETAG, (name, b"1")), newer(b"bytes 5-9/10", ETAG, (name, b"2"))
    )

    assert joined is not None
    assert name.lower() not in joined.head.fields


APART: list[tuple[str, StoredResponse, ResponseHead]] = [
    ("a gap", stored_part(0, b"0123"), newer(b"bytes 5-9/10")),
    ("another gap", stored_part(6, b"6789"), newer(b"bytes 0-4/10")),
    ("another length", stored_part(0, b"01234"), newer(b"bytes 5-9/11")),
    ("another tag", stored_part(0, b"01234"), newer(b"bytes 5-9/10", (b"ETag", b'"b"'))),
    (
        "a weak tag",
        stored_part(0, b"01234", 10, (b"ETag", b'W/"a"')),
        newer(b"bytes 5-9/10", (b"ETag", b'W/"a"')),
    ),
    ("no validator", stored_part(0, b"01234", 10, (b"B", b"1")), newer(b"bytes 5-9/10", (b"B", b"1"))),
    ("no part", entry(), newer(b"bytes 5-9/10")),
    ("no newer part", stored_part(0, b"01234"), newer(b"bytes 5-9/10", status=200)),
    ("missing bytes", entry(status=206, part=Part(0, 4, 10), body=b"0123"), newer(b"bytes 5-9/10")),
]


@pytest.mark.parametrize(("why", "stored", "given"), APART)
def test_parts_that_do_not_belong_together_stay_apart(
    why: str, stored: StoredResponse, given: ResponseHead
) -> None:
    assert joint(stored, given) is None, why


@given(st.data())
def test_any_two_parts_of_one_body_make_a_part_of_it(data: Any) -> None:
    body = data.draw(st.binary(min_size=1, max_size=30))
    spans = [sorted(data.draw(st.tuples(*[st.integers(0, len(body) - 1)] * 2))) for _ in range(2)]
    (old_first, old_last), (first, last) = spans
    stored = stored_part(old_first, body[old_first : old_last + 1], len(body))
    joined = joint(stored, newer(b"bytes %d-%d/%d" % (first, last, len(body))))

    if joined is None:
        assert first > old_last + 1 or old_first > last + 1
    else:
        union = slice(min(old_first, first), max(old_last, last) + 1)
        assert joined.body(body[first : last + 1]) == body[union]


@pytest.mark.parametrize(
    ("received", "profile", "sound"), [(5, "safe", True), (4, "safe", False), (4, "rfc9111", True)]
)
def test_a_lone_part_has_the_bytes_it_names(received: int, profile: str, sound: bool) -> None:
    stored = entry(status=206, part=Part(0, 4, 10))

    assert is_sound(stored, None, received_bytes=received, profile=profile) is sound


def test_a_complete_response_is_sound() -> None:
    assert is_sound(entry(), None, received_bytes=4, profile="safe")


@pytest.mark.parametrize(("received", "sound"), [(5, True), (4, False), (6, False)])
@pytest.mark.parametrize("profile", ["safe", "rfc9111"])
def test_joined_bytes_are_never_taken_at_their_word(received: int, sound: bool, profile: str) -> None:
    joined = joint(stored_part(0, b"01234"), newer(b"bytes 5-9/10"))

    assert is_sound(entry(), joined, received_bytes=received, profile=profile) is sound
