from __future__ import annotations

from typing import Any

import pytest

from proxy.config.origin import Origin


def origin(**given: Any) -> Origin:
    return Origin.model_validate({"url": "http://h", **given})


@pytest.mark.parametrize(
    ("connections", "in_flight", "idle"), [(256, 128, 4), (128, 128, 4), (64, 64, 4), (2, 2, 2)]
)
def test_smaller_pool_lowers_the_defaults_that_depend_on_it(
    connections: int, in_flight: int, idle: int
) -> None:
    smaller = origin(pool={"max_connections": connections})

    assert (smaller.max_in_flight, smaller.pool.min_idle) == (in_flight, idle)


def test_what_is_given_stands() -> None:
    given = origin(pool={"max_connections": 2, "min_idle": 0}, max_in_flight=1)

    assert (given.max_in_flight, given.pool.min_idle) == (1, 0)


def test_host_is_the_clients_or_a_name() -> None:
    assert origin().host == "preserve"
    assert origin(host="API.example.com").host == "api.example.com"
