"""Asking the origin whether a stored response still holds, and what its 304 makes of it (RFC 9111 §4.3).

A response to HEAD updates in the same way (§4.3.5), once `updated_head` is asked with it.
"""

from __future__ import annotations

from msgspec.structs import replace

from proxy.model import (
    FieldLine,
    Fields,
    Framing,
    Position,
    Reason,
    Request,
    ResponseHead,
    StoredResponse,
)
from proxy.policy.dates import http_date
from proxy.policy.entity_tags import match_weakly
from proxy.policy.freshness import initial_age
from proxy.policy.routes import RouteMatch
from proxy.policy.storing import plan
from proxy.policy.storing import stored as stored_from
from proxy.policy.tags import OUR_FIELDS

_CONDITIONS = frozenset({b"if-match", b"if-modified-since", b"if-none-match", b"if-unmodified-since"})
_CONDITIONS_AND_RANGE = _CONDITIONS | {b"if-range", b"range"}

_OF_THE_BODY = frozenset(
    {b"content-digest", b"content-encoding", b"content-length", b"content-md5", b"content-range"}
)
"""Describe the bytes that we hold, so that no other message may change them (RFC 9111 §3.2)."""


def conditional_lines(stored: StoredResponse) -> tuple[FieldLine, ...]:
    """What makes a request conditional on the stored response; nothing where it has no validator."""
    lines = ((b"If-None-Match", stored.etag), (b"If-Modified-Since", stored.last_modified))
    return tuple((name, value) for name, value in lines if value is not None)


def without_conditions(fields: Fields, *, keep_range: bool = False) -> Fields:
    """The client's fields for a request that fills the cache: whole, and whatever the client has."""
    unwanted = _CONDITIONS if keep_range else _CONDITIONS_AND_RANGE
    return fields.without(unwanted)


def updated_head(stored: StoredResponse, head: ResponseHead) -> ResponseHead:
    """The stored head with the fields of a newer one in place of its own (RFC 9111 §3.2)."""
    own = stored.fields()
    kept = _OF_THE_BODY | ({b"etag"} if b"etag" in own else frozenset())
    news = head.fields.without(kept)
    return ResponseHead(stored.status, own.without(news.names()).plus(news.lines), stored.reason)


def refreshed(
    stored: StoredResponse,
    head: ResponseHead,
    request: Request,
    match: RouteMatch,
    *,
    born: Position | None,
    requested_at: float,
    received_at: float,
    roll: float,
    profile: str,
) -> StoredResponse | Reason:
    """The entry after a 304 with this head to our condition, or why there is none.

    OTHER_REPRESENTATION: the stored body may not be used, ask again without a condition. Any other reason:
    it may be sent now, with `updated_head`, but not be kept on the 304's word.
    """
    if not _is_about(stored, head.fields):
        # Asked about the ETag alone, the origin said that it holds: then only the tag it names is wrong.
        if stored.etag is None or stored.last_modified is not None:
            return Reason.OTHER_REPRESENTATION
        return _confirmed(stored, head.fields, born, requested_at, received_at)
    planned = plan(
        replace(request, method="GET"),
        updated_head(stored, head),
        Framing.LENGTH,
        match,
        requested_at=requested_at,
        received_at=received_at,
        roll=roll,
        profile=profile,
        inherited_tags=() if OUR_FIELDS & head.fields.names() else stored.tags,
    )
    if isinstance(planned, Reason):
        return planned
    fetch_seconds = max(0.0, received_at - requested_at)
    return stored_from(planned, stored.body, stored, born=born, fetch_seconds=fetch_seconds)


def agrees(stored: StoredResponse, head: ResponseHead, length: int | None) -> bool:
    """Does a response to HEAD speak of what is stored (RFC 9111 §4.3.5)? `length` is its Content-Length.

    Whatever validators it has must be the stored ones; where it has none, nothing speaks against it.
    """
    if not head.status == stored.status == 200 or length not in (None, len(stored.body)):
        return False
    own = ((b"etag", stored.etag), (b"last-modified", stored.last_modified))
    return all(head.fields.first(name) in (None, value) for name, value in own)


def _is_about(stored: StoredResponse, fields: Fields) -> bool:
    """Does the 304 speak of what is stored (RFC 9111 §4.3.4)? Without a validator it does.

    We deviate: a strong tag also confirms a weak one of the same text. Servers that weaken the tag of what
    they compress do not do so in a 304.
    """
    etag = fields.first(b"etag")
    if etag is not None and stored.etag is not None:
        return match_weakly(etag, stored.etag)
    modified_at = http_date(fields.first(b"last-modified") or b"")
    if modified_at is None or stored.last_modified is None:
        return True
    return modified_at == http_date(stored.last_modified)


def _confirmed(
    stored: StoredResponse, fields: Fields, born: Position | None, requested_at: float, received_at: float
) -> StoredResponse:
    """Young again, but with no field of the 304 (RFC 9111 §4.3.4: it must not update)."""
    date, stated_age = fields.first(b"date"), fields.first(b"age")
    age = initial_age(date, stated_age, requested_at=requested_at, received_at=received_at)
    made_at = stored.received_at - stored.initial_age
    expires_at = stored.expires_at - made_at + received_at - age
    return stored.but(born=born, received_at=received_at, initial_age=age, expires_at=expires_at)
