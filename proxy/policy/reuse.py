"""How may a stored response be used for this request, now (RFC 9111 §4)? Asked for every hit.

Knows neither where the response was found nor what the origin will say. Ages are seconds.
"""

from __future__ import annotations

from enum import Enum
from math import log
from typing import NamedTuple

from proxy.config.schema import RoutePolicy
from proxy.model import LifetimeSource, Reason, Request, Rule, StoredResponse, Validity
from proxy.policy.bypass import authorization_is_covered, cookies_are_covered
from proxy.policy.directives import RequestDirectives, request_directives
from proxy.policy.failures import is_error_status
from proxy.policy.staleness import error_window, may_be_stale, revalidation_window

_GONE = frozenset({Validity.DEAD, Validity.UNSYNCED})
_UNPROVEN = frozenset({Validity.DEAD, Validity.DISTRUSTED})
_IGNORED = RequestDirectives()


class Reuse(Enum):
    """What to do with a stored response."""

    FRESH = "fresh"
    """Serve it."""
    REFRESH = "refresh"
    """Serve it now, and refresh it in the background."""
    VALIDATE_FIRST = "validate-first"
    """Not before the origin has said that it holds; without a validator that means: fetch."""
    PASS = "pass"  # noqa: S105 - a decision, no password
    """It is not for this request."""
    MISS = "miss"
    """As if it were not there."""


class Decision(NamedTuple):
    """A use, and what the client is told of it."""

    reuse: Reuse
    stale: bool = False
    """Its lifetime has ended, or it may never be used unvalidated. False with VALIDATE_FIRST: the request
    wants more than what is stored."""
    reason: Reason | None = None
    """Whose response it is, with PASS."""
    seconds_left: float = 0.0
    """Freshness left; negative once stale."""


def decide(
    stored: StoredResponse,
    validity: Validity,
    request: Request,
    directives: RequestDirectives,
    policy: RoutePolicy,
    *,
    now: float,
    roll: float,
) -> Decision:
    """The use of `stored` at `now` (epoch seconds); `roll` is uniform in [0, 1)."""
    if validity in _GONE:
        return Decision(Reuse.MISS)
    reason = _reason_to_pass(stored, request, policy)
    if reason is not None:
        return Decision(Reuse.PASS, reason=reason)
    age = stored.age(now)
    left = stored.lifetime - age
    if validity is Validity.DISTRUSTED:
        use = Reuse.VALIDATE_FIRST if has_validator(stored) else Reuse.MISS
        return Decision(use, stale=True, seconds_left=left)
    if validity is Validity.STALE:
        left = min(left, 0.0)
    asked = directives if policy.client_cache_control == "honour" else _IGNORED
    if Rule.NO_CACHE in stored.rules or _wants_more(asked, age, left):
        is_stale = left <= 0 or Rule.NO_CACHE in stored.rules
        return Decision(Reuse.VALIDATE_FIRST, stale=is_stale, seconds_left=left)
    if left > 0:
        return Decision(_use_of_fresh(stored, policy, age, roll), seconds_left=left)
    return Decision(_use_of_stale(stored, asked, policy, -left), stale=True, seconds_left=left)


def has_validator(stored: StoredResponse) -> bool:
    """Can the origin confirm it with a 304?"""
    return stored.etag is not None or stored.last_modified is not None


def may_answer_error(
    stored: StoredResponse, validity: Validity, request: Request, policy: RoutePolicy, *, now: float
) -> bool:
    """May it stand in for the origin, which failed (RFC 5861 §4)? What an invalidation took back never may.

    A replica that is cut off from the log may: what it holds is all there is, and Cache-Status says so.
    """
    if validity in _UNPROVEN or is_error_status(stored.status) or Rule.NO_CACHE in stored.rules:
        return False
    if _reason_to_pass(stored, request, policy) is not None:
        return False
    overdue = stored.age(now) - stored.lifetime
    if overdue < 0 and validity is not Validity.STALE:
        return True
    asked = request_directives(request.fields) if policy.client_cache_control == "honour" else _IGNORED
    window = error_window(stored.rules, stored.stale_if_error, policy, asked=asked.stale_if_error)
    return max(overdue, 0.0) < window


def _reason_to_pass(stored: StoredResponse, request: Request, policy: RoutePolicy) -> Reason | None:
    """Whose it is, if it is not for this request."""
    is_shared = Rule.AUTHORIZATION_SHARED in stored.rules
    if not is_shared and not authorization_is_covered(request, policy):
        return Reason.AUTHORIZATION
    # Who states a lifetime for all says that cookies do not matter; a route or a heuristic does not know.
    if stored.source is not LifetimeSource.ORIGIN and not cookies_are_covered(request, policy):
        return Reason.COOKIE
    return None


def _wants_more(asked: RequestDirectives, age: float, left: float) -> bool:
    """Does the client want it younger, or fresh for longer (RFC 9111 §5.2.1)?"""
    is_too_old = asked.max_age is not None and age > asked.max_age
    ends_too_soon = asked.min_fresh is not None and left < asked.min_fresh
    return asked.no_cache or is_too_old or ends_too_soon


def _use_of_fresh(stored: StoredResponse, policy: RoutePolicy, age: float, roll: float) -> Reuse:
    if stored.refresh_age is not None and age >= stored.refresh_age:
        return Reuse.REFRESH
    if not policy.early_refresh or Rule.IMMUTABLE in stored.rules:
        return Reuse.FRESH
    # XFetch: likelier toward the end, and the sooner the longer a fetch takes. 1 - roll is never 0.
    lead_seconds = -stored.fetch_seconds * log(1 - roll)
    return Reuse.REFRESH if age + lead_seconds >= stored.lifetime else Reuse.FRESH


def _use_of_stale(
    stored: StoredResponse, asked: RequestDirectives, policy: RoutePolicy, overdue: float
) -> Reuse:
    if asked.max_stale is not None and overdue <= asked.max_stale and may_be_stale(stored.rules):
        return Reuse.REFRESH
    if asked.max_age is not None:  # RFC 9111 §5.2.1.1: unless max-stale is there, stale will not do
        return Reuse.VALIDATE_FIRST
    window = revalidation_window(stored.rules, stored.stale_while_revalidate, policy)
    return Reuse.REFRESH if overdue < window else Reuse.VALIDATE_FIRST
