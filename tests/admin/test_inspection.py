"""Statistics are the metrics table as JSON; routes are those in force."""

import pytest

from proxy.admin.inspection import ProcessInspection, fleet_of, no_fleet
from proxy.observe.metrics import COUNTERS, GAUGES, Metrics
from tests.support.configs import config, route


def inspection(metrics: Metrics) -> ProcessInspection:
    shown = config(routes=[route(name="product")])
    return ProcessInspection(metrics, entries=list, config=lambda: shown, fleet=no_fleet)


def test_every_counter_and_gauge_is_shown() -> None:
    metrics = Metrics()
    metrics.request_seconds.observe(0.001, "product", "hit")
    metrics.connections_refused.add()
    metrics.gauges["flights"] = lambda: {(): 3}
    stats = inspection(metrics).stats()

    assert stats.keys() == {row.name for row in (*COUNTERS, *GAUGES)}
    assert stats["requests"] == {"product hit": 1}
    assert stats["connections_refused"] == 1
    assert stats["flights"] == 3


def test_the_pool_is_a_part_of_the_gauges() -> None:
    metrics = Metrics()
    metrics.gauges["origin_pool"] = lambda: {("idle",): 2, ("in-use",): 1}

    assert inspection(metrics).pool() == {
        "origin_pool": {"idle": 2, "in-use": 1},
        "origin_in_flight": 0,
        "origin_queue": 0,
        "tunnels_open": 0,
    }


def test_routes_are_those_in_force() -> None:
    assert [shown["name"] for shown in inspection(Metrics()).routes()] == ["product"]


async def test_a_log_that_is_shared_with_nobody_has_no_fleet() -> None:
    assert await inspection(Metrics()).fleet() is None


def told(name: str, known: int, replicas: list[str] | None, detail: str | None = None) -> dict[str, object]:
    return {"here": [{"name": name}], "known": known, "replicas": replicas, "detail": detail}


def test_workers_are_replicas_of_one_fleet() -> None:
    parts = [told("w0", 2, None, "TimeoutError"), None, told("w1", 3, ["w0", "w1", "far"])]

    assert fleet_of(parts) == {
        "here": [{"name": "w0"}, {"name": "w1"}],
        "known": 3,
        "replicas": ["w0", "w1", "far"],
        "detail": None,
    }


def test_where_redis_answers_no_worker_the_reason_is_shown() -> None:
    parts = [told("w0", 2, None, "TimeoutError"), told("w1", 3, None, "refused")]

    assert fleet_of(parts) == {
        "here": [{"name": "w0"}, {"name": "w1"}],
        "known": 3,
        "replicas": None,
        "detail": "TimeoutError",
    }


@pytest.mark.parametrize("parts", [[], [None, None]])
def test_workers_without_a_shared_log_have_no_fleet(parts: list[None]) -> None:
    assert fleet_of(parts) is None
