from typing import Any

import pytest

from proxy.model import FieldLine, Fields, Request
from proxy.policy.preconditions import (
    has_failed_precondition,
    has_tag,
    is_hit_not_modified,
    is_not_modified,
    not_modified_lines,
)
from tests.support.responses import NOW, date, entry
from tests.support.routing import get

STRONG, WEAK = b'"abcdef"', b'W/"abcdef"'
RFC850 = b"Sunday, 09-Sep-01 00:56:40 GMT"


def none_match(*values: bytes) -> Request:
    return get(b"/", *((b"If-None-Match", value) for value in values))


def modified_since(*values: bytes) -> Request:
    return get(b"/", *((b"If-Modified-Since", value) for value in values))


ETAGS: list[tuple[bytes | None, Request, bool]] = [
    (STRONG, get(), False),
    (STRONG, none_match(STRONG), True),  # conditional-etag-strong-respond
    (STRONG, none_match(b'"other"'), False),
    (STRONG, none_match(WEAK), True),
    (WEAK, none_match(WEAK), True),  # conditional-etag-weak-respond
    (WEAK, none_match(STRONG), True),
    (STRONG, none_match(b'"abcdef", "1234", "5678"'), True),  # conditional-etag-strong-respond-multiple-first
    (
        STRONG,
        none_match(b'"1234", "abcdef", "5678"'),
        True,
    ),  # conditional-etag-strong-respond-multiple-second
    (STRONG, none_match(b'"1234", "5678", "abcdef"'), True),  # conditional-etag-strong-respond-multiple-last
    (STRONG, none_match(b'"1234"', b'"abcdef"'), True),
    (STRONG, none_match(b'"1234,"abcdef"'), False),
    (STRONG, none_match(b"*"), True),
    (None, none_match(b"*"), True),
    (STRONG, none_match(b'"1234", *'), False),
    (None, none_match(STRONG), False),
    (STRONG, none_match(b""), False),
    (STRONG, none_match(b"abcdef"), False),  # conditional-etag-quoted-respond-unquoted
    (b"abcdef", none_match(b"abcdef"), True),  # conditional-etag-unquoted-respond-unquoted
    (b'"abcdef\xfc"', none_match(b'"abcdef\xfc"'), True),  # conditional-etag-strong-respond-obs-text
    (b'w/"abcdef"', none_match(b'w/"abcdef"'), True),  # conditional-etag-weak-respond-lowercase
    (b'W\\"abcdef"', none_match(b'W\\"abcdef"'), True),  # conditional-etag-weak-respond-backslash
]


@pytest.mark.parametrize(("etag", "request_", "unchanged"), ETAGS)
def test_if_none_match(etag: bytes | None, request_: Request, unchanged: bool) -> None:
    assert is_not_modified(request_, etag=etag, last_modified=None) is unchanged


@pytest.mark.parametrize(("etag", "request_", "unchanged"), ETAGS)
@pytest.mark.parametrize("status", [200, 404])
def test_who_names_the_very_tag_is_told_by_that_alone(
    etag: bytes | None, request_: Request, unchanged: bool, status: int
) -> None:
    stored = entry(etag=etag, status=status)
    value = request_.fields.first(b"if-none-match") or b""

    is_told = has_tag(stored, value)

    assert is_told is (status == 200 and value == etag)
    assert not is_told or is_hit_not_modified(request_, stored)


DATES: list[tuple[bytes | None, bytes | None, Request, bool]] = [
    (date(-3000), None, modified_since(date(-3000)), True),  # conditional-lm-fresh
    (date(-3000), None, modified_since(date(-2000)), True),  # conditional-lm-fresh-earlier
    (date(-3000), None, modified_since(date(-3001)), False),
    (date(-3000), None, modified_since(RFC850), True),  # conditional-lm-fresh-rfc850
    (date(-2999), None, modified_since(RFC850), False),
    (date(-3000), None, modified_since(b"foo"), False),
    (date(-3000), None, modified_since(date(), date()), False),
    (b"foo", None, modified_since(date()), False),
    (None, None, modified_since(date()), False),
    (None, date(), modified_since(date()), True),
    (None, date(), modified_since(date(-1)), False),
    (None, date(), modified_since(date(-3000)), False),
    (date(-9), date(), modified_since(date(-9)), True),
]


@pytest.mark.parametrize(("last_modified", "made", "request_", "unchanged"), DATES)
def test_if_modified_since(
    last_modified: bytes | None, made: bytes | None, request_: Request, unchanged: bool
) -> None:
    assert is_not_modified(request_, etag=None, last_modified=last_modified, date=made) is unchanged


def test_if_none_match_goes_before_if_modified_since() -> None:  # conditional-etag-precedence
    lines = [(b"If-None-Match", STRONG), (b"If-Modified-Since", date(-1))]

    assert is_not_modified(get(b"/", *lines), etag=STRONG, last_modified=date())
    assert not is_not_modified(get(b"/", *lines), etag=b'"other"', last_modified=date(-5000))


@pytest.mark.parametrize(("method", "unchanged"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_conditions_of_reading_methods(method: str, unchanged: bool) -> None:
    request = get(b"/", (b"If-None-Match", STRONG), method=method)

    assert is_not_modified(request, etag=STRONG, last_modified=None) is unchanged


HITS: list[tuple[dict[str, Any], Request, bool]] = [
    ({"etag": STRONG}, get(), False),
    ({"etag": STRONG}, none_match(STRONG), True),
    ({"etag": STRONG, "status": 203}, none_match(STRONG), True),
    ({"etag": STRONG, "status": 404}, none_match(STRONG), False),
    ({"etag": STRONG, "status": 301}, none_match(STRONG), False),
    ({"last_modified": date(-9)}, modified_since(date(-9)), True),
    ({"last_modified": date(-9)}, modified_since(date(-10)), False),
    ({}, modified_since(date()), True),
    ({}, modified_since(date(-1)), False),
    ({"lines": b""}, modified_since(date()), False),
]


@pytest.mark.parametrize(("changes", "request_", "unchanged"), HITS)
def test_hit(changes: dict[str, Any], request_: Request, unchanged: bool) -> None:
    assert is_hit_not_modified(request_, entry(received_at=NOW, **changes)) is unchanged


FAILED: list[tuple[list[FieldLine], bool]] = [
    ([], False),
    ([(b"If-Match", STRONG)], False),
    ([(b"If-Match", b'"x", "abcdef"')], False),
    ([(b"If-Match", b"*")], False),
    ([(b"If-Match", b'"x"')], True),
    ([(b"If-Match", WEAK)], True),
    ([(b"If-Match", b"")], True),
    ([(b"If-Unmodified-Since", date(-9))], False),
    ([(b"If-Unmodified-Since", date(-10))], True),
    ([(b"If-Unmodified-Since", b"foo")], False),
    ([(b"If-Match", STRONG), (b"If-Unmodified-Since", date(-10))], False),
]


@pytest.mark.parametrize(("lines", "failed"), FAILED)
def test_failed_precondition(lines: list[FieldLine], failed: bool) -> None:
    assert has_failed_precondition(get(b"/", *lines), etag=STRONG, last_modified=date(-9)) is failed


def test_nothing_matches_a_weak_or_missing_tag() -> None:
    request = get(b"/", (b"If-Match", WEAK))

    assert has_failed_precondition(request, etag=WEAK, last_modified=None)
    assert has_failed_precondition(request, etag=None, last_modified=None)
    assert not has_failed_precondition(get(b"/", (b"If-Match", b"*")), etag=None, last_modified=None)


def test_not_modified_leaves_out_what_is_about_the_body() -> None:
    fields = Fields(
        [
            (b"Date", b"d"),
            (b"Content-Type", b"text/plain"),
            (b"CONTENT-ENCODING", b"gzip"),
            (b"Content-Location", b"/x"),
            (b"Cache-Control", b"max-age=1"),
            (b"ETag", STRONG),
            (b"Last-Modified", b"l"),
            (b"Access-Control-Allow-Origin", b"*"),
            (b"Vary", b"a"),
            (b"Expires", b"e"),
        ]
    )

    assert Fields.decode(not_modified_lines(fields.encode())) == fields.without(
        {b"content-type", b"content-encoding", b"last-modified"}
    )


def test_not_modified_names_the_date_where_there_is_no_tag() -> None:
    lines = b"Date: d\r\nLast-Modified: l\r\n"

    assert not_modified_lines(lines) == lines
