"""What a response's head says of its storage before any date, validator or tag is read: mostly said before.

An origin governs all its answers by the same few fields with the same few values. What follows from them, on
one route, is found out once for each such set (RFC 9111 §3), and not for each response.
"""

from __future__ import annotations

from collections.abc import Callable

from lru import LRU
from msgspec import Struct

from proxy.model import (
    Cut,
    FieldNames,
    Fields,
    Framing,
    Reason,
    Request,
    ResponseHead,
    Rule,
)
from proxy.policy.directives import ResponseDirectives, response_directives, vary_names
from proxy.policy.failures import is_error_status
from proxy.policy.freshness import Lifetime, dateless_lifetime, lifetime_by_route
from proxy.policy.routes import Route, RouteMatch
from proxy.policy.staleness import error_window, revalidation_window
from proxy.policy.storability import is_shared_despite_authorization, refusal, unkept_names

_GOVERNING = frozenset(
    {b"cache-control", b"cdn-cache-control", b"content-type", b"surrogate-control", b"vary"}
)
"""The fields of a response that its terms depend on, but for those below."""
_SINGULAR = frozenset({b"set-cookie"})
"""Where they are there, each response is read by itself: hardly two have the same values."""
_HEARD = frozenset({b"authorization", b"cache-control", b"range"})
"""The fields of a request that the terms of its response depend on."""
_ASKED = Request("GET", b"/", Fields())
"""Stands for all requests that have none of these."""

_CLOSE = Framing.CLOSE
"""On CPython 3.11 a member takes as long to look up as a function to call."""

_MOST_USUAL = 1024
_USUAL_LINES = 8
_USUAL_BYTES = 256
"""Of all values: longer ones are read anew each time, so that nobody fills the memory with them."""
_Key = tuple[Route, int, FieldNames, tuple[bytes, ...], bool, str]

_RULES: tuple[tuple[int, Callable[[ResponseDirectives], bool]], ...] = (
    (Rule.NO_CACHE, lambda stated: stated.no_cache),
    (Rule.MUST_REVALIDATE, lambda stated: stated.must_revalidate or stated.proxy_revalidate),
    (Rule.SHARED_MAX_AGE, lambda stated: stated.s_maxage is not None),
    (Rule.AUTHORIZATION_SHARED, is_shared_despite_authorization),
    (Rule.IMMUTABLE, lambda stated: stated.immutable),
)


class Terms(Struct, frozen=True):
    """On which terms a response may be stored. Quantities are seconds."""

    directives: ResponseDirectives
    rules: int
    """Bits of Rule."""
    vary: tuple[bytes, ...]
    """The request fields that select it (RFC 9111 §4.1)."""
    unkept: frozenset[bytes]
    """The fields that are not stored."""
    dateless: Lifetime | None
    """Its lifetime, if no date has a say."""
    by_route: Lifetime | None
    """Its lifetime, if no date states one and the route gives it one."""
    stale_while_revalidate: float | None
    """The response's own directive; None: the route's window holds."""
    stale_if_error: float | None
    """The same for failures of the origin."""
    longest_stale: float
    """For how long past its lifetime it may be served at all."""
    longest_kept: float
    """For how long past its lifetime it is of use if it can be validated."""


_usual: LRU[_Key, Terms | Reason] = LRU(_MOST_USUAL)


def terms_of(
    request: Request, head: ResponseHead, framing: Framing, match: RouteMatch, *, profile: str
) -> Terms | Reason:
    """The terms, or why the response is not stored."""
    fields = head.fields
    cut = fields.layout.derived(_governing_lines)
    is_plain = match.reason is None and request.method == "GET"
    if cut is None or not is_plain or request.fields.layout.derived(_has_a_say):
        return _read(request, head, framing, match, profile)
    values = cut.pick(fields.sent_values)
    # In place of `framing`, which takes longer to hash than all the rest, what is asked of it.
    key = (match.route, head.status, cut.names, values, framing is _CLOSE, profile)
    known = _usual.get(key)
    if known is not None:
        return known
    # Of nothing but the governing fields: what is remembered cannot depend on others.
    governing = ResponseHead(head.status, Fields.of(cut.names, values))
    said = _read(_ASKED, governing, framing, RouteMatch(match.route, None), profile)
    if sum(map(len, values)) <= _USUAL_BYTES:
        _usual[key] = said
    return said


def _has_a_say(names: FieldNames) -> bool:
    """Do the terms depend on a request with fields of these names?"""
    return not _HEARD.isdisjoint(names.places)


def _governing_lines(names: FieldNames) -> Cut | None:
    """The fields that the terms depend on; None: there is more than these, or too much to be remembered."""
    if not _SINGULAR.isdisjoint(names.places):
        return None
    cut = names.without(frozenset(names.places) - _GOVERNING) or Cut(names, tuple)
    return cut if len(cut.names.listed) <= _USUAL_LINES else None


def _read(
    request: Request, head: ResponseHead, framing: Framing, match: RouteMatch, profile: str
) -> Terms | Reason:
    policy = match.route.policy
    directives = response_directives(head.fields)
    reason = refusal(request, head, framing, match, directives, profile=profile)
    if reason is not None:
        return reason
    rules = sum(rule for rule, holds in _RULES if holds(directives))
    revalidate = _own_window(directives.stale_while_revalidate, head.status)
    on_error = _own_window(directives.stale_if_error, head.status)
    longest_stale = max(revalidation_window(rules, revalidate, policy), error_window(rules, on_error, policy))
    return Terms(
        directives=directives,
        rules=rules,
        vary=vary_names(head.fields) or (),
        unkept=unkept_names(directives, policy),
        dateless=dateless_lifetime(head.status, directives, policy),
        by_route=lifetime_by_route(head.status, directives, policy),
        stale_while_revalidate=revalidate,
        stale_if_error=on_error,
        longest_stale=longest_stale,
        longest_kept=max(longest_stale, policy.keep),
    )


def _own_window(stated: int | None, status: int) -> float | None:
    # A remembered error must not outlive its lifetime: by then the origin may have recovered.
    return 0.0 if stated is None and is_error_status(status) else stated
