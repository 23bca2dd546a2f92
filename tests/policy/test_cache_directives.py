import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.cache_directives import MOST_SECONDS, Directives, delta_seconds, parse_directives


def parse(*lines: bytes) -> Directives:
    return parse_directives(lines)


MAX_AGE = [
    ((b"max-age=3600",), 3600),
    ((b"MaX-aGe=3600",), 3600),  # freshness-max-age-case-insenstive
    ((b'max-age="3600"',), 3600),  # freshness-max-age-quoted
    ((b'max-age="36\\00"',), 3600),
    ((b"max-age=003600",), 3600),  # freshness-max-age-leading-zero
    ((b"max-age=0",), 0),
    ((b"max-age=000",), 0),
    ((b"foobar, max-age=3600",), 3600),  # freshness-max-age-extension
    ((b",, ,max-age=3600 ,",), 3600),
    ((b"\tfoo=1\t,\tmax-age=3600\t",), 3600),
    ((b"foo", b"max-age=3600"), 3600),
    ((b"max-age=2147483647",), 2147483647),
    ((b"max-age=2147483648",), MOST_SECONDS),
    ((b"max-age=2147483649",), MOST_SECONDS),
    ((b"max-age=9999999999",), MOST_SECONDS),
    ((b"max-age=99999999999",), MOST_SECONDS),  # freshness-max-age-max-plus
    ((b"max-age=" + b"9" * 20_000,), MOST_SECONDS),
    ((b"max-age=" + b"0" * 20_000 + b"7",), 7),
    ((b"max-age=1800, max-age=1",), 1),  # freshness-max-age-two-fresh-stale-sameline
    ((b"max-age=1, max-age=1800",), 1),  # freshness-max-age-two-stale-fresh-sameline
    ((b"max-age=1800", b"max-age=1"), 1),  # freshness-max-age-two-fresh-stale-sepline
    ((b"max-age=60, max-age=60",), 60),
    ((b'extension="max-age=3600", max-age=1',), 1),  # freshness-max-age-ignore-quoted
    ((b'max-age=1, extension="max-age=3600"',), 1),  # freshness-max-age-ignore-quoted-rev
    ((b'max-age=7, extension="a\\",max-age=3,"',), 7),
    ((b'extension="a, max-age=7',), 7),  # a quote that never ends hides nothing
    ((b'extension="a, max-age=7, b="c, max-age=8"',), 0),
    ((b"s-maxage=1",), None),
    ((b"max-agee=1, xmax-age=1",), None),
    ((b"",), None),
    ((), None),
]
MALFORMED = [
    b"max-age",
    b"max-age=",
    b"max-age=-3600",  # freshness-max-age-negative
    b"max-age='3600'",  # freshness-max-age-single-quoted
    b"max-age=3600.0",  # freshness-max-age-decimal-zero
    b"max-age=3600.5",  # freshness-max-age-decimal-five
    b"max-age=a3600",  # freshness-max-age-a100
    b"max-age=3600a",  # freshness-max-age-100a
    b"max-age =3600",  # freshness-max-age-space-before-equals
    b"max-age= 3600",  # freshness-max-age-space-after-equals
    b"max-age=3600 s",
    b"max-age=+1",
    b"max-age:3600",
    b'max-age="3600',
    b'max-age="3600" s',
    b'max-age=x"3600"',
    b'max-age=""',
    b'max-age=" 3600"',
    "max-age=\u0663".encode(),
]
FIELD_NAMES: list[tuple[tuple[bytes, ...], frozenset[bytes] | None]] = [
    ((b"max-age=1",), frozenset()),
    ((b"no-cache",), None),
    ((b"No-Cache",), None),
    ((b'no-cache="a"',), frozenset({b"a"})),
    ((b'no-cache="A, b ,c"',), frozenset({b"a", b"b", b"c"})),
    ((b"no-cache=Set-Cookie",), frozenset({b"set-cookie"})),
    ((b'no-cache="a"', b'no-cache="b"'), frozenset({b"a", b"b"})),
    ((b'no-cache="a", no-cache',), None),
    ((b'no-cache=""',), None),
    ((b'no-cache="a,"',), None),
    ((b'no-cache="a b"',), None),
    ((b"no-cache=",), None),
    ((b'no-cache="a',), None),
    ((b"no-cache =a",), None),
]


@pytest.mark.parametrize(("lines", "seconds"), MAX_AGE)
def test_seconds_are_read(lines: tuple[bytes, ...], seconds: int | None) -> None:
    assert parse(*lines).seconds(b"max-age", invalid=0) == seconds


@pytest.mark.parametrize("line", MALFORMED)
def test_malformed_seconds_count_as_the_caller_says(line: bytes) -> None:
    assert parse(line).seconds(b"max-age", invalid=0) == 0
    assert parse(line).seconds(b"max-age", invalid=None) is None
    assert parse(line, b"max-age=5").seconds(b"max-age", invalid=None) == 5
    assert parse(line, b"max-age=5").seconds(b"max-age", invalid=0) == 0


def test_the_caller_may_choose_the_highest() -> None:
    assert parse(b"min-fresh=3, min-fresh=9").seconds(b"min-fresh", invalid=None, choose=max) == 9


@pytest.mark.parametrize(("lines", "names"), FIELD_NAMES)
def test_field_names_are_read(lines: tuple[bytes, ...], names: frozenset[bytes] | None) -> None:
    assert parse(*lines).field_names(b"no-cache") == names


@pytest.mark.parametrize(
    ("line", "has", "has_bare"),
    [
        (b"no-store", True, True),
        (b"NO-STORE", True, True),
        (b"a, no-store ,b", True, True),
        (b"no-store=1", True, False),
        (b"no-store =?", True, False),
        (b'no-store"', True, False),
        (b'a="no-store"', False, False),
        (b"no-storee", False, False),
        (b"=no-store", False, False),
        (b"", False, False),
    ],
)
def test_a_mangled_directive_is_still_there(line: bytes, has: bool, has_bare: bool) -> None:
    directives = parse(line)

    assert (directives.has(b"no-store"), directives.has_bare(b"no-store")) == (has, has_bare)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"7", 7), (b"0", 0), (b"", None), (b" 7", None), (b"-7", None), (b"7.0", None), (b"2147483649", 2**31)],
)
def test_delta_seconds(text: bytes, seconds: int | None) -> None:
    assert delta_seconds(text) == seconds


@given(st.binary() | st.from_regex(rb'\A[a-z0-9=", \\\t-]*\Z'))
def test_any_bytes_are_read(line: bytes) -> None:
    directives = parse(line)

    seconds = directives.seconds(b"max-age", invalid=None)
    assert seconds is None or 0 <= seconds <= MOST_SECONDS
    assert directives.field_names(b"private") is None or not directives.has(b"max-age=")


@given(st.lists(st.sampled_from([b"a", b'b="x,y"', b"c=1", b'd="\\""', b'"', b"", b"\\"])))
def test_no_store_is_never_hidden_at_the_front_or_the_back(members: list[bytes]) -> None:
    assert parse(b",".join([b"no-store", *members])).has(b"no-store")
    assert parse(*members, b"no-store").has(b"no-store")


@pytest.mark.parametrize("piece", [b'"\\', b'"', b'a="b",', b"a,", b'"\\"', b"=", b"\\", b'a="\\', b'","'])
def test_work_is_linear(piece: bytes) -> None:
    text = piece * (64 * 1024 // len(piece))
    began = time.process_time()

    parse(text)

    assert time.process_time() - began < 1.0
