"""Entries as bytes and back: the value that stands under one key in L2.

Owns the format and its version. Knows no Redis. Never pickle: the bytes come from a server that
others may write to, so `decode` answers any input with an entry or the cause why it is none.

    seal      magic, version, the content's length and CRC-32
    content   kind, the key's digest, numbers and lengths, then the texts one after another

A response's values that no hit reads lie there as L1 has them (`proxy/model/packing.py`): a changed layout,
here or there, gets a new VERSION and a new KEY_FORMAT, for old and new replicas run side by side.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from zlib import crc32

from proxy.model import Entry, LifetimeSource, Part, Rule, StoredResponse, VaryRecord, packing

KEY_FORMAT = "e3"
"""Part of every key in L2, so that a format never sees another one's values."""
KEY_BYTES = 16
VERSION = 3

_MAGIC = b"SdcE"
_RESPONSE, _VARY = 1, 2
_SEAL = struct.Struct(">4sBII")
_NAMED = struct.Struct(">B16s")
"""Kind and key."""
_KIND_AT = _SEAL.size
_NUMBERS_AT = _SEAL.size + _NAMED.size
_NUMBERS = struct.Struct(">HBBd6I")
"""Status, source, rules, the instant until which it is kept; the lengths of the texts."""
_PART = struct.Struct(">3Q")
"""The text of a part; that of a whole response is empty."""
_VARY_NUMBERS = struct.Struct(">dHHH")
"""The end; how many names, variants and languages."""
_SOURCES = tuple(LifetimeSource)
"""By number: a call of the class would cost a microsecond of every answer from L2."""


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
    content = _content(key, entry)
    return _SEAL.pack(_MAGIC, VERSION, len(content), crc32(content)) + content


def decode(key: bytes, data: bytes, known: Entry | None = None) -> Entry | Garbage:
    """The entry that `data` holds for `key`; `known` itself, where it is that one.

    Never raises; memory is bounded by the length of `data` and `known`.
    """
    if known is not None and _is_value_of(key, known, data):
        return known
    fault = _fault(key, data)
    if fault is not None:
        return fault
    read = _READERS.get(data[_KIND_AT])
    try:
        return read(data) if read else Garbage.MALFORMED
    except (struct.error, ValueError):
        # The checksum is right: what is wrong was written so, by a faulty or foreign writer.
        return Garbage.MALFORMED


def _content(key: bytes, entry: Entry) -> bytes:
    if isinstance(entry, VaryRecord):
        return b"".join((_NAMED.pack(_VARY, key), *_vary_pieces(entry)))
    return b"".join((_NAMED.pack(_RESPONSE, key), *_response_pieces(entry)))


def _is_value_of(key: bytes, entry: Entry, data: bytes) -> bool:
    """All of the content is compared: a checksum would cost more and tell less."""
    content = _content(key, entry)
    return len(data) == _SEAL.size + len(content) and data.endswith(content)


def _fault(key: bytes, data: bytes) -> Garbage | None:
    """What can be told without reading the entry."""
    if not data or not _MAGIC.startswith(data[: len(_MAGIC)]):
        return Garbage.MAGIC
    if len(data) < _NUMBERS_AT:
        return Garbage.TRUNCATED
    _, version, length, checksum = _SEAL.unpack_from(data)
    if version != VERSION:
        return Garbage.VERSION
    if not data.startswith(key, _KIND_AT + 1):
        return Garbage.KEY
    missing = length - (len(data) - _SEAL.size)
    if missing:
        return Garbage.TRUNCATED if missing > 0 else Garbage.MALFORMED
    # A view: the content may be large, and is copied text by text later.
    return None if crc32(memoryview(data)[_SEAL.size :]) == checksum else Garbage.CHECKSUM


def _response_pieces(stored: StoredResponse) -> list[bytes]:
    part = b"" if stored.part is None else _PART.pack(*stored.part)
    texts = [stored.reason, stored.route.encode(), part, stored.packed, stored.lines, stored.body]
    lengths = map(len, texts)
    return [_NUMBERS.pack(stored.status, stored.source, stored.rules, stored.expires_at, *lengths), *texts]


def _read_response(data: bytes) -> StoredResponse:
    status, source, rules, expires_at, *lengths = _NUMBERS.unpack_from(data, _NUMBERS_AT)
    reason, route, part, packed, lines, body = _texts(data, _NUMBERS_AT + _NUMBERS.size, lengths)
    if not (abs(expires_at) < packing.LARGEST_SECONDS and source < len(_SOURCES) and rules <= Rule.ALL):
        raise ValueError("an end or bits that we do not write")
    if not packing.is_sound(packed):
        raise ValueError("not packed by us")
    shared_reason, name = _words(reason, route)
    shown = Part(*_PART.unpack(part)) if part else None
    return StoredResponse(
        status, shared_reason, lines, body, name, expires_at, _SOURCES[source], rules, shown, packed
    )


@lru_cache(maxsize=1024)
def _words(reason: bytes, route: bytes) -> tuple[bytes, str]:
    """One object for all responses that say the same: each was cut from a value of its own."""
    return reason, route.decode()


def _vary_pieces(record: VaryRecord) -> list[bytes]:
    languages = [key for pair in record.by_language for key in pair]
    counts = (len(record.names), len(record.variants), len(record.by_language))
    numbers = _VARY_NUMBERS.pack(record.expires_at, *counts)
    texts = (*record.names, *record.variants, *languages)
    lengths = struct.pack(f">{len(texts)}I", *map(len, texts))
    return [numbers, lengths, *texts]


def _read_vary(data: bytes) -> VaryRecord:
    expires_at, name_count, variant_count, language_count = _VARY_NUMBERS.unpack_from(data, _NUMBERS_AT)
    if not abs(expires_at) < packing.LARGEST_SECONDS:
        raise ValueError("an end that we do not write")
    others = name_count + variant_count
    lengths_at, count = _NUMBERS_AT + _VARY_NUMBERS.size, others + 2 * language_count
    lengths = struct.unpack_from(f">{count}I", data, lengths_at)
    texts = _texts(data, lengths_at + 4 * count, lengths)
    languages = zip(texts[others::2], texts[others + 1 :: 2], strict=True)
    names, variants = tuple(texts[:name_count]), tuple(texts[name_count:others])
    return VaryRecord(names, variants, expires_at, tuple(languages))


def _texts(data: bytes, start: int, lengths: Sequence[int]) -> list[bytes]:
    """The texts of these lengths; they fill the rest of `data` exactly. Raises ValueError."""
    texts = []
    for length in lengths:
        texts.append(data[start : start + length])
        start += length
    if start != len(data):
        raise ValueError("the lengths do not fill the content")
    return texts


_READERS: dict[int, Callable[[bytes], Entry]] = {_RESPONSE: _read_response, _VARY: _read_vary}
