"""The table, the attributes, the exposition and the reference page say the same."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.metrics import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    SECONDS_BOUNDS,
    Counter,
    CountOf,
    Histogram,
    Metrics,
)
from scripts import metrics_reference


def families(metrics: Metrics) -> dict:
    return {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}


def filled() -> Metrics:
    """Every row of the table with one value."""
    metrics = Metrics()
    for row in COUNTERS:
        if row.name != "requests":  # what request_seconds has counted
            getattr(metrics, row.name).add(*row.labels)
    for row in HISTOGRAMS:
        getattr(metrics, row.name).observe(0.003, *row.labels)
    for row in GAUGES:
        metrics.gauges[row.name] = lambda labels=row.labels: {labels: 1.5}
    return metrics


@pytest.mark.parametrize("row", COUNTERS, ids=lambda row: row.name)
def test_each_counter_is_an_attribute_and_ends_in_total(row):
    metrics = filled()

    (sample,) = families(metrics)[f"sidecache_{row.name}"].samples
    assert isinstance(getattr(metrics, row.name), Counter | CountOf)
    assert sample.name == f"sidecache_{row.name}_total"
    assert (sample.labels, sample.value) == ({label: label for label in row.labels}, 1)


@pytest.mark.parametrize("row", HISTOGRAMS, ids=lambda row: row.name)
def test_each_histogram_is_an_attribute_in_seconds(row):
    metrics = filled()

    samples = families(metrics)[f"sidecache_{row.name}"].samples
    assert isinstance(getattr(metrics, row.name), Histogram)
    assert row.name.endswith("_seconds")
    assert {sample.name.removeprefix(f"sidecache_{row.name}") for sample in samples} == {
        "_bucket",
        "_sum",
        "_count",
    }


@pytest.mark.parametrize("row", GAUGES, ids=lambda row: row.name)
def test_each_gauge_is_read_on_scrape(row):
    (sample,) = families(filled())[f"sidecache_{row.name}"].samples

    assert (sample.labels, sample.value) == ({label: label for label in row.labels}, 1.5)


def test_a_name_stands_once_in_the_table_and_is_annotated():
    names = [row.name for row in (*COUNTERS, *HISTOGRAMS, *GAUGES)]

    assert len(set(names)) == len(names)
    assert set(Metrics.__annotations__) == {row.name for row in (*COUNTERS, *HISTOGRAMS)}


def test_before_any_event_the_exposition_parses_and_plain_counters_are_zero():
    samples = [sample for family in families(Metrics()).values() for sample in family.samples]

    assert {sample.name for sample in samples} == {
        f"sidecache_{row.name}_total" for row in COUNTERS if not row.labels
    }
    assert {sample.value for sample in samples} == {0}


@pytest.mark.parametrize(
    ("seconds", "first_bucket"),
    [(0.0, "0.0001"), (0.0001, "0.0001"), (0.00011, "0.00025"), (10.0, "10.0"), (10.1, "+Inf")],
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(seconds, first_bucket):
    metrics = Metrics()

    metrics.l2_seconds.observe(seconds, "get")

    buckets = [
        sample
        for sample in families(metrics)["sidecache_l2_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    assert len(buckets) == len(SECONDS_BOUNDS) + 1
    assert next(bucket.labels["le"] for bucket in buckets if bucket.value == 1) == first_bucket


def test_sums_and_counts_add_up_by_labels():
    metrics = Metrics()

    metrics.origin_seconds.observe(0.25, "a")
    metrics.origin_seconds.observe(0.5, "a")
    metrics.origin_seconds.observe(1.0, "b")

    samples = families(metrics)["sidecache_origin_seconds"].samples
    values = {(s.name, s.labels["route"]): s.value for s in samples if "le" not in s.labels}
    assert values == {
        ("sidecache_origin_seconds_sum", "a"): 0.75,
        ("sidecache_origin_seconds_count", "a"): 2,
        ("sidecache_origin_seconds_sum", "b"): 1.0,
        ("sidecache_origin_seconds_count", "b"): 1,
    }


def test_a_counter_adds_what_it_is_told():
    counter = Counter()

    counter.add("a")
    counter.add("a", by=4)

    assert counter.get("a") == 5
    assert counter.get("b") == 0


def test_a_route_name_with_quotes_and_newlines_stays_one_label():
    metrics = Metrics()

    metrics.coalesced.add('a"\\\n# b')

    (sample,) = families(metrics)["sidecache_coalesced"].samples
    assert sample.labels == {"route": 'a"\\\n# b'}


def test_the_reference_page_is_the_tables():
    """Run `python scripts/metrics_reference.py` when this fails."""
    assert metrics_reference.PAGE.read_text(encoding="utf-8") == metrics_reference.render()


def test_no_metric_of_the_exposition_is_missing_from_the_page():
    page = metrics_reference.render()

    for name, family in families(filled()).items():
        suffix = "_total" if family.type == "counter" else ""
        assert f"`{name}{suffix}`" in page
