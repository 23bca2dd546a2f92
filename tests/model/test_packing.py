"""What is packed comes out again, whatever is absent."""

import struct
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import packing

SECONDS = st.floats(-packing.LARGEST_SECONDS, packing.LARGEST_SECONDS, exclude_min=True, exclude_max=True)
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
    seconds: tuple[float, float, float, float | None, float],
    windows: tuple[float | None, float | None],
    place: tuple[int, int, int, int] | None,
    texts: tuple[bytes, bytes, bytes | None, bytes | None],
    tags: list[bytes],
) -> None:
    packed = packing.pack(seconds, windows, place, texts, tuple(tags))

    assert tuple(packing.known(packing.seconds_at(packed, number)) for number in range(5)) == seconds
    assert (packing.window(packed, 0), packing.window(packed, 1)) == windows
    assert packing.place_of(packed) == place
    assert tuple(packing.text(packed, number) for number in range(4)) == texts
    assert list(packing.tags(packed)) == tags
    for tag in (*texts, b"", b"other"):
        assert packing.has_etag(packed, tag or b"") is (texts[2] is not None and texts[2] == (tag or b""))
    assert packing.unpack_age(packed) == seconds[:2]
    assert packing.is_sound(packed)


def test_an_entity_tag_is_not_where_another_text_is() -> None:
    seconds, windows = (1.0, 2.0, 3.0, None, 4.0), (None, None)
    packed = packing.pack(seconds, windows, None, (b"/a", b"shop", b"etag", b"date"), ())
    without = packing.pack(seconds, windows, None, (b"/a", b"shop", None, b"date"), ())

    assert [packing.has_etag(packed, tag) for tag in (b"etag", b"eta", b"etagd", b"", b"date")] == [
        True,
        *[False] * 4,
    ]
    assert not packing.has_etag(without, b"")


@pytest.mark.parametrize(("refresh_age", "is_none"), [(None, True), (0.0, False)])
def test_no_refresh_is_no_age_that_is_ever_reached(refresh_age: float | None, is_none: bool) -> None:
    packed = packing.pack((1.0, 2.0, 3.0, refresh_age, 4.0), (None, None), None, (b"", b"", None, None), ())

    *ages, found = packing.unpack_ages(packed)

    assert ages == [1.0, 2.0, 3.0]
    assert isnan(found) == is_none
    assert (found <= 1e300) != is_none


def tagged(**changes: object) -> bytes:
    """With all that can be there."""
    given: dict[str, object] = {"seconds": (1.0, 2.0, 3.0, 4.0, 5.0), "windows": (6.0, None)} | changes
    texts = (b"/a", b"shop", b"etag", b"date")
    tags = (b"one", b"another")
    return packing.pack(given["seconds"], given["windows"], (1, 2, 3, 4), texts, tags)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_what_is_sound_can_be_read(data: bytes) -> None:
    read_all(packing.pack((0.0,) * 5, (None, None), None, (b"", b"", None, None), ())[:77] + data)


@given(st.integers(0, len(tagged()) - 1), st.binary(min_size=1, max_size=4))
def test_what_is_sound_can_be_read_whatever_was_changed(place: int, piece: bytes) -> None:
    read_all(tagged()[:place] + piece + tagged()[place + len(piece) :])


def read_all(packed: bytes) -> None:
    """Nothing is raised, nothing read that lies outside."""
    if not packing.is_sound(packed):
        return
    read = packing.unpack(packed)
    tags = list(packing.tags(packed))
    windows = [packing.window(packed, number) for number in range(2)]
    numbers = (read.received_at, read.initial_age, read.lifetime, read.fetch_seconds)
    texts = [packing.text(packed, number) or b"" for number in range(4)]

    assert sum(map(len, (*texts, *tags))) <= len(packed)
    assert not any(isnan(seconds) for seconds in numbers)
    seconds = (*numbers, read.refresh_age or 0.0, *(each or 0.0 for each in windows))
    assert max(map(abs, seconds)) < packing.LARGEST_SECONDS


@pytest.mark.parametrize("length", range(len(tagged())))
def test_what_is_cut_is_not_sound(length: int) -> None:
    assert packing.is_sound(tagged())
    assert not packing.is_sound(tagged()[:length])
    assert not packing.is_sound(tagged() + b"\0")


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("number", [nan, inf, -inf, 1e308, -1e15, packing.LARGEST_SECONDS])
def test_seconds_that_no_clock_shows_are_not_sound(place: int, number: float) -> None:
    """An age without end cannot be written into a head: the hit would be an error."""
    packed = bytearray(tagged())
    struct.pack_into("<d", packed, 8 * place, number)

    assert packing.is_sound(bytes(packed)) is (place == packing.REFRESH_AGE and isnan(number))


@pytest.mark.parametrize("windows", [(inf, None), (None, inf), (None, -inf), (1e308, 1.0)])
def test_windows_without_end_are_not_sound(windows: tuple[float | None, float | None]) -> None:
    assert packing.is_sound(tagged(windows=(None, 1.0)))
    assert not packing.is_sound(tagged(windows=windows))


def test_unknown_bits_are_not_sound() -> None:
    packed = bytearray(tagged())
    packed[72] |= 16

    assert not packing.is_sound(bytes(packed))


BARE = packing.pack((1.0, 2.0, 3.0, None, 4.0), (None, None), None, (b"", b"", None, None), ())


@pytest.mark.parametrize(("place", "value"), [(72, 8), (len(BARE) - 2, 1)])
def test_windows_or_tags_that_are_announced_but_not_there_are_not_sound(place: int, value: int) -> None:
    packed = bytearray(BARE)
    packed[place] |= value

    assert packing.is_sound(BARE)
    assert not packing.is_sound(bytes(packed))
