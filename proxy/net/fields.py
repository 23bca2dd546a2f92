"""The grammar of header fields (RFC 9110 §5), for every head that comes in or goes out.

Names are tokens; values hold no control bytes but HTAB. Knows bytes only: no sockets, no policy,
and not which fields mean what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from proxy.model import FieldLine

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""One byte of a token, to build patterns from."""
VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
"""One byte of a field value, to build patterns from: HTAB, visible ASCII, space and obs-text."""

_TOKEN = re.compile(TOKEN + rb"+")
_VALUE = re.compile(VALUE + rb"*")
_NO_VALUE = bytes(byte for byte in range(256) if not re.match(VALUE, bytes([byte])))
_MOST_NAMES = 1024
_MOST_NAME_BYTES = 64


def is_token(name: bytes) -> bool:
    """May this be a field name or a method?"""
    return _TOKEN.fullmatch(name) is not None


def is_field_value(value: bytes) -> bool:
    """May this stand after the colon? No CR, LF, NUL or other control byte but HTAB."""
    return _VALUE.fullmatch(value) is not None


class NameMemo(dict[bytes, bool]):
    """What a rule says of field names, each asked for once: the same few names come with every head.

    Bounded, so that nobody fills the memory with names.
    """

    def __init__(self, rule: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, name: bytes) -> bool:
        verdict = self._rule(name)
        if len(self) < _MOST_NAMES and len(name) <= _MOST_NAME_BYTES:
            self[name] = verdict
        return verdict


_are_tokens = NameMemo(is_token)


def are_field_lines(lines: Collection[FieldLine]) -> bool:
    """Is every name a token and every value clean?"""
    values = b"\n".join([value for _, value in lines])
    # LF may occur in no value, so that the number of what is not clean proves that each LF is ours.
    unclean = len(values) - len(values.translate(None, _NO_VALUE))
    names = [name for name, _ in lines]
    return unclean == max(0, len(lines) - 1) and all(map(_are_tokens.__getitem__, names))


def list_members(values: Iterable[bytes]) -> list[bytes]:
    """The members of a list field such as Connection, lower case, over all its lines (RFC 9110 §5.6.1)."""
    members = (member.strip(b" \t") for value in values for member in value.lower().split(b","))
    return [member for member in members if member]
