"""In which cases the cache is not even asked, and whether a key tells apart what a request says of its user.

Only what the request and the route say. What a stored or fetched response allows is `reuse.py`'s and
`storing.py`'s, as is the request's own Cache-Control.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.config.schema import RoutePolicy
from proxy.model import NO_FIELDS, Fields, Forward, Reason, Request
from proxy.policy.cookies import read_cookies
from proxy.policy.recipe import Recipe
from proxy.policy.routes import RouteMatch

_CACHED_METHODS = frozenset({"GET", "HEAD"})
_HOP_BY_HOP = frozenset(
    {
        b"",
        b"close",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Connection options that take no field from the request which it would not lose anyway."""


class Bypass(Struct, frozen=True):
    """The request goes to the origin, and its answer is not stored: in the words of RFC 9211, and why."""

    forward: Forward
    reason: Reason


_OF_METHOD = Bypass(Forward.METHOD, Reason.METHOD)


def bypass(request: Request, match: RouteMatch) -> Bypass | None:
    """None: the cache may be asked."""
    if match.reason is not None:
        return Bypass(Forward.BYPASS, match.reason)
    if request.method not in _CACHED_METHODS:
        return _OF_METHOD
    says_nothing = request.fields is NO_FIELDS and request.body is None and not request.upgrade
    reason = None if says_nothing else _reason_in_request(request, match.route.recipe)
    return Bypass(Forward.BYPASS, reason) if reason is not None else None


def _reason_in_request(request: Request, recipe: Recipe) -> Reason | None:
    if request.body is not None:
        return Reason.BODY
    if request.upgrade:
        return Reason.UPGRADE
    names = request.fields.names()
    if b"connection" in names and _nominates_fields(request.fields):
        return Reason.CONNECTION_OPTION
    if not recipe.bypass_headers.isdisjoint(names):
        return Reason.BYPASS_WHEN
    if recipe.bypass_cookies and b"cookie" in names and _has_cookie(request.fields, recipe.bypass_cookies):
        return Reason.BYPASS_WHEN
    return None


def _nominates_fields(fields: Fields) -> bool:
    """Does Connection name a field that the key may hold, but the origin would not see (RFC 9110 §7.6.1)?"""
    options = fields.combined(b"connection") or b""
    return not _HOP_BY_HOP.issuperset(option.strip(b" \t") for option in options.lower().split(b","))


def _has_cookie(fields: Fields, names: frozenset[bytes]) -> bool:
    cookies = read_cookies(fields)
    return cookies is None or any(cookie.name in names for cookie in cookies)


def cookies_are_covered(request: Request, policy: RoutePolicy) -> bool:
    """May an entry that states no lifetime of its own answer this request, as far as its cookies go?

    Yes where there are none, where the policy shares, ignores or keys on them all, or each by its name.
    """
    if b"cookie" not in request.fields:
        return True
    if policy.identity.kind == "shared" or policy.ignore_cookies is True or _keys_on(policy, "cookie"):
        return True
    cookies = read_cookies(request.fields)
    if cookies is None:
        return False
    covered = _covered_cookies(policy)
    return all(cookie.name.decode("latin-1") in covered for cookie in cookies)


def _covered_cookies(policy: RoutePolicy) -> frozenset[str]:
    ignored = policy.ignore_cookies if isinstance(policy.ignore_cookies, tuple) else ()
    own = (policy.identity.name,) if policy.identity.kind == "cookie" else ()
    return frozenset((*policy.key.cookies, *ignored, *own))


def authorization_is_covered(request: Request, policy: RoutePolicy) -> bool:
    """Does the key tell this request's Authorization apart, or may it be shared by the operator's word?"""
    if b"authorization" not in request.fields:
        return True
    return policy.identity.kind == "shared" or _keys_on(policy, "authorization")


def _keys_on(policy: RoutePolicy, field_name: str) -> bool:
    is_identity = policy.identity.kind == "header" and policy.identity.name.lower() == field_name
    return is_identity or field_name in policy.key.headers
