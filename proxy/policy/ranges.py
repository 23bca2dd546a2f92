"""Byte ranges cut from a stored body, complete or a part (RFC 9110 §14). Several ranges get all of it.

A Range that is malformed, of another unit, or for another representation (If-Range) counts as absent.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from proxy.model import Fields, Part, Request, StoredResponse
from proxy.policy.dates import http_date
from proxy.policy.entity_tags import match_strongly

_BYTES = re.compile(rb"bytes=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)
_MOST_DIGITS = 18


OF_ONE_MESSAGE = frozenset({b"content-digest", b"content-md5", b"content-range"})
"""Fields about the bytes of one message: not true of any other piece of the representation (RFC 9530 §2)."""


class Slice(NamedTuple):
    """Bytes `start` up to, not including, `end` of the stored body (206)."""

    start: int
    end: int
    offset: int = 0
    """Where in the representation the stored body begins."""


class Portion(Enum):
    """What else a client can get of a body."""

    WHOLE = "whole"
    UNSATISFIABLE = "unsatisfiable"
    """The range begins behind the end (416)."""


def asked_range(request: Request) -> tuple[bytes, bytes] | None:
    """First and last position of the one range that a GET asks for, as digits; None: it asks otherwise."""
    values = request.fields.values(b"range")
    if len(values) != 1 or request.method != "GET":
        return None
    found = _BYTES.fullmatch(values[0])
    return None if found is None else (found[1], found[2])


def select_range(request: Request, stored: StoredResponse) -> Slice | Portion:
    """Which part of the stored body answers the request."""
    asked = asked_range(request)
    is_rangeable = stored.status == 200 or stored.part is not None
    if asked is None or not is_rangeable or not _is_for(stored, request.fields):
        return Portion.WHOLE
    if stored.part is not None:
        return _cut_part(*asked, stored.part, len(stored.body))
    return _cut(*asked, len(stored.body))


def partial_lines(lines: bytes, part: Slice, length: int) -> bytes:
    """The field lines of a 206 for `part` of a representation of `length` bytes that has these lines."""
    whole = Fields.decode(lines).without(OF_ONE_MESSAGE)
    text = b"bytes %d-%d/%d" % (part.offset + part.start, part.offset + part.end - 1, length)
    return whole.plus([(b"Content-Range", text)]).encode()


def unsatisfied_lines(lines: bytes) -> bytes:
    """The field lines of a 416 for a representation with these: nothing of a body, which it has not."""
    return Fields.decode(lines).without(OF_ONE_MESSAGE | {b"content-encoding"}).encode()


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


def _cut_part(first: bytes, last: bytes, part: Part, size: int) -> Slice | Portion:
    """A slice of the part's body where that has all of the range; nothing else can be said without the rest.

    Where Content-Range and the body disagree in length, it is counted from the end that the range names.
    """
    wanted = _cut(first, last, part.complete_length)
    if not isinstance(wanted, Slice) or wanted.end > part.last + 1:
        return Portion.WHOLE
    offset = part.first if first else part.last + 1 - size
    start, end = wanted.start - offset, min(wanted.end - offset, size)
    return Slice(start, end, offset) if 0 <= start < end else Portion.WHOLE


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
