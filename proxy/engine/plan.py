"""What a request asks for, as far as it depends neither on the time nor on what is stored.

Made once for each request, and kept by the plain lane for all that ask the same.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.config.policy import RoutePolicy
from proxy.engine.lookup import Lookup
from proxy.model import NO_FIELDS, Request
from proxy.policy.bypass import Bypass, bypass
from proxy.policy.cache_key import CacheKey, make_key
from proxy.policy.directives import NOTHING_ASKED, RequestDirectives, request_directives
from proxy.policy.reuse import ANYONE, Asking, asking
from proxy.policy.routes import RouteMatch, Routes


class Plan(Struct, gc=False):
    """The route of a request, and either why the cache is not asked, or where it is."""

    match: RouteMatch
    refusal: Bypass | None
    directives: RequestDirectives
    asked: Asking
    digest: bytes
    """The primary key; empty where the cache is not asked."""
    key: CacheKey | None
    policy: RoutePolicy
    route: str

    def lookup(self, request: Request) -> Lookup:
        """The way of `request` through the tiers; only where there is no refusal."""
        key: CacheKey = self.key  # type: ignore[assignment]  # there is one; asking again takes a call
        return Lookup(request, self.match, self.directives, self.asked, key, self.policy, self.digest)


def make_plan(request: Request, routes: Routes, *, secret: bytes) -> Plan:
    """By the routes in force."""
    match = routes.match(request)
    route = match.route
    refusal = bypass(request, match)
    says_nothing = request.fields is NO_FIELDS
    directives = NOTHING_ASKED if says_nothing else request_directives(request.fields)
    if refusal is not None:
        return Plan(match, refusal, directives, ANYONE, b"", None, route.policy, route.name)
    key = make_key(request, route, secret=secret)
    asked = ANYONE if says_nothing else asking(request, directives, route.policy)
    return Plan(match, None, directives, asked, key.digest, key, route.policy, route.name)
