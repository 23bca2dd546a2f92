"""Several processes' metrics as one: sums add up, gauges fold as the table says, nothing goes backwards."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics, observe_in
from proxy.observe.totals import Snapshot, add_sums, combined, snapshot


def taken(metrics: Metrics) -> Snapshot:
    """As it arrives from another process."""
    read: Snapshot = json.loads(json.dumps(snapshot(metrics)))
    return read


def full(value: int, gauge: float) -> Metrics:
    metrics = Metrics()
    for row in COUNTERS:
        if row.name != "requests":  # what request_seconds has counted
            getattr(metrics, row.name).add(*row.labels, by=value)
    for row in HISTOGRAMS:
        for _ in range(value):
            getattr(metrics, row.name).observe(0.003, *row.labels)
    for row in GAUGES:
        metrics.gauges[row.name] = lambda labels=row.labels: {labels: gauge}
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_and_histograms_are_sums_over_the_living_and_the_ended() -> None:
    ended = Metrics()
    add_sums(ended, taken(full(1, 9.0)))

    total = combined(ended, [taken(full(2, 1.0)), taken(full(4, 2.0))])

    for row in COUNTERS:
        assert getattr(total, row.name).values == {row.labels: 7}
    for row in HISTOGRAMS:
        histogram = getattr(total, row.name)
        assert histogram.get(*row.labels) == 7
        assert histogram.cells[row.labels][-1] == pytest.approx(0.021)


@pytest.mark.parametrize("row", GAUGES, ids=lambda row: row.name)
def test_a_gauge_is_of_the_living_and_folds_as_its_row_says(row) -> None:
    total = combined(full(1, 9.0), [taken(full(1, 1.0)), taken(full(1, 2.0))])

    expected = {"sum": 3.0, "max": 2.0, "min": 1.0}[row.across]
    assert total.gauges[row.name]() == {row.labels: expected}


def test_the_words_of_the_table_are_what_an_alert_needs() -> None:
    across = {row.name: row.across for row in GAUGES if row.across != "sum"}

    # One that is not well is enough to ring; how full and how busy we are, all make together.
    assert across == {
        "l2_breaker_open": "max",
        "draining": "max",
        "warming": "max",
        "log_trusted": "min",
        "log_lag_seconds": "max",
        "log_records": "max",
        "replicas_known": "max",
        "config_last_reload_success": "min",
        "config_loaded_at_seconds": "max",
        "config_info": "max",
        "loop_lag_seconds": "max",
    }


def test_labels_that_only_one_has_are_kept() -> None:
    one, other = Metrics(), Metrics()
    one.request_seconds.observe(0.001, "product", "hit")
    other.request_seconds.observe(0.001, "cart", "bypass")
    other.request_seconds.observe(0.001, "cart", "bypass")
    other.gauges["l1_entries"] = lambda: {("negative",): 3.0}

    total = combined(Metrics(), [taken(one), taken(other)])

    assert total.requests.values == {("product", "hit"): 1, ("cart", "bypass"): 2}
    assert total.gauges["l1_entries"]() == {("negative",): 3.0}
    assert "flights" not in total.gauges


def test_each_family_is_exposed_once_and_parses() -> None:
    total = combined(full(1, 1.0), [taken(full(1, 1.0))])
    text = total.exposition().decode()

    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert samples(total)[("sidecache_connections_refused_total",)] == 2


def test_no_sum_falls_when_a_process_ends_and_another_takes_its_place() -> None:
    first, second, replacement = full(5, 1.0), full(3, 1.0), Metrics()
    ended = Metrics()
    before = samples(combined(ended, [taken(first), taken(second)]))
    add_sums(ended, taken(first))
    after = samples(combined(ended, [taken(second), taken(replacement)]))

    sums = {name for name in before if name[0].endswith(("_total", "_bucket", "_sum", "_count"))}
    assert {name for name in sums if after[name] < before[name]} == set()


def test_a_cell_that_somebody_keeps_goes_on_counting_after_another_was_added() -> None:
    total = full(1, 1.0)
    kept = total.request_seconds.cell("route", "outcome")
    add_sums(total, taken(full(2, 1.0)))

    observe_in(kept, 0.003)

    assert total.request_seconds.get("route", "outcome") == 4
