"""Entries as bytes and back: the value that stands under one key in L2.

Owns the format and its version. Knows no Redis. Never pickle: the bytes come from a server that
others may write to, so `decode` answers any input with an entry or the cause why it is none.

    head     magic, version, kind, the key's digest, payload length, CRC-32 of kind, key and payload
    payload  numbers, lengths, then the texts one after another

A changed layout gets a new VERSION and a new KEY_FORMAT: old and new replicas run side by side.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import pairwise
from math import isfinite
from zlib import crc32

from proxy.model import Entry, LifetimeSource, Part, Position, Rule, StoredResponse, VaryRecord

KEY_FORMAT = "e2"
"""Part of every key in L2, so that a format never sees another one's values."""
KEY_BYTES = 16
VERSION = 2

_MAGIC = b"SdcE"
_RESPONSE, _VARY = 1, 2
_HEAD = struct.Struct(">4sBB16sII")
_SUMMED = struct.Struct(">B16s")
_NUMBERS = struct.Struct(">HBHB8d4Q3QH")
"""Status, source, rules, presence bits; eight doubles; the position; the part; how many tags."""
_VARY_NUMBERS = struct.Struct(">dHHH")
"""The end; how many names, variants and languages."""
_TEXTS = 8
"""Texts of a response before its tags."""
_ALL_RULES = Rule.ALL
_NO_POSITION = (0, 0, 0, 0)
_NO_PART = (0, 0, 0)

_HAS_BORN, _HAS_REFRESH, _HAS_WHILE_REVALIDATE, _HAS_IF_ERROR, _HAS_ETAG, _HAS_LAST_MODIFIED, _HAS_PART = (
    1 << bit for bit in range(7)
)
_ALL_PRESENT = (1 << 7) - 1


class Garbage(Enum):
    """Why a value is no entry of ours; the word is the metric's label."""

    MAGIC = "magic"
    VERSION = "version"
    KEY = "key"
    TRUNCATED = "truncated"
    CHECKSUM = "checksum"
    MALFORMED = "malformed"


def encode(key: bytes, entry: Entry) -> bytes:
    """The value that stands for `entry` under `key`, a digest of 16 bytes."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    if isinstance(entry, VaryRecord):
        kind, pieces = _VARY, _vary_pieces(entry)
    else:
        kind, pieces = _RESPONSE, _response_pieces(entry)
    length, checksum = 0, crc32(_SUMMED.pack(kind, key))
    for piece in pieces:
        length += len(piece)
        checksum = crc32(piece, checksum)
    return b"".join((_HEAD.pack(_MAGIC, VERSION, kind, key, length, checksum), *pieces))


def decode(key: bytes, data: bytes) -> Entry | Garbage:
    """The entry that `data` holds for `key`. Never raises; memory is bounded by the data's length."""
    fault = _head_fault(key, data)
    if fault is not None:
        return fault
    _, _, kind, digest, length, checksum = _HEAD.unpack_from(data)
    payload = memoryview(data)[_HEAD.size :]
    if len(payload) != length:
        return Garbage.TRUNCATED if len(payload) < length else Garbage.MALFORMED
    if crc32(payload, crc32(_SUMMED.pack(kind, digest))) != checksum:
        return Garbage.CHECKSUM
    return _decode_payload(kind, payload)


def _head_fault(key: bytes, data: bytes) -> Garbage | None:
    """What can be told without the payload."""
    if not data or not _MAGIC.startswith(data[: len(_MAGIC)]):
        return Garbage.MAGIC
    if len(data) < _HEAD.size:
        return Garbage.TRUNCATED
    _, version, _, digest, _, _ = _HEAD.unpack_from(data)
    if version != VERSION:
        return Garbage.VERSION
    return None if digest == key else Garbage.KEY


def _decode_payload(kind: int, payload: memoryview) -> Entry | Garbage:
    """The checksum is right: what is wrong here was written so, by a faulty or foreign writer."""
    read = _READERS.get(kind)
    try:
        return read(payload) if read else Garbage.MALFORMED
    except (struct.error, ValueError):
        return Garbage.MALFORMED


def _response_pieces(stored: StoredResponse) -> list[bytes]:
    route = stored.route.encode()
    texts = [stored.reason, stored.lines, stored.body, route, stored.host, stored.target]
    texts += [stored.etag or b"", stored.last_modified or b"", *stored.tags]
    numbers = _NUMBERS.pack(
        stored.status,
        stored.source,
        stored.rules,
        _present(stored),
        stored.received_at,
        stored.initial_age,
        stored.lifetime,
        stored.expires_at,
        stored.fetch_seconds,
        stored.refresh_age or 0.0,
        stored.stale_while_revalidate or 0.0,
        stored.stale_if_error or 0.0,
        *(stored.born or _NO_POSITION),
        *(stored.part or _NO_PART),
        len(stored.tags),
    )
    return [numbers, _lengths(texts), *texts]


def _present(stored: StoredResponse) -> int:
    """One bit for each value that is not None: 0.0 and b"" are values too."""
    optional = (
        (stored.born, _HAS_BORN),
        (stored.refresh_age, _HAS_REFRESH),
        (stored.stale_while_revalidate, _HAS_WHILE_REVALIDATE),
        (stored.stale_if_error, _HAS_IF_ERROR),
        (stored.etag, _HAS_ETAG),
        (stored.last_modified, _HAS_LAST_MODIFIED),
        (stored.part, _HAS_PART),
    )
    return sum(bit for value, bit in optional if value is not None)


def _read_response(payload: memoryview) -> StoredResponse:
    status, source, rules, present, *numbers = _NUMBERS.unpack_from(payload)
    (received_at, initial_age, lifetime, expires_at, fetch_seconds) = numbers[:5]
    (refresh_age, while_revalidate, if_error), born, part = numbers[5:8], numbers[8:12], numbers[12:15]
    tag_count = numbers[15]
    _refuse(not all(map(isfinite, numbers[:8])), "not a number of seconds")
    _refuse(bool(rules & ~_ALL_RULES or present & ~_ALL_PRESENT), "unknown bits")
    reason, lines, body, route, host, target, etag, last_modified, *tags = _texts(
        payload[_NUMBERS.size :], _TEXTS + tag_count
    )
    return StoredResponse(
        status=status,
        reason=reason,
        lines=lines,
        body=body,
        route=route.decode(),
        host=host,
        target=target,
        born=Position(*born) if present & _HAS_BORN else None,
        received_at=received_at,
        initial_age=initial_age,
        lifetime=lifetime,
        expires_at=expires_at,
        source=LifetimeSource(source),
        refresh_age=refresh_age if present & _HAS_REFRESH else None,
        rules=rules,
        stale_while_revalidate=while_revalidate if present & _HAS_WHILE_REVALIDATE else None,
        stale_if_error=if_error if present & _HAS_IF_ERROR else None,
        etag=etag if present & _HAS_ETAG else None,
        last_modified=last_modified if present & _HAS_LAST_MODIFIED else None,
        tags=tuple(tags),
        fetch_seconds=fetch_seconds,
        part=Part(*part) if present & _HAS_PART else None,
    )


def _vary_pieces(record: VaryRecord) -> list[bytes]:
    languages = [key for pair in record.by_language for key in pair]
    counts = (len(record.names), len(record.variants), len(record.by_language))
    numbers = _VARY_NUMBERS.pack(record.expires_at, *counts)
    texts = (*record.names, *record.variants, *languages)
    return [numbers, _lengths(texts), *texts]


def _read_vary(payload: memoryview) -> VaryRecord:
    expires_at, name_count, variant_count, language_count = _VARY_NUMBERS.unpack_from(payload)
    _refuse(not isfinite(expires_at), "not a number of seconds")
    others = name_count + variant_count
    texts = _texts(payload[_VARY_NUMBERS.size :], others + 2 * language_count)
    languages = zip(texts[others::2], texts[others + 1 :: 2], strict=True)
    names, variants = tuple(texts[:name_count]), tuple(texts[name_count:others])
    return VaryRecord(names, variants, expires_at, tuple(languages))


def _lengths(texts: list[bytes] | tuple[bytes, ...]) -> bytes:
    return struct.pack(f">{len(texts)}I", *map(len, texts))


def _texts(payload: memoryview, count: int) -> list[bytes]:
    """So many texts, behind their lengths, that fill the payload exactly. Raises ValueError, struct.error."""
    offsets = list(_offsets(struct.unpack_from(f">{count}I", payload), start=4 * count))
    _refuse(offsets[-1] != len(payload), "the lengths do not fill the payload")
    return [bytes(payload[start:end]) for start, end in pairwise(offsets)]


def _offsets(lengths: tuple[int, ...], *, start: int) -> Iterator[int]:
    yield start
    for length in lengths:
        start += length
        yield start


def _refuse(is_wrong: bool, fault: str) -> None:
    if is_wrong:
        raise ValueError(fault)


_READERS: dict[int, Callable[[memoryview], Entry]] = {_RESPONSE: _read_response, _VARY: _read_vary}
