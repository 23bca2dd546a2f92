"""Boots a rendered pod with podman, as far as podman can stand in for a kubelet.

What it cannot: init containers that stay, probes, hooks, ports without a network, and ConfigMaps that change.
So the sidecar becomes a container beside the API, hooks are called by the tests, and the ConfigMap is a
folder that is updated as the kubelet does it.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.containers import Engine
from tests.support.manifests import containers_of, one, pod_of

Document = dict[str, Any]
NAME = "rendered"
KUBELETS_OWN = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "restartPolicy", "ports")


class MountedConfigMap:
    """A ConfigMap's folder: files are links into a version, and the link to that is swapped at once."""

    def __init__(self, folder: Path, data: Mapping[str, str]) -> None:
        self.folder = folder
        self._count = 0
        folder.mkdir()
        self.publish(data)
        for name in data:
            (folder / name).symlink_to(f"..data/{name}")

    def publish(self, data: Mapping[str, str]) -> None:
        """Put a new version in place of the old one, which is then removed."""
        self._count += 1
        version = self.folder / f"..version-{self._count}"
        version.mkdir()
        for name, text in data.items():
            (version / name).write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")
        shutil.rmtree(self.folder / f"..version-{self._count - 1}", ignore_errors=True)


class Pod:
    """A pod that runs; its containers share one loopback that nothing else reaches."""

    def __init__(self, engine: Engine, config: MountedConfigMap) -> None:
        self._engine = engine
        self.config = config

    def exec(self, container: str, *command: str, seconds: float = 60) -> str:
        """What the command prints inside the container."""
        return self._engine.podman("exec", f"{NAME}-{container}", *command, seconds=seconds)

    def terminate(self, container: str) -> None:
        """SIGTERM, as the kubelet sends it."""
        self._engine.podman("kill", "--signal=TERM", f"{NAME}-{container}")

    def exit_code(self, container: str) -> int:
        """How it ended, once it has."""
        return int(self._engine.podman("wait", f"{NAME}-{container}"))

    def log(self, container: str) -> str:
        """What it has written."""
        done = self._engine.try_podman("logs", f"{NAME}-{container}")
        return done.stdout + done.stderr


@contextmanager
def booted(engine: Engine, rendered: list[Document], folder: Path) -> Iterator[Pod]:
    """The Deployment's pod with its ConfigMap."""
    config = MountedConfigMap(folder / "mounted", one(rendered, "ConfigMap")["data"])
    spec = _for_podman(pod_of(one(rendered, "Deployment")), config.folder)
    file = folder / "pod.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec})
    )
    try:
        engine.podman("play", "kube", "--network=none", file)
        engine.wait_for_log(f"{NAME}-sidecache", '"ready"')
        yield Pod(engine, config)
    finally:
        engine.try_podman("pod", "rm", "--force", "--time=0", NAME)


def _for_podman(pod: Document, config: Path) -> Document:
    containers = copy.deepcopy(containers_of(pod))
    for container in containers:
        for field in KUBELETS_OWN:
            container.pop(field, None)
    volumes = [
        {"name": volume["name"], "hostPath": {"path": str(config), "type": "Directory"}}
        if "configMap" in volume
        else {"name": volume["name"], "emptyDir": {}}
        for volume in pod["volumes"]
    ]
    return {"containers": containers, "volumes": volumes, "restartPolicy": "Never"}
