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
from proxy.policy.directives import NOTHING_ASKED, RequestDirectives
from proxy.policy.failures import is_error_status
from proxy.policy.staleness import error_window, may_be_stale, revalidation_window

ROUNDING_SECONDS = 0.001
_OF_SOMEBODY = frozenset({b"authorization", b"cookie"})


class Asking(NamedTuple):
    """What a request asks of every stored response: the same for all requests of one plan."""

    directives: RequestDirectives = NOTHING_ASKED
    """What counts of its Cache-Control on this route."""
    authorization_is_covered: bool = True
    """It has none, the key tells it apart, or the operator shares."""
    cookies_are_covered: bool = True


ANYONE = Asking()
"""Nothing but what anyone may have."""


def asking(request: Request, directives: RequestDirectives, policy: RoutePolicy) -> Asking:
    """What the request asks; `ANYONE` itself where that is nothing."""
    if directives is NOTHING_ASKED and _OF_SOMEBODY.isdisjoint(request.fields.names()):
        return ANYONE  # as most say
    counted = directives if policy.client_cache_control == "honour" else NOTHING_ASKED
    asked = Asking(counted, authorization_is_covered(request, policy), cookies_are_covered(request, policy))
    return ANYONE if asked == ANYONE else asked


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


def seconds_fresh(
    stored: StoredResponse, policy: RoutePolicy, *, now: float, roll: float
) -> tuple[float, float]:
    """Its age, and for how long anyone may have it, if it is alive; 0 or less where that takes a closer look.

    What nearly every hit comes to, so it is asked first: half the time of a whole decision.
    """
    age, lifetime, refresh_age = stored.ages(now)
    if stored.rules & Rule.NO_CACHE or _is_refresh_due(stored, policy, age, refresh_age, roll):
        return age, 0.0
    return age, lifetime - age


def seconds_alike(stored: StoredResponse, *, now: float) -> float:
    """For how long a fresh response has, in whole seconds, the same age and time left, and no refresh due.

    Without early refresh, which is diced for. A millisecond less, lest rounding make it an instant too long.
    """
    age, lifetime, refresh_age = stored.ages(now)
    until_refresh = refresh_age - age if refresh_age == refresh_age else lifetime  # noqa: PLR0124 - NaN: none
    return min(1 - age % 1, (lifetime - age) % 1, until_refresh) - ROUNDING_SECONDS


def decide(
    stored: StoredResponse,
    validity: Validity,
    asked: Asking,
    policy: RoutePolicy,
    *,
    now: float,
    roll: float,
) -> Decision:
    """The use of `stored` at `now` (epoch seconds); `roll` is uniform in [0, 1)."""
    if asked is ANYONE and validity is Validity.ALIVE:
        _, left = seconds_fresh(stored, policy, now=now, roll=roll)
        if left > 0:
            return Decision(Reuse.FRESH, seconds_left=left)
    return _decide_with_care(stored, validity, asked, policy, now=now, roll=roll)


def _decide_with_care(
    stored: StoredResponse,
    validity: Validity,
    asked: Asking,
    policy: RoutePolicy,
    *,
    now: float,
    roll: float,
) -> Decision:
    age, lifetime, refresh_age = stored.ages(now)
    left = lifetime - age
    if validity is Validity.DEAD or validity is Validity.UNSYNCED:
        return Decision(Reuse.MISS)
    reason = _reason_to_pass(stored, asked)
    if reason is not None:
        return Decision(Reuse.PASS, reason=reason)
    if validity is Validity.DISTRUSTED:
        use = Reuse.VALIDATE_FIRST if has_validator(stored) else Reuse.MISS
        return Decision(use, stale=True, seconds_left=left)
    if validity is Validity.STALE:
        left = min(left, 0.0)
    must_validate = stored.rules & Rule.NO_CACHE != 0
    if must_validate or _wants_more(asked.directives, age, left):
        return Decision(Reuse.VALIDATE_FIRST, stale=left <= 0 or must_validate, seconds_left=left)
    if left > 0:
        is_due = _is_refresh_due(stored, policy, age, refresh_age, roll)
        return Decision(Reuse.REFRESH if is_due else Reuse.FRESH, seconds_left=left)
    use = _use_of_stale(stored, asked.directives, policy, -left)
    return Decision(use, stale=True, seconds_left=left)


def has_validator(stored: StoredResponse) -> bool:
    """Can the origin confirm it with a 304?"""
    return stored.etag is not None or stored.last_modified is not None


def may_answer_error(
    stored: StoredResponse, validity: Validity, asked: Asking, policy: RoutePolicy, *, now: float
) -> bool:
    """May it stand in for the origin, which failed (RFC 5861 §4)? What an invalidation took back never may.

    A replica that is cut off from the log may: what it holds is all there is, and Cache-Status says so.
    """
    is_unproven = validity is Validity.DEAD or validity is Validity.DISTRUSTED
    if is_unproven or is_error_status(stored.status) or stored.rules & Rule.NO_CACHE:
        return False
    if _reason_to_pass(stored, asked) is not None:
        return False
    overdue = stored.age(now) - stored.lifetime
    if overdue < 0 and validity is not Validity.STALE:
        return True
    wished = asked.directives.stale_if_error
    return max(overdue, 0.0) < error_window(stored.rules, stored.stale_if_error, policy, asked=wished)


def _reason_to_pass(stored: StoredResponse, asked: Asking) -> Reason | None:
    """Whose it is, if it is not for this request."""
    if not (asked.authorization_is_covered or stored.rules & Rule.AUTHORIZATION_SHARED):
        return Reason.AUTHORIZATION
    # Who states a lifetime for all says that cookies do not matter; a route or a heuristic does not know.
    if not asked.cookies_are_covered and stored.source is not LifetimeSource.ORIGIN:
        return Reason.COOKIE
    return None


def _wants_more(asked: RequestDirectives, age: float, left: float) -> bool:
    """Does the client want it younger, or fresh for longer (RFC 9111 §5.2.1)?"""
    is_too_old = asked.max_age is not None and age > asked.max_age
    ends_too_soon = asked.min_fresh is not None and left < asked.min_fresh
    return asked.no_cache or is_too_old or ends_too_soon


def _is_refresh_due(
    stored: StoredResponse, policy: RoutePolicy, age: float, refresh_age: float, roll: float
) -> bool:
    """Of a fresh one."""
    if age >= refresh_age:  # never, where there is none: NaN
        return True
    if not policy.early_refresh or stored.rules & Rule.IMMUTABLE:
        return False
    # XFetch: likelier toward the end, and the sooner the longer a fetch takes. 1 - roll is never 0.
    lead_seconds = -stored.fetch_seconds * log(1 - roll)
    return age + lead_seconds >= stored.lifetime


def _use_of_stale(
    stored: StoredResponse, asked: RequestDirectives, policy: RoutePolicy, overdue: float
) -> Reuse:
    if asked.max_stale is not None and overdue <= asked.max_stale and may_be_stale(stored.rules):
        return Reuse.REFRESH
    if asked.max_age is not None:  # RFC 9111 §5.2.1.1: unless max-stale is there, stale will not do
        return Reuse.VALIDATE_FIRST
    window = revalidation_window(stored.rules, stored.stale_while_revalidate, policy)
    return Reuse.REFRESH if overdue < window else Reuse.VALIDATE_FIRST


def is_newer(response: StoredResponse, other: StoredResponse) -> bool:
    """Of two for one key, is it the more recent (RFC 9111 §4), and its request began no earlier?"""
    if response.received_at <= other.received_at:
        return False
    return other.born is None or (response.born is not None and response.born >= other.born)
