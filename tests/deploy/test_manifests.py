"""The checks of the rendered objects find what they are for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.helm import documents, values
from tests.support.manifests import Document, faults, one, pod_of, sidecar_of

Objects = list[Document]


def _deployment(objects: Objects) -> Document:
    return one(objects, "Deployment")


def _sidecar(objects: Objects) -> Document:
    return sidecar_of(pod_of(_deployment(objects)))


def _drop_label(objects: Objects) -> None:
    del _deployment(objects)["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"]


def _select_by_version(objects: Objects) -> None:
    labels = {"app.kubernetes.io/version": "0.1.0"}
    _deployment(objects)["spec"]["selector"]["matchLabels"].update(labels)


def _lose_config(objects: Objects) -> None:
    objects.remove(one(objects, "ConfigMap"))


def _name_port(objects: Objects) -> None:
    one(objects, "Service")["spec"]["ports"][0]["targetPort"] = "http-cached"


def _mount_by_sub_path(objects: Objects) -> None:
    _sidecar(objects)["volumeMounts"][0]["subPath"] = "config.yaml"


def _set(*path: Any, value: Any) -> Callable[[Objects], None]:
    def change(objects: Objects) -> None:
        at: Any = _sidecar(objects)
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_drop_label, "is not in the pod's labels"),
        (_select_by_version, "changes with a version"),
        (_lose_config, "ConfigMap demo-sidecache-config does not exist"),
        (_name_port, "Service demo-sidecache leads to 'http-cached'"),
        (_mount_by_sub_path, "mounts sidecache-config by subPath"),
        (_set("ports", 0, "containerPort", value=9901), "two ports have the containerPort 9901"),
        (_set("startupProbe", "httpGet", "port", value=8080), "startupProbe does not ask the ops port"),
        (_set("restartPolicy", value=None), "the sidecar has the restartPolicy None"),
        (_set("image", value="sidecache:latest"), "sidecache has no fixed image"),
        (_set("securityContext", "readOnlyRootFilesystem", value=False), "securityContext"),
        (_set("resources", "requests", "memory", value="2Gi"), "requests more memory than its limit"),
        (_set("volumeMounts", 0, "readOnly", value=False), "may write to {'sidecache-config'}"),
        (_set("volumeMounts", 1, "name", value="gone"), "mounts gone, which is no volume"),
    ],
)
def test_each_check_finds_its_fault(chart: Path, change: Callable[[Objects], None], fault: str) -> None:
    objects = copy.deepcopy(documents(chart, *values("minimal-values.yaml")))
    before = faults(objects)
    change(objects)

    assert before == []
    assert fault in "\n".join(faults(objects))
