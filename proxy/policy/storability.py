"""Why a response must not be stored, as a Reason, and which of its fields must not (RFC 9111 §3).

Rules that need no lifetime; what follows from the lifetime is storing.py's.
"""

from __future__ import annotations

from proxy.config.schema import RoutePolicy
from proxy.model import LETTER, Fields, Framing, Reason, Request, ResponseHead
from proxy.policy.bypass import authorization_is_covered
from proxy.policy.directives import ResponseDirectives, request_directives, vary_names
from proxy.policy.parts import part_of, strong_validator
from proxy.policy.routes import RouteMatch
from proxy.policy.tags import OUR_FIELDS

_FIRST_FINAL_STATUS = 200
_UNDERSTOOD_STATUSES = frozenset(
    {
        *range(200, 207),
        *range(300, 304),
        305,
        307,
        308,
        *range(400, 418),
        421,
        422,
        426,
        451,
        *range(500, 506),
    }
)
"""Final statuses of which we know all that concerns caching (RFC 9110 §15)."""
_NEVER_STORED = frozenset({304, 428, 429, 431, 511})
"""What RFC 6585 forbids to store, and 304, which is no response of its own."""

_NOT_KEPT = OUR_FIELDS | {b"age", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization"}
"""Counted in the initial age, between the origin and us, or for one proxy only (RFC 9111 §3.1)."""
_SET_COOKIE = b"set-cookie"
_ALWAYS_KEPT = frozenset({b"date"})
_EVENT_STREAM = b"text/event-stream"


def kept_fields(fields: Fields, directives: ResponseDirectives, policy: RoutePolicy) -> Fields:
    """The fields that may be stored."""
    return fields.without(unkept_names(directives, policy))


def unkept_names(directives: ResponseDirectives, policy: RoutePolicy) -> frozenset[bytes]:
    """Those that may not. CDN-Cache-Control may, as caches in front of us read it, too."""
    private = frozenset[bytes]() if "private" in policy.override else directives.private_fields
    # A named field may be used again only after validation: we do not keep it (RFC 9111 §5.2.2.4).
    named = directives.no_cache_fields | private
    unwanted = _NOT_KEPT | named if named else _NOT_KEPT
    if "set-cookie" in policy.override:
        unwanted |= {_SET_COOKIE}
    return unwanted - _ALWAYS_KEPT


def refusal(
    request: Request,
    head: ResponseHead,
    framing: Framing,
    match: RouteMatch,
    directives: ResponseDirectives,
    *,
    profile: str,
) -> Reason | None:
    """Why the response is not stored whatever its lifetime; None: nothing is against it."""
    policy = match.route.policy
    return (
        match.reason
        or _by_request(request, directives, policy)
        or _by_status(head.status, directives)
        or _by_range(request, head, profile)
        or _by_directives(head, directives, policy)
        or _by_form(head, framing, directives, policy, profile)
    )


def is_shared_despite_authorization(directives: ResponseDirectives) -> bool:
    """May the response be used for others than the one whose Authorization it answers (RFC 9111 §3.5)?"""
    is_for_shared_caches = directives.s_maxage is not None and not directives.has_malformed_s_maxage
    return directives.public or directives.must_revalidate or is_for_shared_caches


def _by_request(request: Request, directives: ResponseDirectives, policy: RoutePolicy) -> Reason | None:
    if request.method != "GET":
        return Reason.METHOD
    if policy.client_cache_control == "honour" and request_directives(request.fields).no_store:
        return Reason.REQUEST_NO_STORE
    if not is_shared_despite_authorization(directives) and not authorization_is_covered(request, policy):
        return Reason.AUTHORIZATION
    return None


def _by_status(status: int, directives: ResponseDirectives) -> Reason | None:
    if status < _FIRST_FINAL_STATUS or status in _NEVER_STORED:
        return Reason.STATUS
    if directives.must_understand and status not in _UNDERSTOOD_STATUSES:
        return Reason.STATUS
    return None


def _by_range(request: Request, head: ResponseHead, profile: str) -> Reason | None:
    asks_range = b"range" in request.fields
    if head.status != 206:
        # What it says (416 above all) may be about the range, which the key does not hold.
        return Reason.RANGE if asks_range and head.status != 200 else None
    is_named = profile == LETTER or strong_validator(head.fields) is not None
    # With If-Range it may lack what the client has from before: Content-Type, say (RFC 9110 §15.3.7).
    is_described = b"if-range" not in request.fields
    is_kept = asks_range and is_named and is_described and part_of(head) is not None
    return None if is_kept else Reason.INCOMPLETE


def _by_directives(head: ResponseHead, directives: ResponseDirectives, policy: RoutePolicy) -> Reason | None:
    # RFC 9111 §5.2.2.3: must-understand takes the no-store beside it back, for those who understand.
    is_forbidden = directives.no_store and not directives.must_understand
    if is_forbidden and "no-store" not in policy.override:
        return Reason.NO_STORE
    if directives.private and "private" not in policy.override:
        return Reason.PRIVATE
    return Reason.VARY_STAR if vary_names(head.fields) is None else None


def _by_form(
    head: ResponseHead,
    framing: Framing,
    directives: ResponseDirectives,
    policy: RoutePolicy,
    profile: str,
) -> Reason | None:
    if _media_type(head.fields) == _EVENT_STREAM:
        return Reason.EVENT_STREAM
    if profile == LETTER:
        return None
    if _SET_COOKIE in head.fields and _SET_COOKIE in kept_fields(head.fields, directives, policy):
        return Reason.SET_COOKIE
    # A reset looks like the end: only a length or a last chunk proves that a body is complete.
    return Reason.CLOSE_DELIMITED if framing is Framing.CLOSE else None


def _media_type(fields: Fields) -> bytes:
    """Type and subtype, lower case, without parameters (RFC 9110 §8.3.1)."""
    return (fields.first(b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()
