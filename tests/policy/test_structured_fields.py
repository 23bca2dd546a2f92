import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.structured_fields import BareItem, parse_dictionary, parse_strings

DICTIONARIES: list[tuple[bytes, dict[bytes, BareItem]]] = [
    (b"", {}),
    (b"   ", {}),
    (b"a", {b"a": True}),
    (b" a=1 ", {b"a": 1}),
    (b"max-age=3600, no-store", {b"max-age": 3600, b"no-store": True}),
    (b"a=1\t,\tb=2,c=3", {b"a": 1, b"b": 2, b"c": 3}),
    (b"a=1, b, a=2", {b"a": 2, b"b": True}),
    (b"a=-7, b=0007", {b"a": -7, b"b": 7}),
    (b"a=999999999999999", {b"a": 999999999999999}),
    (b"a=?1, b=?0", {b"a": True, b"b": False}),
    (b'a="x, y", b', {b"a": b"x, y", b"b": True}),
    (rb'a="\"\\"', {b"a": rb'"\ '.strip()}),
    (b'a=""', {b"a": b""}),
    (b"a=token/with:more, b=*t", {b"a": None, b"b": None}),
    (b"a=1.5, b=:AAA=:, c=()", {b"a": None, b"b": None, b"c": None}),
    (b'a=( 1 b;x  "c" );y=1, b=(1 2)', {b"a": None, b"b": None}),
    (b"a;x;y=1;z=?0, b=1; x=2", {b"a": True, b"b": 1}),
    (b"*a_-.*=1", {b"*a_-.*": 1}),
]
NO_DICTIONARIES = [
    b"max-age=10000, &&&&&",  # cdn-cc-invalid-sh-type-unknown
    b"MaX-aGe=3600",  # cdn-max-age-case-insensitive
    b"max-age =100",  # cdn-max-age-space-before-equals
    b"max-age= 100",  # cdn-max-age-space-after-equals
    b"a,",
    b",a",
    b"a,,b",
    b"a, ,b",
    b"a b",
    b"a=",
    b"1a",
    b"a=1234567890123456",
    b"a=1234567890123.5",
    b"a=1.2345",
    b"a=1.",
    b"a=--1",
    b"a=+1",
    b'a="x',
    b'a="\\x"',
    b'a="\xe9"',
    b'a="\t"',
    b"a=?2",
    b"a=(1",
    b'a=(1"b")',
    b"a=1;",
    b"a=1;X=1",
    b"a=:!:",
    b"\xff",
]


@pytest.mark.parametrize(("text", "members"), DICTIONARIES)
def test_dictionary_is_read(text: bytes, members: dict[bytes, BareItem]) -> None:
    assert parse_dictionary(text) == members


@pytest.mark.parametrize("text", NO_DICTIONARIES)
def test_one_fault_makes_the_whole_field_void(text: bytes) -> None:
    assert parse_dictionary(text) is None


@pytest.mark.parametrize(
    ("text", "strings"),
    [
        (b"", []),
        (b'"a"', [b"a"]),
        (b'"a", "b c,d";x=1, ""', [b"a", b"b c,d", b""]),
        (b'"a", b', None),
        (b'"a", 1', None),
        (b'"a", ("b")', None),
        (b'"a" "b"', None),
        (b'"a",', None),
        (b'"a', None),
    ],
)
def test_list_of_strings_is_read_or_void(text: bytes, strings: list[bytes] | None) -> None:
    assert parse_strings(text) == strings


@given(st.binary() | st.from_regex(rb"\A[a-z0-9=;,\"() ?:.*\\-]*\Z"))
def test_any_bytes_are_read_or_void(text: bytes) -> None:
    assert isinstance(parse_dictionary(text), dict | None)
    assert isinstance(parse_strings(text), list | None)


@pytest.mark.parametrize("piece", [b"a=(1 ", b'a="\\"', b"a;", b"a,", b"((", b"a=1;b", b'"', b"a=(1;x "])
def test_work_is_linear(piece: bytes) -> None:
    text = piece * (64 * 1024 // len(piece))
    began = time.process_time()

    parse_dictionary(text)

    assert time.process_time() - began < 1.0
