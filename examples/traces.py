"""Sequences of keys to replay: recorded ones from a file, or a seeded one with a few keys in great demand."""

from __future__ import annotations

import lzma
import random
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

TYPE_CODES = {32: "I", 64: "Q"}


class Unreadable(Exception):
    """The file is no trace; the message says why."""


def width_of(name: str) -> int | None:
    """32 or 64 from a name such as `web07.u32be.xz`; None where it does not say."""
    return next((width for width in TYPE_CODES if f".u{width}be." in name), None)


def read(path: Path, width: int) -> Sequence[int]:
    """The keys of an xz-compressed file of big-endian unsigned integers. Raises Unreadable."""
    keys = array(TYPE_CODES[width])
    try:
        keys.frombytes(lzma.decompress(path.read_bytes()))
    except (OSError, lzma.LZMAError, ValueError) as error:
        raise Unreadable(f"{path}: {error}") from None
    if sys.byteorder == "little":
        keys.byteswap()
    return keys


def zipf(*, keys: int, requests: int, skew: float, seed: int) -> Sequence[int]:
    """`requests` draws among `keys`; the key of rank r is asked for in proportion to 1 / r ** skew."""
    weights = list(accumulate(rank**-skew for rank in range(1, keys + 1)))
    return random.Random(seed).choices(range(1, keys + 1), cum_weights=weights, k=requests)
