"""Statistics are the metrics table as JSON; routes are those in force."""

from proxy.admin.inspection import ProcessInspection
from proxy.observe.metrics import COUNTERS, GAUGES, Metrics
from tests.support.configs import config, route


def inspection(metrics: Metrics) -> ProcessInspection:
    shown = config(routes=[route(name="product")])
    return ProcessInspection(metrics, entries=list, config=lambda: shown)


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
