"""How many bytes an entry occupies in this process: its texts, and the objects that hold them.

Asked once, when the entry is stored. `sys.getsizeof` counts each object's own header, so that
ten thousand empty bodies are not free.
"""

from __future__ import annotations

from collections.abc import Iterable
from sys import getsizeof

from proxy.model import Entry, StoredResponse

RESPONSE_OVERHEAD = 410
"""Bytes of a StoredResponse and its Held, their floats, and the places in L1's LRU.

`tests/store/test_sizes.py` holds it to 90-125 % of what the interpreter allocates, and to 10 % of what
the process grows by. `bench/memory.py` measures it for what the product stores.
"""
VARY_OVERHEAD = 300
"""The same for a VaryRecord, measured likewise."""
PART_BYTES = 160
"""A Part and its three numbers."""

_ALLOCATION_BYTES = 16
"""Memory is handed out in multiples of it: of 64 variant keys the remainders alone are a kilobyte."""
_ROUNDING = getsizeof(b"") + _ALLOCATION_BYTES - 1
"""What a text takes beside its bytes, and what rounds the whole up where `_MULTIPLES` rounds it down."""
_MULTIPLES = -_ALLOCATION_BYTES


def entry_bytes(key: bytes, entry: Entry) -> int:
    """What L1 counts for `entry` under `key`. Shared texts, reason and route, are not counted."""
    if isinstance(entry, StoredResponse):
        overhead = RESPONSE_OVERHEAD + (PART_BYTES if entry.part else 0)
        return (
            overhead
            + (len(key) + _ROUNDING & _MULTIPLES)
            + (len(entry.lines) + _ROUNDING & _MULTIPLES)
            + (len(entry.body) + _ROUNDING & _MULTIPLES)
            + (len(entry.packed) + _ROUNDING & _MULTIPLES)
        )
    tuples = (entry.names, entry.variants, entry.by_language, *entry.by_language)
    languages = (key for pair in entry.by_language for key in pair)
    keys = _total((key, *entry.names, *entry.variants, *languages))
    return VARY_OVERHEAD + keys + sum(map(getsizeof, tuples))


def _total(texts: Iterable[bytes]) -> int:
    return sum(len(text) + _ROUNDING & _MULTIPLES for text in texts)
