"""The stored format: whatever was written comes back, and nothing else ever comes back."""

from __future__ import annotations

import struct
from inspect import signature
from math import inf, nan
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import (
    VALUES,
    Entry,
    LifetimeSource,
    Part,
    Position,
    Rule,
    StoredResponse,
    VaryRecord,
    packing,
)
from proxy.model.packing import LARGEST_SECONDS
from proxy.store.codec import KEY_BYTES, Garbage, decode, encode
from tests.support.entries import key_of, response, vary_record

KEY = key_of("a")
OTHER_KEY = key_of("b")
HEAD_BYTES = 30

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
SECONDS = st.floats(-LARGEST_SECONDS, LARGEST_SECONDS, exclude_min=True, exclude_max=True)
UNSIGNED = st.integers(0, 2**64 - 1)
RESPONSES = st.builds(
    StoredResponse.of,
    status=st.integers(100, 999),
    reason=st.binary(max_size=20),
    lines=st.binary(max_size=200),
    body=st.binary(max_size=200),
    route=st.text(max_size=20),
    host=st.binary(max_size=20),
    target=st.binary(max_size=50),
    born=st.none() | st.builds(Position, UNSIGNED, UNSIGNED, UNSIGNED, UNSIGNED),
    received_at=SECONDS,
    initial_age=SECONDS,
    lifetime=SECONDS,
    expires_at=SECONDS,
    source=st.sampled_from(LifetimeSource),
    refresh_age=st.none() | SECONDS,
    rules=st.integers(0, Rule.ALL),
    stale_while_revalidate=st.none() | SECONDS,
    stale_if_error=st.none() | SECONDS,
    etag=st.none() | st.binary(max_size=20),
    last_modified=st.none() | st.binary(max_size=20),
    tags=st.lists(st.binary(max_size=20), max_size=64).map(tuple),
    fetch_seconds=SECONDS,
    part=st.none() | st.builds(Part, UNSIGNED, UNSIGNED, UNSIGNED),
)
VARY_RECORDS = st.builds(
    VaryRecord,
    names=st.lists(st.binary(max_size=20), max_size=10).map(tuple),
    variants=st.lists(KEYS, max_size=64).map(tuple),
    expires_at=SECONDS,
    by_language=st.lists(st.tuples(KEYS, KEYS), max_size=8).map(tuple),
)

COMPLETE = response(
    source=LifetimeSource.ROUTE,
    refresh_age=50.0,
    rules=Rule.NO_CACHE,
    stale_while_revalidate=30.0,
    stale_if_error=3600.0,
    etag=b'"1"',
    last_modified=b"Fri, 15 Jan 2027 08:00:00 GMT",
    tags=(b"product:1",),
    fetch_seconds=0.02,
    part=Part(0, 3, 10),
)
"""Every field differs from its default."""


@given(key=KEYS, entry=RESPONSES | VARY_RECORDS)
def test_what_was_written_comes_back(key: bytes, entry: Entry) -> None:
    assert decode(key, encode(key, entry)) == entry


@given(key=KEYS, entry=RESPONSES | VARY_RECORDS)
def test_what_is_known_is_given_back_itself(key: bytes, entry: Entry) -> None:
    assert decode(key, encode(key, entry), entry) is entry


@given(entry=RESPONSES | VARY_RECORDS, other=RESPONSES | VARY_RECORDS)
def test_what_is_known_is_not_taken_for_another(entry: Entry, other: Entry) -> None:
    found = decode(KEY, encode(KEY, entry), other)

    assert found == entry
    assert (found is other) is (entry == other)


@pytest.mark.parametrize("entry", [response(etag=b'"1"', tags=(b"t",)), vary_record(OTHER_KEY)])
def test_no_byte_may_differ_from_what_is_known(entry: Entry) -> None:
    data = bytearray(encode(KEY, entry))
    for place in range(HEAD_BYTES - 17, len(data)):
        data[place] ^= 1

        assert decode(KEY, bytes(data), entry) is not entry, f"byte {place}"
        assert decode(KEY, bytes(data[: place + 1]), entry) is not entry
        assert decode(KEY, bytes(data) + b"\0", entry) is not entry

        data[place] ^= 1
    assert decode(OTHER_KEY, bytes(data), entry) is Garbage.KEY
    assert decode(KEY, bytes(data) + b"\0", entry) is Garbage.MALFORMED
    assert decode(KEY, b"\0" + bytes(data), entry) is Garbage.MAGIC


def test_values_keep_their_types() -> None:
    entry = decode(KEY, encode(KEY, response(rules=Rule.NO_CACHE | Rule.SHARED_MAX_AGE)))

    assert isinstance(entry, StoredResponse)
    assert (type(entry.born), type(entry.source), type(entry.rules)) == (Position, LifetimeSource, int)
    assert (type(entry.body), type(entry.lines), type(entry.route)) == (bytes, bytes, str)


@pytest.mark.parametrize("entry", [response(etag=b'"1"', tags=(b"t",)), vary_record(OTHER_KEY)])
def test_a_value_cut_anywhere_is_garbage(entry: Entry) -> None:
    data = encode(KEY, entry)

    causes = [decode(KEY, data[:length]) for length in range(len(data))]

    assert causes == [Garbage.MAGIC] + [Garbage.TRUNCATED] * (len(data) - 1)


@pytest.mark.parametrize("entry", [response(etag=b'"1"', tags=(b"t",)), vary_record(OTHER_KEY)])
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_value_with_one_byte_changed_is_garbage(entry: Entry, flip: int) -> None:
    data = bytearray(encode(KEY, entry))
    for place in range(len(data)):
        data[place] ^= flip

        assert isinstance(decode(KEY, bytes(data)), Garbage), f"byte {place}"

        data[place] ^= flip


@given(data=st.binary(max_size=300))
def test_foreign_bytes_are_garbage(data: bytes) -> None:
    assert isinstance(decode(KEY, data), Garbage)


@given(payload=st.binary(max_size=400), kind=st.integers(0, 255))
def test_a_right_checksum_does_not_make_a_payload_right(payload: bytes, kind: int) -> None:
    decoded = decode(KEY, sealed(payload, kind=kind))

    assert isinstance(decoded, VaryRecord | StoredResponse) or decoded is Garbage.MALFORMED


def sealed(payload: bytes, *, kind: int, key: bytes = KEY, version: int = 3) -> bytes:
    """A payload behind a head that fits it, as a faulty or foreign writer could send it."""
    content = struct.pack(">B16s", kind, key) + payload
    return struct.pack(">4sBII", b"SdcE", version, len(content), crc32(content)) + content


PACKED = packing.pack((0.0,) * 5, (None, None), None, (b"", b"", None, None), ())


def numbers(
    *,
    source: int = 0,
    rules: int = 0,
    expires_at: float = 0.0,
    route: bytes = b"",
    part: bytes = b"",
    packed: bytes = PACKED,
) -> bytes:
    """The payload of a response with one thing wrong."""
    lengths = (0, len(route), len(part), len(packed), 0, 0)
    return struct.pack(">HBBd6I", 200, source, rules, expires_at, *lengths) + route + part + packed


def test_the_sealed_payload_without_a_fault_is_read() -> None:
    assert isinstance(decode(KEY, sealed(numbers(), kind=1)), StoredResponse)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", Garbage.MAGIC),
        (b"\x80\x04pickled", Garbage.MAGIC),
        (b"Sdc", Garbage.TRUNCATED),
        (b"SdcE", Garbage.TRUNCATED),
        (sealed(numbers(), kind=1, version=4), Garbage.VERSION),
        (sealed(numbers(), kind=1, version=2), Garbage.VERSION),
        (sealed(numbers(), kind=1, key=OTHER_KEY), Garbage.KEY),
        (encode(OTHER_KEY, response()), Garbage.KEY),
        (sealed(numbers(), kind=0), Garbage.MALFORMED),
        (sealed(numbers(), kind=3), Garbage.MALFORMED),
        (sealed(numbers(), kind=1) + b"\0", Garbage.MALFORMED),
        (sealed(numbers() + b"\0", kind=1), Garbage.MALFORMED),
        (sealed(numbers(source=4), kind=1), Garbage.MALFORMED),
        (sealed(numbers(rules=Rule.ALL + 1), kind=1), Garbage.MALFORMED),
        (sealed(numbers(expires_at=nan), kind=1), Garbage.MALFORMED),
        (sealed(numbers(expires_at=inf), kind=1), Garbage.MALFORMED),
        (sealed(numbers(expires_at=1e308), kind=1), Garbage.MALFORMED),
        (sealed(numbers(part=bytes(23)), kind=1), Garbage.MALFORMED),
        (sealed(numbers(packed=PACKED[:-1]), kind=1), Garbage.MALFORMED),
        (sealed(numbers(packed=PACKED + b"\0"), kind=1), Garbage.MALFORMED),
        (sealed(numbers(route=b"\xff"), kind=1), Garbage.MALFORMED),
        (sealed(numbers()[:-1], kind=1), Garbage.MALFORMED),
        (sealed(struct.pack(">dHHH", nan, 0, 0, 0), kind=2), Garbage.MALFORMED),
        (sealed(struct.pack(">dHHH", inf, 0, 0, 0), kind=2), Garbage.MALFORMED),
        (sealed(struct.pack(">dHHH", -1e308, 0, 0, 0), kind=2), Garbage.MALFORMED),
        (sealed(struct.pack(">dHHHI", 0.0, 1, 0, 0, 2**32 - 1), kind=2), Garbage.MALFORMED),
        (sealed(b"", kind=2), Garbage.MALFORMED),
    ],
)
def test_the_cause_is_named(data: bytes, cause: Garbage) -> None:
    assert decode(KEY, data) is cause


def test_the_head_does_not_grow_unnoticed() -> None:
    assert len(encode(KEY, vary_record())) == HEAD_BYTES + struct.calcsize(">dHHHI") + len(b"accept-language")


def test_every_field_of_an_entry_has_its_place_in_the_format() -> None:
    """One that is added to the model must be added to the codec, with a new version."""
    assert VaryRecord.__struct_fields__ == ("names", "variants", "expires_at", "by_language")
    assert len(VALUES) == 22
    bare = response().values()
    defaults = {
        name: bare[name]
        for name, value in signature(StoredResponse.of).parameters.items()
        if value.default is not value.empty
    }
    assert len(defaults) == 10
    complete = decode(KEY, encode(KEY, COMPLETE))
    assert isinstance(complete, StoredResponse)
    assert all(getattr(complete, name) != default for name, default in defaults.items())


def test_a_key_of_another_length_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 3"):
        encode(b"abc", response())
