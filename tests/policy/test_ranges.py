from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields, Part, Request
from proxy.policy.ranges import (
    Portion,
    Slice,
    partial_lines,
    select_range,
    unsatisfied_line,
    unsatisfied_lines,
)
from tests.support.responses import date, entry
from tests.support.routing import get

WHOLE, UNSATISFIABLE = Portion.WHOLE, Portion.UNSATISFIABLE
BODY = b"0123456789"


def ranged(value: bytes, *lines: tuple[bytes, bytes], **changes: Any) -> Request:
    return get(b"/", (b"Range", value), *lines, **changes)


def selected(request: Request, body: bytes = BODY, **changes: Any) -> Slice | Portion:
    return select_range(request, entry(body=body, **changes))


RANGES: list[tuple[bytes, Slice | Portion]] = [
    (b"bytes=0-1", Slice(0, 2)),  # partial-store-complete-reuse-partial
    (b"bytes=1-", Slice(1, 10)),  # partial-store-complete-reuse-partial-no-last
    (b"bytes=-1", Slice(9, 10)),  # partial-store-complete-reuse-partial-suffix
    (b"bytes=0-0", Slice(0, 1)),
    (b"bytes=0-", Slice(0, 10)),
    (b"bytes=0-9", Slice(0, 10)),
    (b"bytes=0-10", Slice(0, 10)),
    (b"bytes=9-", Slice(9, 10)),
    (b"bytes=10-", UNSATISFIABLE),
    (b"bytes=10-20", UNSATISFIABLE),
    (b"bytes=-10", Slice(0, 10)),
    (b"bytes=-11", Slice(0, 10)),
    (b"bytes=-0", UNSATISFIABLE),
    (b"bytes=0000-0001", Slice(0, 2)),
    (b"bytes=0-" + b"9" * 5000, Slice(0, 10)),
    (b"bytes=" + b"9" * 5000 + b"-", UNSATISFIABLE),
    (b"BYTES= 0-1 ", Slice(0, 2)),
    (b"bytes=,0-1,", Slice(0, 2)),
    (b"bytes=1-0", WHOLE),
    (b"bytes=20-10", WHOLE),
    (b"bytes=0-1,3-4", WHOLE),
    (b"bytes=-", WHOLE),
    (b"bytes=", WHOLE),
    (b"bytes", WHOLE),
    (b"bytes 0-1", WHOLE),
    (b"bytes=cow", WHOLE),
    (b"bytes=0 - 1", WHOLE),
    (b"bytes=+0-1", WHOLE),
    (b"bytes=0-1x", WHOLE),
    (b"lines=0-1", WHOLE),
    ("bytes=\u0660-1".encode(), WHOLE),
]


@pytest.mark.parametrize(("value", "part"), RANGES)
def test_range(value: bytes, part: Slice | Portion) -> None:
    assert selected(ranged(value)) == part


@pytest.mark.parametrize(
    ("value", "part"), [(b"bytes=0-", UNSATISFIABLE), (b"bytes=-1", WHOLE), (b"bytes=-0", UNSATISFIABLE)]
)
def test_range_of_nothing(value: bytes, part: Slice | Portion) -> None:
    assert selected(ranged(value), body=b"") is part


@pytest.mark.parametrize(
    ("request_", "changes"),
    [
        (get(), {}),
        (ranged(b"bytes=0-1", method="HEAD"), {}),
        (ranged(b"bytes=0-1", (b"Range", b"bytes=0-1")), {}),
        (ranged(b"bytes=0-1"), {"status": 404}),
        (ranged(b"bytes=0-1"), {"status": 203}),
    ],
)
def test_range_that_does_not_apply(request_: Request, changes: dict[str, Any]) -> None:
    assert selected(request_, **changes) is WHOLE


IF_RANGE: list[tuple[list[bytes], dict[str, Any], bool]] = [
    ([], {}, True),
    ([b'"a"'], {"etag": b'"a"'}, True),
    ([b'"b"'], {"etag": b'"a"'}, False),
    ([b'W/"a"'], {"etag": b'W/"a"'}, False),
    ([b'"a"'], {"etag": b'W/"a"'}, False),
    ([b'"a"'], {}, False),
    ([b'"a"', b'"a"'], {"etag": b'"a"'}, False),
    ([date(-9)], {"last_modified": date(-9)}, True),
    ([date(-9)], {"last_modified": date(-9), "etag": b'"a"'}, True),
    ([date(-8)], {"last_modified": date(-9)}, False),
    ([date(-10)], {"last_modified": date(-9)}, False),
    ([date(-1)], {"last_modified": date(-1)}, True),
    ([date()], {"last_modified": date()}, False),  # made in the second of its last change: weak
    ([date(-9)], {"last_modified": date(-9), "lines": b""}, False),
    ([date(-9)], {}, False),
    ([b"foo"], {"last_modified": date(-9)}, False),
    ([b"foo"], {"last_modified": b"foo"}, False),
]


@pytest.mark.parametrize(("values", "changes", "holds"), IF_RANGE)
def test_if_range(values: list[bytes], changes: dict[str, Any], holds: bool) -> None:
    request = ranged(b"bytes=0-1", *((b"If-Range", value) for value in values))

    assert selected(request, **changes) == (Slice(0, 2) if holds else WHOLE)


def test_head_of_a_part() -> None:
    lines = b"Date: d\r\nETag: e\r\nContent-Range: x\r\nContent-MD5: y\r\nContent-Digest: z\r\n"

    assert partial_lines(lines, Slice(2, 5), 10) == b"Date: d\r\nETag: e\r\nContent-Range: bytes 2-4/10\r\n"


def test_head_of_no_part() -> None:
    lines = b"ETag: e\r\nContent-Encoding: gzip\r\nContent-Digest: z\r\n"

    assert unsatisfied_lines(lines) == b"ETag: e\r\n"
    assert Fields.decode(unsatisfied_line(10)) == Fields([(b"Content-Range", b"bytes */10")])


PART = Part(4, 9, 12)
"""456789 of twelve bytes."""
IN_PART: list[tuple[bytes, Slice | Portion]] = [
    (b"bytes=4-9", Slice(0, 6, 4)),
    (b"bytes=5-6", Slice(1, 3, 4)),
    (b"bytes=9-9", Slice(5, 6, 4)),
    (b"bytes=3-5", WHOLE),
    (b"bytes=9-10", WHOLE),
    (b"bytes=4-", WHOLE),
    (b"bytes=-2", WHOLE),
    (b"bytes=12-", WHOLE),
    (b"bytes=-0", WHOLE),
    (b"bytes=cow", WHOLE),
]


@pytest.mark.parametrize(("value", "part"), IN_PART)
def test_range_of_a_part(value: bytes, part: Slice | Portion) -> None:
    assert selected(ranged(value), status=206, part=PART, body=b"456789") == part


AT_THE_END: list[tuple[bytes, Slice | Portion]] = [
    (b"bytes=-6", Slice(0, 6, 4)),
    (b"bytes=-1", Slice(5, 6, 4)),
    (b"bytes=-7", WHOLE),
    (b"bytes=6-", Slice(2, 6, 4)),
    (b"bytes=6-99", Slice(2, 6, 4)),
    (b"bytes=3-", WHOLE),
]


@pytest.mark.parametrize(("value", "part"), AT_THE_END)
def test_range_of_a_part_that_reaches_the_end(value: bytes, part: Slice | Portion) -> None:
    assert selected(ranged(value), status=206, part=Part(4, 9, 10), body=b"456789") == part


TOO_SHORT: list[tuple[bytes, Slice | Portion]] = [
    (b"bytes=-5", Slice(0, 5, 5)),  # partial-store-partial-reuse-partial
    (b"bytes=6-8", Slice(2, 5, 4)),  # partial-store-partial-reuse-partial-byterange
    (b"bytes=6-", Slice(2, 5, 4)),  # partial-store-partial-reuse-partial-absent
    (b"bytes=-1", Slice(4, 5, 5)),  # partial-store-partial-reuse-partial-suffix
    (b"bytes=-6", WHOLE),
    (b"bytes=9-", WHOLE),
]


@pytest.mark.parametrize(("value", "part"), TOO_SHORT)
def test_where_length_and_content_range_disagree_the_named_end_counts(
    value: bytes, part: Slice | Portion
) -> None:
    assert selected(ranged(value), status=206, part=Part(4, 9, 10), body=b"01234") == part


def test_if_range_of_another_part_is_no_range_of_this_one() -> None:
    request = ranged(b"bytes=4-5", (b"If-Range", b'"b"'))

    assert selected(request, status=206, part=PART, body=b"456789", etag=b'"a"') is WHOLE


def test_head_of_a_slice_of_a_part() -> None:
    lines = partial_lines(b"ETag: e\r\n", Slice(1, 3, 4), 12)

    assert lines == b"ETag: e\r\nContent-Range: bytes 5-6/12\r\n"


@given(st.binary() | st.from_regex(rb"\Abytes=[0-9 ,-]*\Z"), st.binary(max_size=20))
def test_any_range_lies_in_the_body(value: bytes, body: bytes) -> None:
    part = selected(ranged(value), body=body)

    assert isinstance(part, Portion) or 0 <= part.start < part.end <= len(body)
