"""The values of a stored response that no hit reads as objects, as one run of bytes.

    numbers  five instants and durations, the place of birth, presence bits, lengths and count of the texts
    texts    target, host, etag, last_modified, then the tags
    tail     lengths of the tags; the response's own two windows, where it has one

L1 and L2 hold the same bytes: what changes here changes the format of L2 (`proxy/store/codec.py`). Reading
one value costs about 0.1 µs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from math import nan
from typing import NamedTuple

LARGEST_SECONDS = 1e15
"""Beyond any clock, and any sum of what fields may state (2**31 each)."""
RECEIVED_AT, INITIAL_AGE, LIFETIME, REFRESH_AGE, FETCH_SECONDS = range(5)
TARGET, HOST, ETAG, LAST_MODIFIED = range(4)
"""The numbers and texts, in their order."""

_NUMBERS = struct.Struct("<5d4QB4IH")
"""Seconds (NaN: none); the place of birth; presence bits; lengths of the texts, how many tags."""
_LENGTHS = struct.Struct("<4I")
_LENGTHS_AT = struct.calcsize("<5d4QB")
_COUNT_AT = struct.calcsize("<5d4QB4I")
_PLACE = struct.Struct("<4Q")
_PLACE_AT = struct.calcsize("<5d")
_BITS_AT = struct.calcsize("<5d4Q")
_DOUBLE = struct.Struct("<d")
_WINDOWS = struct.Struct("<2d")
_HAS_PLACE, _HAS_ETAG, _HAS_LAST_MODIFIED, _HAS_WINDOWS = 1, 2, 4, 8
_NO_BITS, _ALL_BITS = 0, 15
_NO_WINDOWS = (None, None)
_TEXT_BITS = {ETAG: _HAS_ETAG, LAST_MODIFIED: _HAS_LAST_MODIFIED}
_NOWHERE = (0, 0, 0, 0)

unpack_age = struct.Struct("<2d").unpack_from
"""When it was received, and its age then."""
unpack_ages = struct.Struct("<4d").unpack_from
"""The same, its lifetime and the age of its refresh (NaN: none)."""


def pack(
    seconds: tuple[float, float, float, float | None, float],
    windows: tuple[float | None, float | None],
    place: tuple[int, int, int, int] | None,
    texts: tuple[bytes, bytes, bytes | None, bytes | None],
    tags: tuple[bytes, ...],
) -> bytes:
    """Five numbers of seconds, the response's own windows, where it was born, four texts and the tags."""
    received_at, initial_age, lifetime, refresh_age, fetch_seconds = seconds
    target, host, etag, last_modified = texts
    number, ms, seq, nonce = place or _NOWHERE
    bits = _NO_BITS if windows == _NO_WINDOWS else _HAS_WINDOWS
    if place is not None:
        bits |= _HAS_PLACE
    if etag is not None:
        bits |= _HAS_ETAG
    if last_modified is not None:
        bits |= _HAS_LAST_MODIFIED
    etag, last_modified = etag or b"", last_modified or b""
    numbers = _NUMBERS.pack(
        # -0.0 is 0.0: packed bytes are compared.
        received_at + 0.0,
        initial_age + 0.0,
        lifetime + 0.0,
        nan if refresh_age is None else refresh_age + 0.0,
        fetch_seconds + 0.0,
        number,
        ms,
        seq,
        nonce,
        bits,
        len(target),
        len(host),
        len(etag),
        len(last_modified),
        len(tags),
    )
    tail = _format_of(len(tags)).pack(*map(len, tags)) if tags else b""
    if bits & _HAS_WINDOWS:
        tail += _WINDOWS.pack(*map(_or_nan, windows))
    return b"".join([numbers, target, host, etag, last_modified, *tags, tail])


class Unpacked(NamedTuple):
    """All that was packed."""

    received_at: float
    initial_age: float
    lifetime: float
    refresh_age: float | None
    fetch_seconds: float
    place: tuple[int, ...] | None
    target: bytes
    host: bytes
    etag: bytes | None
    last_modified: bytes | None


def unpack(packed: bytes) -> Unpacked:
    """All but the tags and windows, in a third of the time that they take one by one."""
    numbers = _NUMBERS.unpack_from(packed)
    bits = numbers[9]
    host_at = _NUMBERS.size + numbers[10]
    etag_at = host_at + numbers[11]
    last_modified_at = etag_at + numbers[12]
    return Unpacked(
        numbers[0],
        numbers[1],
        numbers[2],
        known(numbers[3]),
        numbers[4],
        numbers[5:9] if bits & _HAS_PLACE else None,
        packed[_NUMBERS.size : host_at],
        packed[host_at:etag_at],
        packed[etag_at:last_modified_at] if bits & _HAS_ETAG else None,
        packed[last_modified_at : last_modified_at + numbers[13]] if bits & _HAS_LAST_MODIFIED else None,
    )


def is_sound(packed: bytes) -> bool:
    """Can each value be read, and is each one that we may write? Asked of what comes from elsewhere."""
    if len(packed) < _NUMBERS.size:
        return False
    numbers = _NUMBERS.unpack_from(packed)
    received_at, initial_age, lifetime, refresh_age, fetch_seconds = numbers[:5]
    bits: int = numbers[9]
    count: int = numbers[14]
    # NaN is not less than anything; of `refresh_age` it is a value.
    if not (
        abs(received_at) < LARGEST_SECONDS
        and abs(initial_age) < LARGEST_SECONDS
        and abs(lifetime) < LARGEST_SECONDS
        and abs(fetch_seconds) < LARGEST_SECONDS
    ):
        return False
    if abs(refresh_age) >= LARGEST_SECONDS or bits > _ALL_BITS:
        return False
    texts_end = _NUMBERS.size + numbers[10] + numbers[11] + numbers[12] + numbers[13]
    if texts_end == len(packed):  # most have neither tags nor windows
        return count == 0 and bits < _HAS_WINDOWS
    return _is_tail_sound(packed, texts_end)


def _is_tail_sound(packed: bytes, texts_end: int) -> bool:
    """Do tags, their lengths and the windows fill the rest exactly?"""
    end = len(packed)
    if packed[_BITS_AT] & _HAS_WINDOWS:
        end -= _WINDOWS.size
        if any(abs(seconds) >= LARGEST_SECONDS for seconds in _WINDOWS.unpack_from(packed, end)):
            return False
    form = _format_of(int.from_bytes(packed[_COUNT_AT : _NUMBERS.size], "little"))
    lengths_at = end - form.size
    return lengths_at >= texts_end and texts_end + sum(form.unpack_from(packed, lengths_at)) == lengths_at


def seconds_at(packed: bytes, number: int) -> float:
    """One of the five numbers."""
    (seconds,) = _DOUBLE.unpack_from(packed, number * _DOUBLE.size)
    return float(seconds)


def known(seconds: float) -> float | None:
    """NaN stands for None."""
    return seconds if seconds == seconds else None  # noqa: PLR0124 - cheaper than isnan


def window(packed: bytes, number: int) -> float | None:
    """One of the response's own two windows; they stand at the end, if any is there."""
    if not packed[_BITS_AT] & _HAS_WINDOWS:
        return None
    return known(_WINDOWS.unpack_from(packed, len(packed) - _WINDOWS.size)[number])


def place_of(packed: bytes) -> tuple[int, ...] | None:
    """The place of birth."""
    return _PLACE.unpack_from(packed, _PLACE_AT) if packed[_BITS_AT] & _HAS_PLACE else None


def text(packed: bytes, number: int) -> bytes | None:
    """One of the four texts; None where it is absent."""
    bit = _TEXT_BITS.get(number)
    if bit is not None and not packed[_BITS_AT] & bit:
        return None
    lengths = _LENGTHS.unpack_from(packed, _LENGTHS_AT)
    start = _NUMBERS.size + sum(lengths[:number])
    return packed[start : start + lengths[number]]


def has_etag(packed: bytes, tag: bytes) -> bool:
    """Is the text ETAG there, and this? A fifth of the time that it takes to read it."""
    target, host, etag, _ = _LENGTHS.unpack_from(packed, _LENGTHS_AT)
    is_present = packed[_BITS_AT] & _HAS_ETAG
    return bool(is_present) and etag == len(tag) and packed.startswith(tag, _NUMBERS.size + target + host)


def tags(packed: bytes) -> Iterator[bytes]:
    """The texts behind the four."""
    count = int.from_bytes(packed[_COUNT_AT : _NUMBERS.size], "little")
    if not count:
        return
    end = len(packed) - (_WINDOWS.size if packed[_BITS_AT] & _HAS_WINDOWS else 0)
    form = _format_of(count)
    start = _NUMBERS.size + sum(_LENGTHS.unpack_from(packed, _LENGTHS_AT))
    for length in form.unpack_from(packed, end - form.size):
        yield packed[start : start + length]
        start += length


# Nearly all entries have few tags.
@lru_cache(maxsize=64)
def _format_of(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


def _or_nan(seconds: float | None) -> float:
    return nan if seconds is None else seconds + 0.0  # -0.0 is 0.0: packed bytes are compared
