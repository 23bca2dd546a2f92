from typing import Any

import pytest

from proxy.policy.recipe import FORWARDING_OVERRIDES, spellings
from tests.support.routing import route_of, routes_of

SHAPE_CHANGES: list[dict[str, Any]] = [
    {"match": {"path": "/b"}},
    {"match": {"path": "/a", "methods": ["GET"]}},
    {"match": {"path": "/a", "host": "shop"}},
    {"key": {"query": {"include": []}}},
    {"key": {"query": {"include": ["page"]}}},
    {"key": {"query": {"forward": "keyed"}}},
    {"key": {"headers": ["X-A"]}},
    {"key": {"cookies": ["x-a"]}},
    {"identity": "shared"},
    {"identity": {"header": "X-A"}},
    {"identity": {"cookie": "x-a"}},
    {"ignore_cookies": True},
    {"ignore_cookies": ["x-a"]},
    {"bypass_when": {"headers": ["X-A"]}},
    {"bypass_when": {"cookies": ["x-a"]}},
    {"override": ["private"]},
    {"override": ["set-cookie"]},
]
SHAPE_KEPT: list[dict[str, Any]] = [
    {"name": "renamed"},
    {"ttl": "5m"},
    {"l1_ttl": "1s"},
    {"stale_while_revalidate": "1m"},
    {"negative": {404: "1s"}},
    {"jitter": "0%"},
    {"coalesce": False},
    {"max_variants": 3},
    {"tags": ["a"]},
    {"client_cache_control": "ignore"},
]


def shape(*, profile: str = "safe", port: int = 1, **changes: Any) -> bytes:
    route: dict[str, Any] = {"name": "a", "match": {"path": "/a"}, **changes}
    compiled = routes_of(route, profile=profile, origin={"url": f"http://127.0.0.1:{port}"})
    chosen = compiled.for_url(b"shop", route["match"]["path"].encode())
    assert chosen is not None
    return chosen.shape


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"forwarded", {b"forwarded"}),
        (b"x-host", {b"x-host", b"x_host"}),
        (b"x_host", {b"x_host"}),
        (b"a-b-c", {b"a-b-c", b"a_b-c", b"a-b_c", b"a_b_c"}),
        (b"-a-", {b"-a-", b"_a-", b"-a_", b"_a_"}),
    ],
)
def test_each_dash_may_be_an_underscore(name: bytes, expected: set[bytes]) -> None:
    assert spellings(name) == expected


def test_number_of_spellings_is_bounded() -> None:
    assert len(spellings(b"a-a-a-a-a-a-a-a")) == 128
    assert spellings(b"a-a-a-a-a-a-a-a-a") == {b"a-a-a-a-a-a-a-a-a", b"a_a_a_a_a_a_a_a_a"}


def test_client_address_is_no_override() -> None:
    assert b"x-forwarded-host" in FORWARDING_OVERRIDES
    assert b"x_forwarded-host" in FORWARDING_OVERRIDES
    assert b"x-forwarded-for" not in FORWARDING_OVERRIDES


def test_default_policy_keys_on_the_whole_query_and_nothing_else() -> None:
    recipe = route_of().recipe

    assert recipe.headers == recipe.cookies == ()
    assert recipe.query_names is None
    assert not recipe.forwards_keyed
    assert not recipe.bypass_headers | recipe.bypass_cookies
    assert recipe.overrides == FORWARDING_OVERRIDES


def test_names_of_headers_are_lower_case_and_of_cookies_are_not() -> None:
    recipe = route_of(
        key={"headers": ["X-A"], "cookies": ["C-c"]},
        bypass_when={"headers": ["X-B"], "cookies": ["D-d"]},
    ).recipe

    assert recipe.headers == (b"x-a",)
    assert recipe.cookies == (b"C-c",)
    assert recipe.bypass_headers == {b"x-b", b"x_b"}
    assert recipe.bypass_cookies == {b"D-d"}


def test_identity_is_keyed_beside_what_the_key_lists() -> None:
    by_header = route_of(key={"headers": ["X-A"]}, identity={"header": "Authorization"}).recipe
    by_cookie = route_of(key={"cookies": ["c"]}, identity={"cookie": "Sid"}).recipe

    assert by_header.headers == (b"x-a", b"authorization")
    assert by_header.cookies == ()
    assert by_cookie.cookies == (b"c", b"Sid")
    assert by_cookie.headers == ()


def test_other_spellings_of_keyed_fields_are_keyed_where_present() -> None:
    recipe = route_of(key={"headers": ["X-Tenant", "X-Host"]}).recipe

    assert b"x_tenant" in recipe.overrides
    assert b"x_host" in recipe.overrides
    assert not recipe.overrides & {b"x-tenant", b"x-host"}


@pytest.mark.parametrize("changes", SHAPE_CHANGES, ids=str)
def test_what_decides_whom_an_entry_may_answer_changes_the_shape(changes: dict[str, Any]) -> None:
    assert shape(**changes) != shape()


def test_no_two_of_these_policies_share_a_shape() -> None:
    shapes = {shape(**changes) for changes in SHAPE_CHANGES}

    assert len(shapes) == len(SHAPE_CHANGES)
    assert all(len(one) == 16 for one in shapes)


@pytest.mark.parametrize("changes", SHAPE_KEPT, ids=str)
def test_names_and_lifetimes_leave_the_shape(changes: dict[str, Any]) -> None:
    assert shape(**changes) == shape()


def test_profile_changes_the_shape_and_the_origins_address_does_not() -> None:
    assert shape(profile="rfc9111") != shape()
    assert shape(port=2) == shape()


def test_order_of_overrides_leaves_the_shape() -> None:
    assert shape(override=["private", "no-store"]) == shape(override=["no-store", "private"])


def test_shape_is_the_same_in_every_process() -> None:
    # A change of this value empties every L2 once: make it knowingly.
    assert shape().hex() == "66a559c52c6f236697c2e8466cc9acca"
