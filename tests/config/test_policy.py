from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.policy import Coalesce
from tests.support.configs import config, route


def test_route_inherits_what_it_does_not_give() -> None:
    (inheriting,) = config(
        defaults={"ttl": "5m", "jitter": "10%", "tags": ["all"]}, routes=[route(jitter="5%")]
    ).routes

    assert (inheriting.ttl, inheriting.jitter, inheriting.tags) == (300.0, 0.05, ("all",))
    assert inheriting.model_fields_set == {"name", "match", "jitter"}


def test_none_is_a_value_that_ends_inheritance() -> None:
    (ending,) = config(defaults={"ttl": "5m", "idle": "1m"}, routes=[route(ttl="none")]).routes

    assert (ending.ttl, ending.idle) == (None, 60.0)


def test_mapping_is_inherited_or_replaced_whole() -> None:
    defaults = {"negative": {404: "30s"}, "coalesce": {"scope": "process", "wait": "9s"}}
    one, other = config(
        defaults=defaults,
        routes=[
            route(coalesce={"scope": "fleet"}),
            {"name": "y", "match": {"path": "/y"}, "negative": {410: "1s"}},
        ],
    ).routes

    assert (one.coalesce.scope, one.coalesce.wait, one.negative.statuses) == ("fleet", 2.0, {404: 30.0})
    assert (other.coalesce.wait, other.negative.statuses) == (9.0, {410: 1.0})


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        (True, "auto"),
        ("yes", "auto"),
        (False, "off"),
        ("off", "off"),
        ({"scope": "fleet"}, "fleet"),
        ({}, "auto"),
    ],
)
def test_coalescing_is_a_flag_or_a_mapping(given: object, scope: str) -> None:
    assert Coalesce.model_validate(given).scope == scope


def test_names_are_normalised_as_requests_are_compared() -> None:
    (normalised,) = config(
        routes=[
            route(
                match={"path": "/x", "host": "API.Example.com."},
                key={"headers": ["Accept-Language"], "cookies": ["Sid"]},
                bypass_when={"headers": ["X-Preview"]},
            )
        ]
    ).routes

    assert normalised.match.host == "api.example.com"
    assert (normalised.key.headers, normalised.key.cookies) == (("accept-language",), ("Sid",))
    assert normalised.bypass_when.headers == ("x-preview",)


def test_key_on_no_parameter_differs_from_key_on_all() -> None:
    (none, every) = config(
        routes=[route(key={"query": {"include": []}}), {"name": "y", "match": {"path": "/y"}}]
    ).routes

    assert none.key.query.include == ()
    assert every.key.query.include is None


def test_tags_are_at_most_64() -> None:
    assert len(config(routes=[route(tags=["t"] * 64)]).routes[0].tags) == 64
    with pytest.raises(ValidationError, match="too_long"):
        config(routes=[route(tags=["t"] * 65)])


def test_routes_are_checked_although_the_defaults_are_faulty() -> None:
    with pytest.raises(ValidationError) as error:
        config(defaults={"ttl": "soon"}, routes=[route(), {"name": "y", "match": {"path": "y"}}])

    assert [details["loc"] for details in error.value.errors()][:2] == [
        ("defaults", "ttl"),
        ("routes", 1, "match", "path"),
    ]


def test_faulty_defaults_are_one_fault_however_many_routes_inherit_them() -> None:
    with pytest.raises(ValidationError) as error:
        config(defaults={"ttl": "soon"}, routes=[route()], unmatched="pass")

    assert [details["loc"] for details in error.value.errors()] == [("defaults", "ttl")]
