"""Alerts and dashboard speak of metrics that exist, in PromQL that Prometheus takes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy.model.failures import FailureKind
from proxy.model.words import Outcome
from proxy.observe.metrics import Metrics
from tests.support.examples import running as running_example
from tests.support.helm import documents, values
from tests.support.manifests import one
from tests.support.sidecar import ask, running_sidecar
from tests.support.tools import ROOT, output, run, tool

FILES = ROOT / "charts/sidecache-lib/files"
RULES = yaml.safe_load((FILES / "rules.yaml").read_text())
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
ALERTS = {
    "SidecacheHitRatioDropped",
    "SidecacheL2BreakerOpen",
    "SidecacheOriginErrors",
    "SidecacheStaleServed",
    "SidecacheReloadFailed",
    "SidecacheInvalidationLag",
    "SidecacheLogGaps",
    "SidecacheLeaseTakeovers",
    "SidecacheSheddingRequests",
}


def expressions() -> list[str]:
    """Those of the dashboard, its variables in place."""
    given = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "5m") for expression in given]


def samples() -> set[str]:
    """All names that /metrics can say; histograms by their three."""
    table = re.findall(r"^\| `(sidecache_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    histograms = {name for name in table if name.endswith("_seconds") and "at_seconds" not in name}
    return set(table) | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def test_there_is_an_alert_for_each_way_to_fail() -> None:
    assert {rule["alert"] for group in RULES["groups"] for rule in group["rules"]} == ALERTS


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    for file in (FILES / "rules.yaml", ROOT / "tests/deploy/rules_test.yaml"):
        shutil.copy(file, tmp_path)

    output(tool("promtool"), "check", "rules", "rules.yaml", cwd=tmp_path)
    output(tool("promtool"), "test", "rules", "rules_test.yaml", cwd=tmp_path)


def test_every_alert_is_tried() -> None:
    tried = yaml.safe_load((ROOT / "tests/deploy/rules_test.yaml").read_text())["tests"]
    firing = {
        case["alertname"] for test in tried for case in test["alert_rule_test"] if case.get("exp_alerts")
    }

    assert firing == ALERTS


def test_the_chart_brings_the_rules_and_the_dashboard_as_they_are(chart: Path) -> None:
    rendered = documents(chart, *values("full-values.yaml"))
    (board,) = (item for item in rendered if item["metadata"]["name"] == "demo-sidecache-dashboard")

    assert one(rendered, "PrometheusRule")["spec"] == RULES
    assert json.loads(board["data"]["sidecache.json"]) == DASHBOARD
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_every_expression_names_metrics_that_exist() -> None:
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    named = {
        name for text in [*rules, *expressions()] for name in re.findall(r"\bsidecache_[a-z0-9_]+", text)
    }

    assert named - samples() == set()


def test_every_outcome_and_result_that_is_named_exists() -> None:
    text = (FILES / "rules.yaml").read_text() + json.dumps(DASHBOARD).replace('\\"', '"')
    outcomes = {word for given in re.findall(r'outcome=~?"([^"]+)"', text) for word in given.split("|")}
    results = {word for given in re.findall(r'result!~"([^"]+)"', text) for word in given.split("|")}

    assert outcomes <= {outcome.word for outcome in Outcome}
    assert results - {"[1234]xx", "cancelled"} <= {kind.word for kind in FailureKind}


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    output(tool("promtool"), "check", "rules", file)


def test_panels_are_told_apart_and_ask_the_chosen_source() -> None:
    panels = DASHBOARD["panels"]
    sources = {holder["datasource"]["uid"] for panel in panels for holder in (panel, *panel["targets"])}

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert sources == {"${datasource}"}


def test_a_live_scrape_is_what_prometheus_takes(tmp_path: Path) -> None:
    policies = "l2: {url: embedded}\nroutes: [{name: all, match: {path: '/**'}, ttl: 1m}]\n"
    with (
        running_example("shop.py", "--port", "0") as shop,
        running_sidecar(tmp_path, shop, policies) as sidecar,
    ):
        for target in ("/products/1", "/products/1", "/products/none"):
            sidecar.get(target)
        sidecar.post_admin("/purge", {"urls": ["/products/1"]})
        scrape = ask(sidecar.ops, "/metrics").body.decode()

    checked = run(tool("promtool"), "check", "metrics", input=scrape)
    assert (checked.returncode, checked.stderr) == (0, "")
    said = {sample.name for family in text_string_to_metric_families(scrape) for sample in family.samples}
    assert {"sidecache_requests_total", "sidecache_l2_breaker_open", "sidecache_log_trusted"} <= said


def test_the_table_of_metrics_is_whole() -> None:
    """What the checks above rest on: docs/metrics.md has every name that the process says."""
    said = text_string_to_metric_families(Metrics().exposition().decode())
    names = {sample.name for family in said for sample in family.samples}

    assert names <= samples()


@pytest.mark.parametrize("name", ["namespace", "pod"])
def test_the_dashboard_can_be_narrowed(name: str) -> None:
    assert name in {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert all(f'{name}=~"${name}"' in text for text in expressions())
