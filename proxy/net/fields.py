"""The grammar of header fields (RFC 9110 §5), for every head that comes in or goes out.

Names are tokens; values hold no control bytes but HTAB. Knows bytes only: no sockets, no policy,
and not which fields mean what.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from proxy.model import FieldLine

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""One byte of a token, to build patterns from."""
VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
"""One byte of a field value, to build patterns from: HTAB, visible ASCII, space and obs-text."""

_TOKEN = re.compile(TOKEN + rb"+")
_VALUE = re.compile(VALUE + rb"*")
_NAMES = re.compile(rb"(?:" + TOKEN + rb"++:)*")
_VALUES = re.compile(rb"[^\x00-\x08\x0b-\x1f\x7f]*")  # VALUE and LF


def is_token(name: bytes) -> bool:
    """May this be a field name or a method?"""
    return _TOKEN.fullmatch(name) is not None


def is_field_value(value: bytes) -> bool:
    """May this stand after the colon? No CR, LF, NUL or other control byte but HTAB."""
    return _VALUE.fullmatch(value) is not None


def are_field_lines(lines: Collection[FieldLine]) -> bool:
    """Is every name a token and every value clean? Two matches for all lines instead of two for each."""
    names = b"".join([name + b":" for name, _ in lines])
    values = b"".join([value + b"\n" for _, value in lines])
    # The separators may occur in no name and no value, so that their number proves where each one ends.
    are_separate = names.count(b":") == len(lines) == values.count(b"\n")
    return are_separate and _NAMES.fullmatch(names) is not None and _VALUES.fullmatch(values) is not None


def list_members(values: Iterable[bytes]) -> list[bytes]:
    """The members of a list field such as Connection, lower case, over all its lines (RFC 9110 §5.6.1)."""
    members = (member.strip(b" \t") for value in values for member in value.lower().split(b","))
    return [member for member in members if member]
