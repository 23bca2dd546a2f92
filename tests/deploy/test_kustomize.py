"""The kustomize component patches a Deployment that knows nothing of it; so does kubectl patch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from proxy import __version__
from proxy.config.loading import Loaded, load_text
from tests.support.helm import documents as rendered_by_helm
from tests.support.helm import values
from tests.support.manifests import Document, containers_of, faults, one, pod_of, sidecar_of
from tests.support.tools import ROOT, module, output, tool

COMPONENT = ROOT / "deploy/kustomize"
KUBERNETES = ("1.30", "1.33", "1.36")


@pytest.fixture(scope="module")
def overlay() -> list[Document]:
    """A team's overlay with the component in it."""
    return list(yaml.safe_load_all(output(tool("kubectl"), "kustomize", ROOT / "tests/deploy/overlay")))


def patched(overlay: list[Document]) -> list[Document]:
    return [item for item in overlay if item["metadata"]["name"] != "worker"]


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_kubernetes_takes_it(overlay: list[Document], kubernetes: str) -> None:
    for document in overlay:
        module("kubernetes_validate").validate(document, kubernetes, strict=True)


def test_nothing_is_wrong_with_it(overlay: list[Document]) -> None:
    assert faults(patched(overlay)) == []


def test_only_what_is_labelled_is_patched(overlay: list[Document]) -> None:
    (worker,) = (item for item in overlay if item["metadata"]["name"] == "worker")
    (given,) = (
        item
        for item in yaml.safe_load_all((ROOT / "tests/deploy/base/shop.yaml").read_text())
        if item["metadata"]["name"] == "worker"
    )

    assert worker["spec"] == given["spec"]


def test_the_sidecar_comes_first_and_the_api_stays(overlay: list[Document]) -> None:
    pod = pod_of(one(patched(overlay), "Deployment"))
    names = [container["name"] for container in containers_of(pod)]

    assert names == ["sidecache", "migrate", "api"]
    assert pod["containers"][0]["readinessProbe"] == {"httpGet": {"path": "/health", "port": 8000}}
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}


def test_it_is_the_container_of_the_chart(overlay: list[Document], chart: Path) -> None:
    ours = sidecar_of(pod_of(one(patched(overlay), "Deployment")))
    theirs = sidecar_of(pod_of(one(rendered_by_helm(chart, *values("minimal-values.yaml")), "Deployment")))
    given_by_the_overlay = {"image": "registry.example.com/sidecache:9.9.9"}
    left_to_defaults = {key: theirs[key] for key in ("imagePullPolicy", "env")}

    assert {**ours, **left_to_defaults} == {**theirs, **given_by_the_overlay}
    assert f"image: sidecache:{__version__}\n" in (COMPONENT / "sidecar.yaml").read_text()


def test_its_policy_has_no_fault(overlay: list[Document]) -> None:
    text = one(patched(overlay), "ConfigMap")["data"]["config.yaml"]
    loaded = load_text(text, name="config.yaml", environ={}, directory=COMPONENT)

    assert isinstance(loaded, Loaded), str(loaded)
    assert loaded.warnings == ()


def test_kubectl_patch_does_the_same(overlay: list[Document], tmp_path: Path) -> None:
    """The commands of docs/deploy.md, applied to a file instead of a cluster."""
    (base,) = (
        item
        for item in yaml.safe_load_all((ROOT / "tests/deploy/base/shop.yaml").read_text())
        if (item["kind"], item["metadata"]["name"]) == ("Deployment", "shop")
    )
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(base))
    given = (COMPONENT / "sidecar.yaml").read_text()
    patches = {
        "strategic": re.sub(r"^(apiVersion|kind|metadata):.*\n", "", given, flags=re.MULTILINE),
        "json": (COMPONENT / "origin.yaml").read_text(),
    }
    for kind, patch in patches.items():
        command = [
            str(tool("kubectl")),
            "patch",
            "--local",
            "-f",
            str(file),
            "--type",
            kind,
            "--patch",
            patch,
        ]
        file.write_text(output(*command, "-o", "yaml"))

    pod = pod_of(yaml.safe_load(file.read_text()))
    expected = pod_of(one(patched(overlay), "Deployment"))
    sidecar_of(expected)["image"] = sidecar_of(pod)["image"]
    assert pod == expected
