"""What a plan depends on: nothing but method, target, host and the fields that are said to tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.engine.plan import Plan, make_plan
from proxy.model import NO_FIELDS, FieldLine, Forward, LifetimeSource, Reason, Request, Rule, Validity
from proxy.policy.bypass import Bypass
from proxy.policy.cache_key import make_key
from proxy.policy.directives import RequestDirectives
from proxy.policy.reuse import Decision, decide
from proxy.policy.routes import Routes
from tests.support.entries import NOW, response
from tests.support.routing import SECRET, get, routes_of

RULES = [
    {"key": {"headers": ["X-Tenant"]}},
    {"key": {"headers": ["Authorization"], "cookies": ["group"]}},
    {"key": {"query": {"include": ["page"], "forward": "keyed"}}},
    {"identity": {"header": "X-User-Id"}},
    {"identity": {"cookie": "session"}},
    {"identity": "shared", "ignore_cookies": True},
    {"bypass_when": {"headers": ["X-Preview"], "cookies": ["admin"]}},
    {"client_cache_control": "ignore", "ignore_cookies": ["theme"]},
    {"cache": False},
]
NAMES = [
    b"accept",
    b"accept-language",
    b"authorization",
    b"cache-control",
    b"connection",
    b"cookie",
    b"forwarded",
    b"if-none-match",
    b"pragma",
    b"referer",
    b"traceparent",
    b"user-agent",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-http-method-override",
    b"x-preview",
    b"x-request-id",
    b"x-tenant",
    b"x-user-id",
    b"x_forwarded-host",
    b"x_tenant",
]
VALUES = [
    b"",
    b"1",
    b"2",
    b"no-cache",
    b"max-age=5",
    b"close",
    b"x-tenant",
    b"session=1",
    b"group=a; theme=b",
    b"admin=1",
]
STORED = [
    response(now=NOW, ttl=60),
    response(now=NOW, ttl=60, source=LifetimeSource.ROUTE),
    response(now=NOW, ttl=60, rules=Rule.AUTHORIZATION_SHARED),
    response(now=NOW, ttl=8, stale_while_revalidate=50),
]

FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=6)
ROUTES = st.lists(st.sampled_from(RULES), min_size=1, max_size=3).map(
    lambda rules: routes_of(
        *(
            {"name": f"r{number}", "match": {"path": f"/{number}/**"}, **rule}
            for number, rule in enumerate(rules)
        )
    )
)
TARGETS = st.sampled_from([b"/0/a", b"/0/a?page=1&x=2", b"/1/b", b"/2/c", b"/elsewhere", b"/0/../1"])


def plan(request: Request, routes: Routes) -> Plan:
    return make_plan(request, routes, secret=SECRET)


def said(made: Plan) -> tuple[Plan, list[Decision]]:
    """All that a plan says, and what follows from it for stored responses."""
    return made, decisions(made)


def decisions(made: Plan) -> list[Decision]:
    return [
        decide(stored, Validity.ALIVE, made.asked, made.policy, now=NOW + 10, roll=0.5) for stored in STORED
    ]


def telling_only(request: Request, routes: Routes) -> Request:
    unheard = request.fields.names() - routes.telling_fields
    return get(
        request.target, *request.fields.without(unheard).lines, method=request.method, host=request.host
    )


@given(ROUTES, TARGETS, FIELDS, st.sampled_from(["GET", "HEAD"]))
def test_a_plan_depends_on_no_field_that_does_not_tell(
    routes: Routes, target: bytes, lines: list[FieldLine], method: str
) -> None:
    request = get(target, *lines, method=method)

    assert said(plan(request, routes)) == said(plan(telling_only(request, routes), routes))


@given(ROUTES, TARGETS, st.sampled_from(["GET", "HEAD", "POST"]), st.binary(max_size=3))
def test_a_plan_made_without_fields_is_that_of_a_request_that_has_none(
    routes: Routes, target: bytes, method: str, host: bytes
) -> None:
    request = get(target, method=method, host=host)

    assert said(plan(replace(request, fields=NO_FIELDS), routes)) == said(plan(request, routes))


# A route's policy, and two lists of fields whose plans differ: the property above is not an empty one.
TELLING: list[tuple[dict[str, Any], FieldLine]] = [
    ({}, (b"Authorization", b"x")),
    ({}, (b"Cache-Control", b"no-cache")),
    ({}, (b"Pragma", b"no-cache")),
    ({}, (b"Connection", b"x-tenant")),
    ({}, (b"Cookie", b"a=1")),
    ({}, (b"X-Forwarded-Host", b"evil")),
    ({}, (b"X_Forwarded-Host", b"evil")),
    ({"key": {"headers": ["X-Tenant"]}}, (b"X-Tenant", b"1")),
    ({"key": {"headers": ["X-Tenant"]}}, (b"X_Tenant", b"1")),
    ({"key": {"cookies": ["group"]}}, (b"Cookie", b"group=a")),
    ({"identity": {"header": "X-User-Id"}}, (b"X-User-Id", b"7")),
    ({"identity": {"cookie": "session"}}, (b"Cookie", b"session=7")),
    ({"bypass_when": {"headers": ["X-Preview"]}}, (b"X-Preview", b"")),
    ({"bypass_when": {"cookies": ["admin"]}}, (b"Cookie", b"admin=1")),
]


@pytest.mark.parametrize(("policy", "line"), TELLING)
def test_a_telling_field_changes_the_plan(policy: dict[str, Any], line: FieldLine) -> None:
    routes = routes_of({"name": "all", "match": {"path": "/**"}, **policy})

    assert line[0].lower() in routes.telling_fields
    assert said(plan(get(b"/", line), routes)) != said(plan(get(), routes))


def test_fields_that_differ_with_every_request_do_not_tell() -> None:
    assert routes_of().telling_fields.isdisjoint(
        {b"traceparent", b"x-request-id", b"x-forwarded-for", b"user-agent", b"if-none-match", b"accept"}
    )


def test_the_policy_of_unmatched_requests_tells_too() -> None:
    routes = routes_of(unmatched="cache", defaults={"key": {"headers": ["X-Tenant"]}})

    assert b"x-tenant" in routes.telling_fields


def test_a_request_for_the_cache_has_a_key_and_no_refusal() -> None:
    routes = routes_of({"name": "product", "match": {"path": "/products/{id}"}, "tags": ["product:{id}"]})
    request = get(b"/products/7", (b"Cache-Control", b"no-cache"))
    made = plan(request, routes)
    key = make_key(request, made.match.route, secret=SECRET)

    assert (made.refusal, made.route) == (None, "product")
    assert (made.key, made.digest) == (key, key.digest)
    assert made.match.route.tags.of(request.target) == (b"product:7",)
    assert made.directives == RequestDirectives(no_cache=True)


REFUSED = [
    (get(method="POST"), Bypass(Forward.METHOD, Reason.METHOD)),
    (get(b"/off"), Bypass(Forward.BYPASS, Reason.ROUTE)),
    (get(b"/a/../b"), Bypass(Forward.BYPASS, Reason.UNSAFE_TARGET)),
    (get(b"/", (b"Connection", b"cookie")), Bypass(Forward.BYPASS, Reason.CONNECTION_OPTION)),
]


@pytest.mark.parametrize(("request_", "refusal"), REFUSED)
def test_a_request_that_the_cache_is_not_asked_for_has_no_key(request_: Request, refusal: Bypass) -> None:
    made = plan(
        request_,
        routes_of(
            {"name": "off", "match": {"path": "/off"}, "cache": False},
            {"name": "all", "match": {"path": "/**"}},
        ),
    )

    assert (made.refusal, made.key, made.digest) == (refusal, None, b"")


def test_a_lookup_is_of_the_request_that_asks_not_of_the_one_that_was_planned() -> None:
    routes = routes_of({"name": "all", "match": {"path": "/**"}})
    made = plan(get(), routes)
    asking = get(b"/", (b"Accept-Language", b"de"))
    lookup = made.lookup(asking)

    assert (lookup.request, lookup.match, lookup.asked) == (asking, made.match, made.asked)
    assert lookup.key is made.key
    assert lookup.entry_key == made.digest
    assert lookup is not made.lookup(asking)
