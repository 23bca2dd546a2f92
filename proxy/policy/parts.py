"""Partial responses: what a 206 holds, what is missing from it, and how two become one (RFC 9111 §3.3, §3.4).

Only parts that share a strong validator are combined. Which range of a part answers a request is ranges.py's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.model import LETTER, FieldLine, Fields, Part, Request, ResponseHead, StoredResponse
from proxy.policy.dates import http_date
from proxy.policy.entity_tags import is_weak
from proxy.policy.ranges import OF_ONE_MESSAGE, Slice, asked_range, select_range

_CONTENT_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)


class Joint(NamedTuple):
    """What a stored part and a newer one make together."""

    head: ResponseHead
    """200 where nothing is missing any more, else 206: to be planned as any other."""
    before: bytes
    """What of the stored body stands before the newer one."""
    after: bytes
    size: int
    """How many bytes the newer body must have."""

    @property
    def total(self) -> int:
        """How many bytes both have together."""
        return len(self.before) + self.size + len(self.after)

    def body(self, newer: bytes) -> bytes:
        """All bytes, in their order."""
        return self.before + newer + self.after


def part_of(head: ResponseHead) -> Part | None:
    """What a 206 holds; None where it does not say so, or not of how much (RFC 9110 §14.4)."""
    if head.status != 206:
        return None
    values = head.fields.values(b"content-range")
    found = _CONTENT_RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    part = Part(*map(int, found.groups()))
    return part if part.first <= part.last < part.complete_length else None


def size_of(part: Part) -> int:
    """How many bytes it has, if Content-Range is true."""
    return part.last - part.first + 1


def strong_validator(fields: Fields) -> bytes | None:
    """What names these very bytes: a strong ETag, else a Last-Modified older than Date (RFC 9110 §8.8.2)."""
    etag = fields.first(b"etag")
    if etag is not None:
        return None if is_weak(etag) else etag
    modified, made = fields.first(b"last-modified"), fields.first(b"date")
    modified_at, made_at = http_date(modified or b""), http_date(made or b"")
    # A second apart: what changed twice within one has the same date.
    is_strong = modified_at is not None and made_at is not None and modified_at < made_at
    return modified if is_strong else None


def asks_one_range(request: Request) -> bool:
    """Is it a request for one range of bytes, whose 206 says which bytes it has?"""
    return asked_range(request) is not None


def holds_range(request: Request, stored: StoredResponse) -> bool:
    """Can the stored part alone answer the request (RFC 9111 §3.3)?"""
    return isinstance(select_range(request, stored), Slice)


def is_sound(stored: StoredResponse, joined: Joint | None, *, received_bytes: int, profile: str) -> bool:
    """Has a part as many bytes as its Content-Range says? The letter takes one alone at its word."""
    if joined is not None:
        return received_bytes == joined.size
    return stored.part is None or profile == LETTER or received_bytes == size_of(stored.part)


def may_be_joined(stored: StoredResponse, *, is_fresh: bool) -> bool:
    """May the rest be asked for? Without a strong validator only on the chance that it comes with one."""
    return strong_validator(stored.fields()) is not None or is_fresh


def completion_lines(stored: StoredResponse) -> tuple[FieldLine, ...]:
    """What makes a request one for the rest of a stored part; nothing where that is not one range."""
    part = stored.part
    if part is None:
        return ()
    rest = _rest(part)
    if rest is None:
        return ()
    validator = strong_validator(stored.fields())
    condition = ((b"If-Range", validator),) if validator is not None else ()
    return ((b"Range", rest), *condition)


def joint(stored: StoredResponse, head: ResponseHead) -> Joint | None:
    """What the stored part and a 206 with this head make together; None: they do not belong together."""
    old, new = stored.part, part_of(head)
    if old is None or new is None or not _belong_together(stored, head, old, new):
        return None
    first, last = min(old.first, new.first), max(old.last, new.last)
    is_whole = (first, last) == (0, new.complete_length - 1)
    own = stored.fields()
    kept = own.without(head.fields.names() | OF_ONE_MESSAGE)
    fields = kept.plus(head.fields.without(OF_ONE_MESSAGE).lines)
    if is_whole:
        together = ResponseHead(200, fields, b"OK")
    else:
        line = (b"Content-Range", b"bytes %d-%d/%d" % (first, last, new.complete_length))
        together = ResponseHead(206, fields.plus([line]), head.reason)
    before = stored.body[: max(0, new.first - old.first)]
    after = stored.body[new.last + 1 - old.first :] if new.last < old.last else b""
    return Joint(together, before, after, size_of(new))


def _rest(part: Part) -> bytes | None:
    if part.first == 0 and part.last + 1 < part.complete_length:
        return b"bytes=%d-" % (part.last + 1)
    if part.first > 0 and part.last + 1 == part.complete_length:
        return b"bytes=0-%d" % (part.first - 1)
    return None


def _belong_together(stored: StoredResponse, head: ResponseHead, old: Part, new: Part) -> bool:
    validator = strong_validator(head.fields)
    is_same = validator is not None and validator == strong_validator(stored.fields())
    is_sound = old.complete_length == new.complete_length and len(stored.body) == size_of(old)
    touch = new.first <= old.last + 1 and old.first <= new.last + 1
    return is_same and is_sound and touch
