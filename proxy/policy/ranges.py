"""Byte ranges cut from a complete stored body (RFC 9110 §14). One range only: of several the client gets all.

A Range that is malformed, of another unit, or for another representation (If-Range) counts as absent.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from proxy.model import Fields, Request, StoredResponse
from proxy.policy.dates import http_date
from proxy.policy.entity_tags import match_strongly

_BYTES = re.compile(rb"bytes=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)
_MOST_DIGITS = 18


class Slice(NamedTuple):
    """Bytes `start` up to, not including, `end` of the body (206)."""

    start: int
    end: int


class Portion(Enum):
    """What else a client can get of a body."""

    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"
    """The range begins behind the end (416)."""


def select_range(request: Request, stored: StoredResponse) -> Slice | Portion:
    """Which part of the stored body answers the request."""
    values = request.fields.values(b"range")
    if len(values) != 1 or request.method != "GET" or stored.status != 200:
        return Portion.WHOLE
    found = _BYTES.fullmatch(values[0])
    if found is None or not _is_for(stored, request.fields):
        return Portion.WHOLE
    return _cut(found[1], found[2], len(stored.body))


def partial_lines(lines: bytes, part: Slice, length: int) -> bytes:
    """The field lines of a 206 for `part` of a body of `length` bytes that has these (encoded) lines."""
    whole = Fields.decode(lines).without({b"content-range"})
    text = b"bytes %d-%d/%d" % (part.start, part.end - 1, length)
    return whole.plus([(b"Content-Range", text)]).encode()


def unsatisfied_line(length: int) -> bytes:
    """The Content-Range line of a 416 for a body of `length` bytes."""
    return b"Content-Range: bytes */%d\r\n" % length


def _cut(first: bytes, last: bytes, length: int) -> Slice | Portion:
    if not first:
        return _suffix(last, length)
    start = _position(first)
    end = _position(last) + 1 if last else max(start + 1, length)
    if end <= start:  # RFC 9110 §14.1.1: no range at all
        return Portion.WHOLE
    return Slice(start, min(end, length)) if start < length else Portion.UNSATISFIABLE


def _suffix(count: bytes, length: int) -> Slice | Portion:
    if not count:
        return Portion.WHOLE
    wanted = _position(count)
    if wanted == 0:
        return Portion.UNSATISFIABLE
    # Of an empty body the last n bytes exist, but Content-Range cannot say so.
    return Slice(max(0, length - wanted), length) if length else Portion.WHOLE


def _position(digits: bytes) -> int:
    significant = digits.lstrip(b"0")[: _MOST_DIGITS + 1] or b"0"
    return int(significant)


def _is_for(stored: StoredResponse, fields: Fields) -> bool:
    """Does If-Range, if there is one, name this very representation (RFC 9110 §13.1.5)?"""
    values = fields.values(b"if-range")
    if not values:
        return True
    if len(values) != 1:
        return False
    if stored.etag is not None and match_strongly(stored.etag, values[0]):
        return True
    return stored.last_modified is not None and _is_strong_date(stored, http_date(values[0]))


def _is_strong_date(stored: StoredResponse, date_at: float | None) -> bool:
    """Is it the stored Last-Modified, and older than the response itself (RFC 9110 §8.8.2.2)?"""
    made_at = http_date(stored.fields().first(b"date") or b"")
    modified_at = http_date(stored.last_modified or b"")
    if date_at is None or modified_at is None or made_at is None:
        return False
    return date_at == modified_at < made_at
