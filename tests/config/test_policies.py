from __future__ import annotations

from proxy.config.policies import caching, in_force
from tests.support.configs import config, route


def test_defaults_are_in_force_where_unmatched_requests_are_cached() -> None:
    both = config(routes=[route()], unmatched="cache")

    assert [placed.path for placed in in_force(both)] == [("routes", 0), ("defaults",)]
    assert [placed.path for placed in in_force(config(routes=[route()]))] == [("routes", 0)]
    assert [placed.path for placed in in_force(config())] == [("defaults",)]


def test_value_is_placed_where_it_was_written() -> None:
    given = config(routes=[route(ttl="1m")], defaults={"jitter": "5%"})
    (placed,) = in_force(given)

    assert placed.at("ttl") == ("routes", 0, "ttl")
    assert placed.at("jitter") == ("defaults", "jitter")
    assert placed.at("keep") == ("defaults", "keep")


def test_route_that_stores_nothing_is_not_caching() -> None:
    given = config(routes=[route(cache=False)])

    assert list(caching(given)) == []
