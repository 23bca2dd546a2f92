"""How heads that have the same names are written: a format for their lines, and which values go into it.

What is the same in all of them is written into the format, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from proxy.model import Placed, Values, cut_of


class LineForm(NamedTuple):
    """`lines % pick(values)` is what goes over the wire."""

    lines: bytes
    pick: Callable[[Values], Values]


def line_form(placed: Sequence[Placed], known: Mapping[int, bytes]) -> LineForm:
    """These names, in this order, each with the value that stands at its place, or is known of it."""
    lines = [_literal(name) + b": " + _literal_or_open(known.get(place)) for name, place in placed]
    taken = cut_of([line for line in placed if line[1] not in known])
    return LineForm(b"".join([line + b"\r\n" for line in lines]), taken.pick)


def _literal_or_open(value: bytes | None) -> bytes:
    return b"%b" if value is None else _literal(value)


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
