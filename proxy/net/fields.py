"""The grammar of header fields (RFC 9110 §5), for every head that comes in or goes out.

Names are tokens; values hold no control bytes but HTAB. Knows bytes only: no sockets, no policy,
and not which fields mean what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.model import FieldNames, Fields

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""One byte of a token, to build patterns from."""
VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
"""One byte of a field value, to build patterns from: HTAB, visible ASCII, space and obs-text."""

_TOKEN = re.compile(TOKEN + rb"+")
_VALUE = re.compile(VALUE + rb"*")
_NO_VALUE = bytes(byte for byte in range(256) if not re.match(VALUE, bytes([byte])))


def is_token(name: bytes) -> bool:
    """May this be a field name or a method?"""
    return _TOKEN.fullmatch(name) is not None


def is_field_value(value: bytes) -> bool:
    """May this stand after the colon? No CR, LF, NUL or other control byte but HTAB."""
    return _VALUE.fullmatch(value) is not None


def are_clean(fields: Fields) -> bool:
    """Is every name a token and every value clean?"""
    sent = fields.sent_values
    values = b"\n".join(sent)
    # LF may occur in no value, so that the number of what is not clean proves that each LF is ours.
    unclean = len(values) - len(values.translate(None, _NO_VALUE))
    return unclean == (len(sent) - 1 if sent else 0) and fields.layout.derived(_are_tokens)


def _are_tokens(names: FieldNames) -> bool:
    return all(map(is_token, names.listed))


def list_members(values: Iterable[bytes]) -> list[bytes]:
    """The members of a list field such as Connection, lower case, over all its lines (RFC 9110 §5.6.1)."""
    members = b",".join(values).lower().split(b",")
    return [stripped for member in members if (stripped := member.strip(b" \t"))]
