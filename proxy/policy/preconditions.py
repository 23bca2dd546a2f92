"""A client's own conditions, against what we are about to answer with (RFC 9110 §13, RFC 9111 §4.3.2).

The conditions that we send ourselves are in validation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from proxy.model import Fields, Request, StoredResponse
from proxy.policy.dates import http_date
from proxy.policy.entity_tags import entity_tags, match_strongly, match_weakly

_SUCCESSES = range(200, 300)
"""Conditions count only where the answer without them is one of these (RFC 9110 §13.2.1)."""
_READING_METHODS = frozenset({"GET", "HEAD"})
_REPRESENTATION_METADATA = frozenset(
    {
        b"content-digest",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"repr-digest",
    }
)
"""What a 304 leaves out (RFC 9110 §15.4.5): the client has it, and must not be told of a body."""


def is_hit_not_modified(request: Request, stored: StoredResponse) -> bool:
    """May the client keep what it has, rather than get this stored response? Cheap where it asks nothing."""
    fields = request.fields
    if b"if-none-match" not in fields and b"if-modified-since" not in fields:
        return False
    if stored.status not in _SUCCESSES:
        return False
    is_dated = stored.last_modified is not None or b"if-none-match" in fields
    date = None if is_dated else stored.fields().first(b"date")
    return is_not_modified(request, etag=stored.etag, last_modified=stored.last_modified, date=date)


def has_tag(stored: StoredResponse, value: bytes) -> bool:
    """Is this If-None-Match just its entity tag? Then `is_hit_not_modified` is true, whatever else is asked.

    Of a GET or HEAD. False says nothing.
    """
    return stored.has_etag(value) and stored.status in _SUCCESSES


def is_not_modified(
    request: Request, *, etag: bytes | None, last_modified: bytes | None, date: bytes | None = None
) -> bool:
    """May the client keep what it has (304)?

    `date` stands in for a missing Last-Modified (RFC 9111 §4.3.2): what was made later may be different.
    """
    if request.method not in _READING_METHODS:
        return False
    known = request.fields.values(b"if-none-match")
    if known:
        return etag in known or _is_among(etag, known, match_weakly)
    return _is_unmodified_since(request.fields, b"if-modified-since", last_modified or date) is True


def is_hit_refused(request: Request, stored: StoredResponse) -> bool:
    """Does the client refuse this stored response (412)? Cheap where it asks nothing."""
    fields = request.fields
    if b"if-match" not in fields and b"if-unmodified-since" not in fields:
        return False
    is_success = stored.status in _SUCCESSES
    return is_success and has_failed_precondition(
        request, etag=stored.etag, last_modified=stored.last_modified
    )


def has_failed_precondition(request: Request, *, etag: bytes | None, last_modified: bytes | None) -> bool:
    """Does the client refuse this representation (412)? If-Match, else If-Unmodified-Since."""
    wanted = request.fields.values(b"if-match")
    if wanted:
        return not _is_among(etag, wanted, match_strongly)
    return _is_unmodified_since(request.fields, b"if-unmodified-since", last_modified) is False


# Clients that validate ask for the same few again and again; to read and write the lines costs microseconds.
@lru_cache(maxsize=1024)
def not_modified_lines(lines: bytes) -> bytes:
    """The field lines of a 304 for a response with these (encoded) lines.

    Last-Modified only where there is no ETag. All that is not about the body stays, CORS fields among it.
    """
    fields = Fields.decode(lines)
    validators = {b"last-modified"} if b"etag" in fields else set[bytes]()
    return fields.without(_REPRESENTATION_METADATA | validators).encode()


def _is_among(etag: bytes | None, lines: list[bytes], match: Callable[[bytes, bytes], bool]) -> bool:
    tags = entity_tags(lines)
    if tags == [b"*"]:
        return True
    return etag is not None and any(match(etag, tag) for tag in tags)


def _is_unmodified_since(fields: Fields, name: bytes, modified: bytes | None) -> bool | None:
    """None: the field is absent or no date, or nothing is known of a change; then there is no condition."""
    values = fields.values(name)
    if len(values) != 1 or modified is None:
        return None
    since_at, modified_at = http_date(values[0]), http_date(modified)
    if since_at is None or modified_at is None:
        return None
    return modified_at <= since_at
