"""The charts render on every supported Kubernetes, with both helms, into what Kubernetes takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from proxy import __version__
from proxy.config.changes import LIVE
from proxy.config.loading import Loaded, load_text
from tests.support.helm import (
    HELMS,
    KUBERNETES,
    VALUE_FILES,
    Document,
    documents,
    has_native_sidecars,
    template,
    values,
    with_mode_for,
)
from tests.support.manifests import containers_of, faults, one, pod_of, sidecar_of
from tests.support.tools import ROOT, module, output, tool

OUTSIDE = frozenset({"shop-policies", "shop-redis", "shop-admin", "shop-ca"})
"""ConfigMaps and Secrets that the value files name as existing."""
MONITORING = "monitoring.coreos.com/v1"
LONG_RELEASE = "a-release-whose-name-is-as-long-as-helm-allows-it-5"
LONGEST_RELEASE = 53

every_value_file = pytest.mark.parametrize("name", VALUE_FILES)
every_kubernetes = pytest.mark.parametrize("kubernetes", KUBERNETES)
every_helm = pytest.mark.parametrize("helm", HELMS)


@every_helm
@every_value_file
def test_lint_finds_nothing(chart: Path, name: str, helm: str) -> None:
    output(tool(helm), "lint", "--strict", chart, *values(name))


@every_helm
@every_kubernetes
@every_value_file
def test_kubernetes_takes_what_is_rendered(chart: Path, name: str, kubernetes: str, helm: str) -> None:
    kubernetes_validate = module("kubernetes_validate")
    rendered = documents(chart, *values(name), *with_mode_for(kubernetes), helm=helm, kubernetes=kubernetes)

    assert faults(rendered, OUTSIDE) == []
    for document in (item for item in rendered if item["apiVersion"] != MONITORING):
        kubernetes_validate.validate(document, kubernetes, strict=True)


@every_kubernetes
def test_the_sidecar_is_native_where_kubernetes_knows_it(chart: Path, kubernetes: str) -> None:
    flags = [*values("minimal-values.yaml"), *with_mode_for(kubernetes)]
    pod = pod_of(one(documents(chart, *flags, kubernetes=kubernetes), "Deployment"))

    assert ("initContainers" in pod) is has_native_sidecars(kubernetes)


def test_monitors_scrape_the_ops_port_of_each_pod(chart: Path) -> None:
    """Exact, for no schema of the Prometheus operator's objects is at hand."""
    rendered = documents(chart, *values("full-values.yaml"))
    pods, services = one(rendered, "PodMonitor"), one(rendered, "ServiceMonitor")
    (service,) = (item for item in rendered if item["metadata"]["name"] == "demo-sidecache-metrics")
    selector = {"app.kubernetes.io/name": "sidecache", "app.kubernetes.io/instance": "demo"}
    scrape = {"path": "/metrics", "interval": "30s", "scrapeTimeout": "10s"}
    labels_dropped = {"relabelings": [{"action": "labeldrop", "regex": "pod_template_hash"}]}
    dropped = {"action": "drop", "sourceLabels": ["__name__"], "regex": "sidecache_l2_seconds_bucket"}

    assert pods["apiVersion"] == services["apiVersion"] == MONITORING
    assert pods["spec"] == {
        "selector": {"matchLabels": selector},
        "podMetricsEndpoints": [{"targetPort": 18081, **scrape, **labels_dropped}],
    }
    assert pods["metadata"]["labels"]["release"] == "prometheus"
    marked = {**selector, "app.kubernetes.io/component": "sidecache-metrics"}
    assert services["spec"] == {
        "selector": {"matchLabels": marked},
        "endpoints": [{"port": "metrics", **scrape, "interval": "1m", "metricRelabelings": [dropped]}],
    }
    assert marked.items() <= service["metadata"]["labels"].items()
    assert service["spec"]["ports"] == [{"name": "metrics", "port": 18081, "targetPort": 18081}]


@every_value_file
def test_the_mounted_file_has_no_fault(
    chart: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the product's own loader, as `sidecache check` would; secrets are where the pod has them."""
    rendered = documents(chart, *values(name))
    maps = [item for item in rendered if item["kind"] == "ConfigMap" and "config.yaml" in item["data"]]
    for secret in ("redis-url", "admin-token", "identity-secret"):
        (tmp_path / secret).write_text("redis://h" if "url" in secret else "0123456789abcdef")
    for item in maps:
        text = item["data"]["config.yaml"].replace("/etc/sidecache-secrets", str(tmp_path))
        loaded = load_text(text, name=name, environ={"TENANT_HOST": "shop.example.com"}, directory=tmp_path)

        assert isinstance(loaded, Loaded), str(loaded)

    assert len(maps) == (0 if name == "single-values.yaml" else 1)


def test_policies_reach_the_sidecar_unchanged(chart: Path) -> None:
    given = yaml.safe_load((ROOT / "charts/sidecache/ci/full-values.yaml").read_text())["sidecache"]["config"]
    rendered = documents(chart, *values("full-values.yaml"))
    (mounted,) = (
        yaml.safe_load(item["data"]["config.yaml"])
        for item in rendered
        if item["kind"] == "ConfigMap" and "config.yaml" in item["data"]
    )

    assert mounted["routes"] == given["routes"]
    assert mounted["l1"] == {"max_bytes": "512MiB", "max_entries": 10000000}
    assert mounted["origin"] == {**given["origin"], "url": "http://127.0.0.1:9000"}
    assert mounted["l2"] == {
        **given["l2"],
        "url_file": "/etc/sidecache-secrets/redis-url",
        "namespace": "shop",
    }
    assert mounted["drain"] == {"delay": "0s", "timeout": "20s"}


@pytest.mark.parametrize(
    ("mode", "kubernetes", "pre_stop", "delay"),
    [
        ("native", "1.29", {"exec": {"command": ["sleep", "10"]}}, "0s"),
        ("native", "1.33", {"sleep": {"seconds": 10}}, "0s"),
        ("classic", "1.27", {"exec": {"command": ["sleep", "30"]}}, "10s"),
        ("classic", "1.33", {"sleep": {"seconds": 30}}, "10s"),
    ],
)
def test_the_api_outlives_the_requests_that_the_sidecar_sends(
    chart: Path, mode: str, kubernetes: str, pre_stop: dict[str, object], delay: str
) -> None:
    flags = [*values("minimal-values.yaml"), "--set", f"sidecache.mode={mode}"]
    rendered = documents(chart, *flags, kubernetes=kubernetes)
    pod = pod_of(one(rendered, "Deployment"))
    (api,) = (container for container in pod["containers"] if container["name"] == "origin")
    mounted = yaml.safe_load(one(rendered, "ConfigMap")["data"]["config.yaml"])

    assert api["lifecycle"] == {"preStop": pre_stop}
    assert sidecar_of(pod)["lifecycle"]["preStop"]["httpGet"] == {"path": "/-/drain", "port": 9901}
    assert mounted["drain"]["delay"] == delay
    assert pod["terminationGracePeriodSeconds"] == 45


def test_secrets_are_in_secrets_only(chart: Path) -> None:
    rendered = documents(chart, *values("full-values.yaml"))
    elsewhere = json.dumps([item for item in rendered if item["kind"] != "Secret"])
    names = set(one(rendered, "Secret")["data"])

    assert names == {"redis-url", "admin-token", "identity-secret"}
    assert not re.search("redis.example.com|0123456789abcdef|fedcba9876543210", elsewhere)


def test_a_secret_that_exists_is_mounted_by_its_own_key(chart: Path) -> None:
    rendered = documents(chart, *values("classic-values.yaml"))
    pod = pod_of(one(rendered, "Deployment"))
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "sidecache-secrets")
    items = {source["secret"]["name"]: source["secret"]["items"] for source in volume["projected"]["sources"]}

    assert items == {
        "shop-redis": [{"key": "address", "path": "redis-url"}],
        "shop-admin": [{"key": "token", "path": "admin-token"}],
    }
    assert "Secret" not in {item["kind"] for item in rendered}


def test_the_network_policy_opens_the_sidecar_only(chart: Path) -> None:
    policy = one(documents(chart, *values("full-values.yaml")), "NetworkPolicy")["spec"]
    opened = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}

    assert opened == {
        18080: [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        18081: [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    }
    assert policy["policyTypes"] == ["Ingress"]


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        (["--set", "replicaCount=1"], set()),
        (["--set", "replicaCount=2"], {"PodDisruptionBudget"}),
        (["--set", "autoscaling.enabled=true"], {"PodDisruptionBudget", "HorizontalPodAutoscaler"}),
        (["--set", "autoscaling.enabled=true,autoscaling.minReplicas=1"], {"HorizontalPodAutoscaler"}),
    ],
)
def test_disruptions_are_limited_where_that_blocks_no_node(
    chart: Path, flags: list[str], kinds: set[str]
) -> None:
    rendered = documents(chart, *values("minimal-values.yaml"), *flags)
    deployment = one(rendered, "Deployment")

    found = {item["kind"] for item in rendered} & {"PodDisruptionBudget", "HorizontalPodAutoscaler"}
    assert found == kinds
    assert ("replicas" in deployment["spec"]) is ("HorizontalPodAutoscaler" not in kinds)


def test_names_stay_within_their_length(chart: Path) -> None:
    release = LONG_RELEASE.ljust(LONGEST_RELEASE, "x")
    flags = [*values("full-values.yaml"), "--set", "valkey.enabled=true,sidecache.redis.url="]

    assert faults(documents(chart, *flags, release=release), OUTSIDE) == []


@every_helm
@every_value_file
def test_rendering_twice_gives_the_same(chart: Path, name: str, helm: str) -> None:
    assert template(chart, *values(name), helm=helm) == template(chart, *values(name), helm=helm)


@every_value_file
def test_both_helms_render_the_same(chart: Path, name: str) -> None:
    def by_name(helm: str) -> dict[tuple[str, str], Document]:
        rendered = documents(chart, *values(name), helm=helm)
        return {(item["kind"], item["metadata"]["name"]): item for item in rendered}

    assert by_name("helm3") == by_name("helm4")


def restart_mark(chart: Path, *flags: str) -> str:
    deployment = one(documents(chart, *values("minimal-values.yaml"), *flags), "Deployment")
    return str(deployment["spec"]["template"]["metadata"]["annotations"]["sidecache/restart-on"])


@pytest.mark.parametrize(
    ("flag", "restarts"),
    [
        ("sidecache.config.unmatched=pass", False),
        ("sidecache.config.defaults.ttl=1m", False),
        ("sidecache.drain.timeoutSeconds=15", False),
        ("sidecache.config.l1.max_bytes=64MiB", True),
        ("sidecache.config.origin.connect_timeout=2s", True),
        ("sidecache.redis.url=redis://h", True),
        ("sidecache.admin.token=0123456789abcdef", True),
    ],
)
def test_pods_are_made_anew_only_for_what_no_reload_applies(chart: Path, flag: str, restarts: bool) -> None:
    assert (restart_mark(chart, "--set", flag) != restart_mark(chart)) is restarts


def test_the_chart_and_the_sidecar_agree_on_what_a_reload_applies() -> None:
    text = (ROOT / "charts/sidecache-lib/templates/_config.tpl").read_text()
    listed = re.search(r"\$live := list(.*?) -}}", text)

    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed[1])) == LIVE


def test_charts_and_image_have_the_sidecars_version(chart: Path) -> None:
    for name in ("sidecache", "sidecache-lib"):
        assert yaml.safe_load((ROOT / f"charts/{name}/Chart.yaml").read_text())["appVersion"] == __version__
    assert f"ARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text()
    pod = pod_of(one(documents(chart, *values("minimal-values.yaml")), "Deployment"))
    assert sidecar_of(pod)["image"] == f"sidecache:{__version__}"


def test_notes_say_how_to_reach_the_admin_port(chart: Path) -> None:
    notes = output(
        tool("helm4"), "install", "demo", chart, "--dry-run=client", *values("classic-values.yaml")
    ).partition("NOTES:")[2]

    assert "port-forward deploy/demo-sidecache 9902:9902" in notes
    assert 'curl -s -H "Authorization: Bearer $TOKEN" http://127.0.0.1:9902/stats' in notes
    assert "Without Redis" not in notes


def test_each_pass_through_reaches_the_pod(chart: Path) -> None:
    rendered = documents(chart, *values("full-values.yaml"))
    deployment = one(rendered, "Deployment")
    pod = pod_of(deployment)
    sidecar = sidecar_of(pod)

    assert [container["name"] for container in containers_of(pod)] == [
        "sidecache",
        "migrate",
        "origin",
        "helper",
    ]
    assert {"name": "TENANT_HOST", "value": "shop.example.com"} in sidecar["env"]
    assert sidecar["envFrom"] == [{"secretRef": {"name": "shop-extra"}}]
    assert {"ca", "cache"} <= {volume["name"] for volume in pod["volumes"]}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "shop"
    assert ("ConfigMap", "demo-extra") in {(item["kind"], item["metadata"]["name"]) for item in rendered}
