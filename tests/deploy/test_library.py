"""A chart that somebody else owns gets the sidecar from the library chart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from proxy import __version__
from tests.support.helm import HELMS, KUBERNETES, documents, refusal, with_mode_for
from tests.support.manifests import faults, one, pod_of, sidecar_of
from tests.support.tools import ROOT, module, output, tool

MONITORING = "monitoring.coreos.com/v1"
OUTSIDE = frozenset({"shop-redis"})


@pytest.fixture(scope="session")
def consumer(charts: Path) -> Path:
    """The team's chart, with the library built into it."""
    folder = charts.parent / "tests/deploy/consumer"
    shutil.copytree(ROOT / "tests/deploy/consumer", folder)
    output(tool("helm4"), "dependency", "build", folder)
    return folder


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_it_renders_what_kubernetes_takes(consumer: Path, kubernetes: str, helm: str) -> None:
    rendered = documents(consumer, *with_mode_for(kubernetes), helm=helm, kubernetes=kubernetes)

    assert faults(rendered, OUTSIDE) == []
    for document in (item for item in rendered if item["apiVersion"] != MONITORING):
        module("kubernetes_validate").validate(document, kubernetes, strict=True)


def test_it_has_the_librarys_defaults_and_image(consumer: Path) -> None:
    sidecar = sidecar_of(pod_of(one(documents(consumer), "Deployment")))

    assert sidecar["image"] == f"registry.example.com/sidecache:{__version__}"
    assert sidecar["resources"]["limits"] == {"memory": "256Mi"}


def test_it_says_itself_what_its_pods_are_labelled(consumer: Path) -> None:
    rendered = documents(consumer)

    assert one(rendered, "PodMonitor")["spec"]["selector"] == {"matchLabels": {"app": "shop"}}
    assert one(rendered, "ConfigMap")["metadata"]["labels"]["app"] == "shop"


def test_its_mistakes_are_refused_too(consumer: Path) -> None:
    assert "rutes" in refusal(consumer, "--set", "sidecache.config.rutes=x")
    assert "expected at least 104Mi" in refusal(consumer, "--set", "sidecache.resources.limits.memory=64Mi")
