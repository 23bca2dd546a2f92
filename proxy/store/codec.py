"""Entries as bytes and back: the value that stands under one key in L2.

Owns the format and its version. Knows no Redis. Never pickle: the bytes come from a server that
others may write to, so `decode` answers any input with an entry or the cause why it is none.

    head     magic, version, kind, the key's digest, payload length, CRC-32 of kind, key and payload
    payload  numbers, lengths, then the texts one after another

A changed layout gets a new VERSION and a new KEY_FORMAT: old and new replicas run side by side.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import Enum
from math import isfinite
from sys import intern
from typing import Any
from zlib import crc32

from proxy.model import Entry, LifetimeSource, Part, Position, Rule, StoredResponse, VaryRecord

KEY_FORMAT = "e2"
"""Part of every key in L2, so that a format never sees another one's values."""
KEY_BYTES = 16
VERSION = 2

_MAGIC = b"SdcE"
_RESPONSE, _VARY = 1, 2
_HEAD = struct.Struct(">4sB17sII")
"""Kind and key are one text: the checksum begins with both."""
_KIND = 5
"""Where the kind stands."""
_NUMBERS = struct.Struct(">HBHB8d4Q3QH8I")
"""Status, source, rules, presence bits; eight doubles; the position; the part; how many tags; the lengths of
the texts before the tags."""
_VARY_NUMBERS = struct.Struct(">dHHH")
"""The end; how many names, variants and languages."""
_SOURCES = tuple(LifetimeSource)
"""By number: a call of the class would cost a microsecond of every answer from L2."""
_ALL_RULES = Rule.ALL
_NO_POSITION = (0, 0, 0, 0)
_NO_PART = (0, 0, 0)

_HAS_BORN, _HAS_REFRESH, _HAS_WHILE_REVALIDATE, _HAS_IF_ERROR, _HAS_ETAG, _HAS_LAST_MODIFIED, _HAS_PART = (
    1 << bit for bit in range(7)
)
_ALL_PRESENT = (1 << 7) - 1
_OPTIONAL = (
    ("born", _HAS_BORN),
    ("refresh_age", _HAS_REFRESH),
    ("stale_while_revalidate", _HAS_WHILE_REVALIDATE),
    ("stale_if_error", _HAS_IF_ERROR),
    ("etag", _HAS_ETAG),
    ("last_modified", _HAS_LAST_MODIFIED),
    ("part", _HAS_PART),
)


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
    named = bytes((kind,)) + key
    length, checksum = 0, crc32(named)
    for piece in pieces:
        length += len(piece)
        checksum = crc32(piece, checksum)
    return b"".join((_HEAD.pack(_MAGIC, VERSION, named, length, checksum), *pieces))


def decode(key: bytes, data: bytes) -> Entry | Garbage:
    """The entry that `data` holds for `key`. Never raises; memory is bounded by the data's length."""
    fault = _fault(key, data)
    if fault is not None:
        return fault
    read = _READERS.get(data[_KIND])
    try:
        return read(data) if read else Garbage.MALFORMED
    except (struct.error, ValueError):
        # The checksum is right: what is wrong was written so, by a faulty or foreign writer.
        return Garbage.MALFORMED


def _fault(key: bytes, data: bytes) -> Garbage | None:
    """What can be told without reading the payload."""
    if not data or not _MAGIC.startswith(data[: len(_MAGIC)]):
        return Garbage.MAGIC
    if len(data) < _HEAD.size:
        return Garbage.TRUNCATED
    _, version, named, length, checksum = _HEAD.unpack_from(data)
    if version != VERSION:
        return Garbage.VERSION
    if named[1:] != key:
        return Garbage.KEY
    missing = length - (len(data) - _HEAD.size)
    if missing:
        return Garbage.TRUNCATED if missing > 0 else Garbage.MALFORMED
    # A view: the payload may be large, and is copied text by text later.
    is_intact = crc32(memoryview(data)[_HEAD.size :], crc32(named)) == checksum
    return None if is_intact else Garbage.CHECKSUM


def _response_pieces(stored: StoredResponse) -> list[bytes]:
    value = stored.values()
    texts = [stored.reason, stored.lines, stored.body, stored.route.encode()]
    texts += [value["host"], value["target"], value["etag"] or b"", value["last_modified"] or b""]
    tags = value["tags"]
    numbers = _NUMBERS.pack(
        stored.status,
        stored.source,
        stored.rules,
        _present(value),
        value["received_at"],
        value["initial_age"],
        value["lifetime"],
        value["expires_at"],
        value["fetch_seconds"],
        value["refresh_age"] or 0.0,
        value["stale_while_revalidate"] or 0.0,
        value["stale_if_error"] or 0.0,
        *(value["born"] or _NO_POSITION),
        *(value["part"] or _NO_PART),
        len(tags),
        *map(len, texts),
    )
    return [numbers, _lengths(tags), *texts, *tags]


def _present(value: dict[str, Any]) -> int:
    """One bit for each value that is not None: 0.0 and b"" are values too."""
    return sum(bit for name, bit in _OPTIONAL if value[name] is not None)


def _read_response(data: bytes) -> StoredResponse:
    numbers = _NUMBERS.unpack_from(data, _HEAD.size)
    status, source, rules, present, *seconds = numbers[:12]
    received_at, initial_age, lifetime, expires_at, fetch_seconds, refresh_age, revalidate, if_error = seconds
    _refuse(not all(map(isfinite, seconds)), "not a number of seconds")
    is_known = source < len(_SOURCES) and rules <= _ALL_RULES and present <= _ALL_PRESENT
    _refuse(not is_known, "unknown bits")
    reason, lines, body, route, host, target, etag, last_modified, *tags = _texts(
        data, _HEAD.size + _NUMBERS.size, numbers[19], before=numbers[20:]
    )
    return StoredResponse.of(
        status=status,
        reason=reason,
        lines=lines,
        body=body,
        route=intern(route.decode()),
        host=host,
        target=target,
        born=Position(*numbers[12:16]) if present & _HAS_BORN else None,
        received_at=received_at,
        initial_age=initial_age,
        lifetime=lifetime,
        expires_at=expires_at,
        source=_SOURCES[source],
        refresh_age=refresh_age if present & _HAS_REFRESH else None,
        rules=rules,
        stale_while_revalidate=revalidate if present & _HAS_WHILE_REVALIDATE else None,
        stale_if_error=if_error if present & _HAS_IF_ERROR else None,
        etag=etag if present & _HAS_ETAG else None,
        last_modified=last_modified if present & _HAS_LAST_MODIFIED else None,
        tags=tuple(tags),
        fetch_seconds=fetch_seconds,
        part=Part(*numbers[16:19]) if present & _HAS_PART else None,
    )


def _vary_pieces(record: VaryRecord) -> list[bytes]:
    languages = [key for pair in record.by_language for key in pair]
    counts = (len(record.names), len(record.variants), len(record.by_language))
    numbers = _VARY_NUMBERS.pack(record.expires_at, *counts)
    texts = (*record.names, *record.variants, *languages)
    return [numbers, _lengths(texts), *texts]


def _read_vary(data: bytes) -> VaryRecord:
    expires_at, name_count, variant_count, language_count = _VARY_NUMBERS.unpack_from(data, _HEAD.size)
    _refuse(not isfinite(expires_at), "not a number of seconds")
    others = name_count + variant_count
    texts = _texts(data, _HEAD.size + _VARY_NUMBERS.size, others + 2 * language_count)
    languages = zip(texts[others::2], texts[others + 1 :: 2], strict=True)
    names, variants = tuple(texts[:name_count]), tuple(texts[name_count:others])
    return VaryRecord(names, variants, expires_at, tuple(languages))


def _lengths(texts: Sequence[bytes]) -> bytes:
    return struct.pack(f">{len(texts)}I", *map(len, texts))


def _texts(data: bytes, start: int, count: int, *, before: Sequence[int] = ()) -> list[bytes]:
    """All texts: those whose lengths are known `before`, and `count` whose lengths stand at `start`.

    They fill the rest of `data` exactly. Raises ValueError, struct.error.
    """
    lengths = (*before, *struct.unpack_from(f">{count}I", data, start)) if count else before
    start += 4 * count
    texts = []
    for length in lengths:
        texts.append(data[start : start + length])
        start += length
    _refuse(start != len(data), "the lengths do not fill the payload")
    return texts


def _refuse(is_wrong: bool, fault: str) -> None:
    if is_wrong:
        raise ValueError(fault)


_READERS: dict[int, Callable[[bytes], Entry]] = {_RESPONSE: _read_response, _VARY: _read_vary}
