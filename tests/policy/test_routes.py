from typing import Any

import pytest

from proxy.model import Reason
from proxy.policy.routes import UNMATCHED
from tests.support.routing import get, routes_of
from tests.support.targets import UNSAFE_TARGETS

SHOP: list[dict[str, Any]] = [
    {"name": "static", "match": {"path": "/static/**"}},
    {"name": "special", "match": {"path": "/products/special"}},
    {"name": "product", "match": {"path": "/products/{id}", "methods": ["GET"]}},
    {"name": "orders", "match": {"path": "/orders/{id}", "methods": ["POST", "HEAD"]}},
    {"name": "cart", "match": {"path": "/cart/**"}, "cache": False},
    {"name": "suffix", "match": {"path": "/{section}/export.csv"}},
    {"name": "root", "match": {"path": "/"}},
    {"name": "shadowed", "match": {"path": "/products/late"}},
]
"""Several first segments, a pattern that starts with any, and a route that another one hides."""
TAKEN = [
    ("GET", b"/static/a/b.js", "static", {}),
    ("GET", b"/static", "static", {}),
    ("GET", b"/static/export.csv", "static", {}),
    ("GET", b"/products/special", "special", {}),
    ("DELETE", b"/products/special", "special", {}),
    ("GET", b"/products/42", "product", {"id": "42"}),
    ("GET", b"/products/42?x=/../", "product", {"id": "42"}),
    ("GET", b"/%70roducts/4%32", "product", {"id": "42"}),
    ("HEAD", b"/products/42", "product", {"id": "42"}),
    ("GET", b"/products/late", "product", {"id": "late"}),
    ("GET", b"/products/export.csv", "product", {"id": "export.csv"}),
    ("POST", b"/products/late", "shadowed", {}),
    ("POST", b"/products/export.csv", "suffix", {"section": "products"}),
    ("POST", b"/products/42", UNMATCHED, {}),
    ("get", b"/products/42", UNMATCHED, {}),
    ("POST", b"/orders/1", "orders", {"id": "1"}),
    ("HEAD", b"/orders/1", "orders", {"id": "1"}),
    ("GET", b"/orders/1", UNMATCHED, {}),
    ("GET", b"/cart/1", "cart", {}),
    ("GET", b"/users/export.csv", "suffix", {"section": "users"}),
    ("GET", b"/", "root", {}),
    ("GET", b"/?a", "root", {}),
    ("GET", b"/users", UNMATCHED, {}),
    ("GET", b"/Products/42", UNMATCHED, {}),
]


@pytest.mark.parametrize(("method", "target", "route", "params"), TAKEN)
def test_first_route_that_matches_decides(
    method: str, target: bytes, route: str, params: dict[str, str]
) -> None:
    tagged = [{**one, "tags": ["id={id}", "section={section}"]} for one in SHOP]
    match = routes_of(*tagged).match(get(target, method=method))

    tags = tuple(f"{name}={part}".encode() for name, part in params.items())
    assert (match.route.name, match.route.tags.of(target)) == (route, tags)


def test_methods_are_those_listed_and_head_with_get() -> None:
    routes = routes_of(*SHOP)

    assert routes.match(get(b"/static/a")).route.methods is None
    assert routes.match(get(b"/products/1")).route.methods == {"GET", "HEAD"}
    assert routes.match(get(b"/orders/1", method="POST")).route.methods == {"POST", "HEAD"}


@pytest.mark.parametrize(
    ("target", "is_cacheable", "reason"),
    [
        (b"/products/1", True, None),
        (b"/cart/1", False, Reason.ROUTE),
        (b"/users", False, Reason.ROUTE),
        (b"/products/..%2fcart", False, Reason.UNSAFE_TARGET),
    ],
)
def test_match_says_why_it_may_not_be_cached(
    target: bytes, is_cacheable: bool, reason: Reason | None
) -> None:
    match = routes_of(*SHOP).match(get(target))

    assert (match.route.is_cacheable, match.reason) == (is_cacheable, reason)


@pytest.mark.parametrize("target", UNSAFE_TARGETS)
def test_unsafe_target_matches_no_cacheable_route(target: bytes) -> None:
    routes = routes_of({"name": "all", "match": {"path": "/**"}}, unmatched="cache")

    match = routes.match(get(target))

    assert (match.route.name, match.route.is_cacheable) == (UNMATCHED, False)
    assert match.reason is Reason.UNSAFE_TARGET
    assert routes.cacheable_for_url(None, target) == ()
    assert routes.for_url(b"shop", target) is None


@pytest.mark.parametrize(
    ("target", "reachable"),
    [
        (b"/account", "account"),
        (b"/account;x.css", "css"),
        (b"/account/x.css", "static"),
        (b"/account/.css", "static"),
        (b"/account.css", "css"),
    ],
)
def test_suffix_after_a_delimiter_is_never_the_private_route(target: bytes, reachable: str) -> None:
    routes = routes_of(
        {"name": "account", "match": {"path": "/account"}, "cache": False},
        {"name": "css", "match": {"path": "/*.css"}},
        {"name": "static", "match": {"path": "/*/*.css"}},
    )

    assert routes.match(get(target)).route.name == reachable


@pytest.mark.parametrize(
    ("routes", "config", "is_cacheable"),
    [
        ([], {}, True),
        ([], {"unmatched": "cache"}, True),
        ([], {"unmatched": "pass"}, False),
        (SHOP, {}, False),
        (SHOP, {"unmatched": "pass"}, False),
        (SHOP, {"unmatched": "cache"}, True),
        (SHOP, {"unmatched": "cache", "defaults": {"cache": False}}, False),
        ([], {"defaults": {"cache": False}}, False),
    ],
)
def test_unmatched_is_cached_where_asked_for_or_without_routes(
    routes: list[dict[str, Any]], config: dict[str, Any], is_cacheable: bool
) -> None:
    compiled = routes_of(*routes, **config)

    match = compiled.match(get(b"/users"))

    assert (match.route.name, match.route.is_cacheable) == (UNMATCHED, is_cacheable)
    assert match.reason is (None if is_cacheable else Reason.ROUTE)
    assert (compiled.for_url(b"shop", b"/users") is match.route) == is_cacheable


def test_unmatched_has_the_defaults_as_its_policy() -> None:
    match = routes_of(defaults={"ttl": "7s", "key": {"headers": ["X-A"]}}).match(get(b"/users"))

    assert match.route.policy.ttl == 7
    assert match.route.recipe.headers == (b"x-a",)


def test_names_are_those_of_the_configuration_in_order_and_unmatched() -> None:
    assert routes_of(*SHOP[:2]).names == ("static", "special", UNMATCHED)
    assert routes_of().names == (UNMATCHED,)


HOSTS: list[dict[str, Any]] = [
    {"name": "a", "match": {"path": "/x/*", "host": "a.example"}},
    {"name": "a-again", "match": {"path": "/x/1", "host": "a.example"}},
    {"name": "b", "match": {"path": "/x/*", "host": "b.example"}, "cache": False},
    {"name": "v6", "match": {"path": "/x/*", "host": "::1"}},
    {"name": "posts", "match": {"path": "/x/*", "methods": ["POST"]}},
    {"name": "any", "match": {"path": "/x/**"}},
    {"name": "after-any", "match": {"path": "/x/*", "host": "c.example"}},
]


@pytest.mark.parametrize(
    ("host", "route"),
    [
        (b"a.example", "a"),
        (b"a.example:8080", "a"),
        (b"xa.example", "any"),
        (b"a.example.evil", "any"),
        (b"b.example", "b"),
        (b"c.example", "any"),
        (b"[::1]", "v6"),
        (b"[::1]:8080", "v6"),
        (b"", "any"),
    ],
)
def test_host_is_compared_without_its_port(host: bytes, route: str) -> None:
    assert routes_of(*HOSTS).match(get(b"/x/1", host=host)).route.name == route


@pytest.mark.parametrize(
    ("host", "target", "names"),
    [
        (b"a.example", b"/x/1?q", ["a"]),
        (b"a.example:81", b"/x/1", ["a"]),
        (b"b.example", b"/x/1", []),
        (b"z.example", b"/x/1", ["any"]),
        (None, b"/x/1", ["a", "v6", "any"]),
        (None, b"/x/1/2", ["any"]),
        (b"a.example", b"/y", []),
        (None, b"/y", []),
    ],
)
def test_url_is_kept_under_the_route_that_a_get_takes(
    host: bytes | None, target: bytes, names: list[str]
) -> None:
    routes = routes_of(*HOSTS)
    first = routes.for_url(host, target)

    assert [route.name for route in routes.cacheable_for_url(host, target)] == names
    assert (first.name if first else None) == (names[0] if names else None)


def test_url_of_any_host_may_be_kept_under_unmatched_beside_the_routes_of_hosts() -> None:
    routes = routes_of(HOSTS[0], unmatched="cache")

    assert [route.name for route in routes.cacheable_for_url(None, b"/x/1")] == ["a", UNMATCHED]
    assert [route.name for route in routes.cacheable_for_url(b"a.example", b"/x/1")] == ["a"]


def test_url_is_never_kept_under_a_route_without_get() -> None:
    assert routes_of(*SHOP).for_url(b"shop", b"/orders/1") is None


def test_route_is_found_among_many() -> None:
    many = [{"name": f"r{number}", "match": {"path": f"/r{number}/*"}} for number in range(500)]
    routes = routes_of(*many, {"name": "any", "match": {"path": "/*/*"}})

    assert routes.match(get(b"/r499/1")).route.name == "r499"
    assert routes.match(get(b"/r500/1")).route.name == "any"
    assert len(routes._candidates[b"r499"]) == 2


def test_policies_under_which_answers_may_be_stored_are_known_by_name() -> None:
    listed = [
        {"name": "a", "match": {"path": "/a"}, "ttl": "1m"},
        {"name": "b", "match": {"path": "/b"}, "cache": False},
    ]
    passing, caching = routes_of(*listed), routes_of(*listed, unmatched="cache")

    assert passing.caching.keys() == {"a"}
    assert caching.caching.keys() == {"a", "unmatched"}
    assert passing.caching["a"].ttl == 60.0
