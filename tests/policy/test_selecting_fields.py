"""Values of selecting fields that mean the same are the same; which language a request wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields
from proxy.policy.selecting_fields import language_of, normalised_value, wanted_language

NORMALISED = [
    (b"accept-encoding", [], None),
    (b"accept-encoding", [b""], b""),
    (b"accept-encoding", [b" , "], b""),
    (b"accept-encoding", [b"gzip"], b"gzip"),
    (b"accept-encoding", [b"GZip;Q=1.000,br"], b"br, gzip"),
    (b"accept-encoding", [b"gzip, deflate, br"], b"br, deflate, gzip"),
    (b"accept-encoding", [b"br,gzip", b"deflate"], b"br, deflate, gzip"),
    (b"accept-encoding", [b"gzip,gzip"], b"gzip"),
    (b"accept-encoding", [b"gzip;q=0.5, br;q=0.8, zstd"], b"zstd, br;q=0.800, gzip;q=0.500"),
    (b"accept-encoding", [b"gzip ; q=0.25 , *;q=0"], b"gzip;q=0.250, *;q=0.000"),
    (b"accept-encoding", [b"gzip;q=0."], b"gzip;q=0.000"),
    (b"accept-encoding", [b"gzip;q=1."], b"gzip"),
    (b"accept-encoding", [b"gzip;q=2, br;q=0.1234, a;q=x"], b"a;q=x, br;q=0.1234, gzip;q=2"),
    (b"accept-encoding", [b"gzip;level=1;q=0.5"], b"gzip;level=1;q=0.5"),
    (b"accept-language", [b"de-AT, de;q=0.9,en;q=0.9"], b"de-at, de;q=0.900, en;q=0.900"),
    (b"accept-language", [b"en;q=0.9, de;q=0.900 ,de-at"], b"de-at, de;q=0.900, en;q=0.900"),
    (b"x-a", [], None),
    (b"x-a", [b""], b""),
    (b"x-a", [b" A,b;Q=1\t"], b"A, b;Q=1"),
    (b"x-a", [b"1,2"], b"1, 2"),
    (b"x-a", [b" 1\t , 2 "], b"1, 2"),  # vary-normalise-space
    (b"x-a", [b"1 2,3"], b"1 2, 3"),
    (b"x-a", [b'"1,2",3'], b'"1,2", 3'),
    (b"x-a", [b'"1\\",2",3'], b'"1\\",2", 3'),
    (b"x-a", [b'1,"2,3'], b'1,"2,3'),
    (b"x-a", [b"b ", b" a"], b"b, a"),
    (b"cookie", [b"a=1", b"b=2"], b"a=1; b=2"),
]


@pytest.mark.parametrize(("name", "values", "expected"), NORMALISED)
def test_values_are_normalised_as_their_field_allows(
    name: bytes, values: list[bytes], expected: bytes | None
) -> None:
    assert normalised_value(name, values) == expected


@pytest.mark.parametrize("name", [b"accept-language", b"x-a"])
@given(values=st.lists(st.binary(max_size=12) | st.from_regex(rb'\A[a1 ,"]*\Z'), max_size=3))
def test_normalising_twice_changes_nothing(name: bytes, values: list[bytes]) -> None:
    once = normalised_value(name, values)

    assert once is None or normalised_value(name, [once]) == once


WANTED: list[tuple[list[bytes], bytes | None]] = [
    ([b"de"], b"de"),
    ([b"de-AT"], b"de-at"),
    ([b"fr;q=0.5, de;q=1.0"], b"de"),
    ([b"fr;q=0.5", b"de;q=0.6"], b"de"),
    ([b"en, de"], None),
    ([b"en;q=0.5, de;q=0.5, fr;q=0.4"], None),
    ([b"*"], None),
    ([b"de;q=0"], None),
    ([b"de;q=2"], None),
    ([b" , "], None),
    ([], None),
]


@pytest.mark.parametrize(("values", "language"), WANTED)
def test_the_language_wanted_most(values: list[bytes], language: bytes | None) -> None:
    assert wanted_language(values) == language


@pytest.mark.parametrize(
    ("values", "language"),
    [
        ([b"de"], b"de"),
        ([b" de-AT "], b"de-at"),
        ([b"de, en"], None),
        ([b"de", b"de"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_the_language_of_a_response(values: list[bytes], language: bytes | None) -> None:
    assert language_of(Fields((b"Content-Language", value) for value in values)) == language
