"""How long a response stays fresh and how old it already is (RFC 9111 §4.2), and the spread of both.

Who gives the lifetime: the origin, unless the route does not respect it; then the route, by `negative` for
the statuses listed there and else by `ttl`; then the heuristic. All quantities are seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from proxy.config.schema import RoutePolicy
from proxy.model import Fields, LifetimeSource, ResponseHead
from proxy.policy.cache_directives import MOST_SECONDS, delta_seconds
from proxy.policy.dates import http_date
from proxy.policy.directives import ResponseDirectives

HEURISTIC_STATUSES = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""May be given a lifetime that nobody stated (RFC 9110 §15.1)."""

_HEURISTIC_SHARE = 0.1
_HEURISTIC_SECONDS = 86_400.0
_FIRST_CLIENT_ERROR = 400
_OF_THE_ROUTE = (LifetimeSource.ROUTE, LifetimeSource.NEGATIVE)


class Lifetime(NamedTuple):
    """A freshness lifetime, and who gave it."""

    seconds: float
    source: LifetimeSource


def dateless_lifetime(status: int, directives: ResponseDirectives, policy: RoutePolicy) -> Lifetime | None:
    """The lifetime of all responses of this status with these directives; None: dates may have a say.

    The route's, where it goes before the origin; else s-maxage, then max-age (RFC 9111 §4.2.1).
    """
    if not policy.respect_origin:
        by_route = lifetime_by_route(status, directives, policy)
        if by_route is not None:
            return by_route
    stated = directives.max_age if directives.s_maxage is None else directives.s_maxage
    return None if stated is None else Lifetime(stated, LifetimeSource.ORIGIN)


def dated_lifetime(
    head: ResponseHead, directives: ResponseDirectives, by_route: Lifetime | None, *, received_at: float
) -> Lifetime | None:
    """The lifetime where `dateless_lifetime` has none: by Expires, else the route's, else by a heuristic.

    None: nobody gives it one, and no heuristic may.
    """
    expires = None if directives.is_targeted else _until_expires(head.fields, received_at)
    if expires is not None:
        return Lifetime(expires, LifetimeSource.ORIGIN)
    if by_route is not None:
        return by_route
    assumed = _assumed(head, directives, received_at)
    return None if assumed is None else Lifetime(assumed, LifetimeSource.HEURISTIC)


def may_be_assumed(status: int, directives: ResponseDirectives) -> bool:
    """May a response of this status be given a lifetime that nobody stated (RFC 9111 §4.2.2)?"""
    return status in HEURISTIC_STATUSES or directives.public


def lifetime_by_route(status: int, directives: ResponseDirectives, policy: RoutePolicy) -> Lifetime | None:
    """The lifetime that the route gives to responses of this status with these directives."""
    remembered = policy.negative.statuses.get(status, policy.negative.errors.get(status))
    if remembered is not None:
        return Lifetime(remembered, LifetimeSource.NEGATIVE)
    # `ttl` is for good answers: absences and failures are remembered only as `negative` says.
    if policy.ttl is None or status >= _FIRST_CLIENT_ERROR or not may_be_assumed(status, directives):
        return None
    return Lifetime(policy.ttl, LifetimeSource.ROUTE)


def _until_expires(fields: Fields, received_at: float) -> float | None:
    """Expires less Date; of several the shortest (RFC 9111 §4.2.1)."""
    if b"expires" not in fields:
        return None
    return min(_until(value, fields, received_at) for value in fields.values(b"expires"))


def _until(expires: bytes, fields: Fields, received_at: float) -> float:
    expires_at = http_date(expires, now=received_at)
    if expires_at is None:
        return 0.0  # RFC 9111 §5.3: an invalid date, `0` above all, is in the past
    return min(max(0.0, expires_at - _date(fields, received_at)), MOST_SECONDS)


def _date(fields: Fields, received_at: float) -> float:
    """When the response was made; when we received it, if it does not say so."""
    date = http_date(fields.first(b"date") or b"", now=received_at)
    return received_at if date is None else date


def _assumed(head: ResponseHead, directives: ResponseDirectives, received_at: float) -> float | None:
    """A tenth of the time since the last change, at most a day (RFC 9111 §4.2.2)."""
    modified_at = http_date(head.fields.first(b"last-modified") or b"", now=received_at)
    if modified_at is None or not may_be_assumed(head.status, directives):
        return None
    unchanged_seconds = _date(head.fields, received_at) - modified_at
    return min(max(0.0, unchanged_seconds) * _HEURISTIC_SHARE, _HEURISTIC_SECONDS)


def initial_age(
    date: bytes | None, stated_age: bytes | None, *, requested_at: float, received_at: float
) -> float:
    """The corrected initial age (RFC 9111 §4.2.3) of a response whose first Date and Age are these."""
    made_at = http_date(date or b"", now=received_at)
    # Date has whole seconds: with a fraction left in, an answer made just now would count as old.
    apparent_age = 0.0 if made_at is None else received_at // 1 - made_at
    response_delay = received_at - requested_at if received_at > requested_at else 0.0
    age_value = 0 if stated_age is None else _age_value(stated_age)
    # The second is never negative, so that the first need not be checked for it.
    return max(apparent_age, age_value + response_delay)


def _age_value(stated: bytes) -> int:
    """The first member of Age without parameters; 0 if that is no number (RFC 9111 §5.1)."""
    first = stated.partition(b",")[0].partition(b";")[0]
    return delta_seconds(first.strip(b" \t")) or 0


def spread(given: Lifetime, *, share: float, roll: float) -> Lifetime:
    """The lifetime as it is stored. What the route gives varies by up to `share`, up or down.

    Entries stored together then do not expire together; `roll` is uniform in [0, 1).
    """
    if given.source not in _OF_THE_ROUTE:
        return given
    return Lifetime(given.seconds * (1 + share * (2 * roll - 1)), given.source)


def refresh_age(given: Lifetime, *, share: float, roll: float) -> float | None:
    """The age at which an entry is refreshed although it is fresh, up to `share` before its end.

    Only where the origin or a heuristic set the end, which therefore stays. None: not before it is stale.
    """
    if given.source in _OF_THE_ROUTE or given.seconds <= 0 or share <= 0:
        return None
    return given.seconds * (1 - share * roll)
