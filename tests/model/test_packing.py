"""What is packed comes out again, whatever is absent."""

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import packing

SECONDS = st.floats(allow_nan=False)
SOME_SECONDS = st.none() | SECONDS
TEXT = st.binary(max_size=20)
UINT64 = st.integers(0, 2**64 - 1)
PLACE = st.none() | st.tuples(UINT64, UINT64, UINT64, UINT64)


@given(
    st.tuples(SECONDS, SECONDS, SECONDS, SOME_SECONDS, SECONDS),
    st.tuples(SOME_SECONDS, SOME_SECONDS),
    PLACE,
    st.tuples(TEXT, TEXT, st.none() | TEXT, st.none() | TEXT),
    st.lists(TEXT, max_size=5),
)
def test_each_value_is_read_as_it_was_packed(
    seconds: tuple[float | None, ...],
    windows: tuple[float | None, float | None],
    place: tuple[int, int, int, int] | None,
    texts: tuple[bytes | None, ...],
    tags: list[bytes],
) -> None:
    packed = packing.pack(seconds, windows, place, [*texts, *tags])

    assert tuple(packing.known(packing.seconds_at(packed, number)) for number in range(5)) == seconds
    assert (packing.window(packed, 0), packing.window(packed, 1)) == windows
    assert packing.place_of(packed) == place
    assert tuple(packing.text(packed, number) for number in range(4)) == texts
    assert list(packing.tags(packed)) == tags
    for tag in (*texts, b"", b"other"):
        assert packing.has_etag(packed, tag or b"") is (texts[2] is not None and texts[2] == (tag or b""))
    assert packing.unpack_age(packed) == seconds[:2]


def test_an_entity_tag_is_not_where_another_text_is() -> None:
    seconds, windows = (1.0, 2.0, 3.0, None, 4.0), (None, None)
    packed = packing.pack(seconds, windows, None, (b"/a", b"shop", b"etag", b"date"))
    without = packing.pack(seconds, windows, None, (b"/a", b"shop", None, b"date"))

    assert [packing.has_etag(packed, tag) for tag in (b"etag", b"eta", b"etagd", b"", b"date")] == [
        True,
        *[False] * 4,
    ]
    assert not packing.has_etag(without, b"")


@pytest.mark.parametrize(("refresh_age", "is_none"), [(None, True), (0.0, False)])
def test_no_refresh_is_no_age_that_is_ever_reached(refresh_age: float | None, is_none: bool) -> None:
    packed = packing.pack((1.0, 2.0, 3.0, refresh_age, 4.0), (None, None), None, (b"", b"", None, None))

    *ages, found = packing.unpack_ages(packed)

    assert ages == [1.0, 2.0, 3.0]
    assert isnan(found) == is_none
    assert (found <= 1e300) != is_none
