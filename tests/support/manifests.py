"""What must hold between and inside Kubernetes objects, which no schema says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

MOST_NAME_LETTERS = 63
_UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)")
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def one(documents: list[Document], kind: str) -> Document:
    """The object of that kind that belongs to the API."""
    found = [item for item in documents if item["kind"] == kind and not is_valkey(item)]
    assert len(found) == 1, [item["metadata"]["name"] for item in found]
    return found[0]


def is_valkey(document: Document) -> bool:
    """Whether it is part of the Valkey for trying out."""
    return str(document["metadata"]["name"]).endswith("-valkey")


def pod_of(deployment: Document) -> Document:
    """The pod's specification."""
    pod: Document = deployment["spec"]["template"]["spec"]
    return pod


def containers_of(pod: Document) -> list[Document]:
    """All containers of a pod, those for its start first."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def sidecar_of(pod: Document) -> Document:
    """The sidecar."""
    (found,) = (container for container in containers_of(pod) if container["name"] == "sidecache")
    return found


def quantity(given: object) -> float:
    """A quantity such as 100m or 128Mi as a number."""
    match = _QUANTITY.fullmatch(str(given))
    assert match is not None, given
    return float(match[1]) * _UNITS[match[2]]


def faults(documents: list[Document], outside: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong; `outside` are names of ConfigMaps and Secrets that somebody else brings."""
    found = [*_names(documents)]
    for deployment in (item for item in documents if item["kind"] == "Deployment"):
        found += _pod_faults(deployment, documents, outside)
        if not is_valkey(deployment):
            found += _sidecar_faults(pod_of(deployment))
            found += _service_faults(deployment, documents)
    return found


def _names(documents: list[Document]) -> Iterator[str]:
    ids = Counter((item["kind"], item["metadata"]["name"]) for item in documents)
    for (kind, name), count in ids.items():
        if count > 1:
            yield f"{kind} {name} is there {count} times"
        if len(name) > MOST_NAME_LETTERS:
            yield f"{kind} {name} has {len(name)} letters"


def _pod_faults(deployment: Document, documents: list[Document], outside: frozenset[str]) -> Iterator[str]:
    template = deployment["spec"]["template"]
    labels, selector = template["metadata"]["labels"], deployment["spec"]["selector"]["matchLabels"]
    if not selector.items() <= labels.items():
        yield f"the selector {selector} is not in the pod's labels"
    if any(re.search("version|chart", key) for key in selector):
        yield f"the selector {selector} changes with a version"
    pod = pod_of(deployment)
    if pod.get("automountServiceAccountToken") is not False:
        yield "the pod has a token of the Kubernetes API"
    yield from _references(pod, documents, outside)
    yield from _container_faults(pod)


def _references(pod: Document, documents: list[Document], outside: frozenset[str]) -> Iterator[str]:
    there = {(item["kind"], item["metadata"]["name"]) for item in documents}
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for kind, name in _wanted(pod):
        if (kind, name) not in there and name not in outside:
            yield f"{kind} {name} does not exist"
    for container in containers_of(pod):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']} mounts {mount['name']}, which is no volume"
            if "subPath" in mount:
                yield f"{container['name']} mounts {mount['name']} by subPath, which never changes"


def _wanted(pod: Document) -> Iterator[tuple[str, str]]:
    for volume in pod.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        for source in volume.get("projected", {}).get("sources", []):
            yield "Secret", source["secret"]["name"]


def _container_faults(pod: Document) -> Iterator[str]:
    containers = containers_of(pod)
    ports = [port for container in containers for port in container.get("ports", [])]
    for field in ("name", "containerPort"):
        for value, count in Counter(port[field] for port in ports).items():
            if count > 1:
                yield f"two ports have the {field} {value}"
    for container in containers:
        if re.search(r":latest$|^[^:@]+$", container["image"]):
            yield f"{container['name']} has no fixed image: {container['image']}"
        resources = container.get("resources", {})
        limits = resources.get("limits", {})
        for name, value in resources.get("requests", {}).items():
            if name in limits and quantity(value) > quantity(limits[name]):
                yield f"{container['name']} requests more {name} than its limit"


def _sidecar_faults(pod: Document) -> Iterator[str]:
    sidecar = sidecar_of(pod)
    numbers = {port["name"]: port["containerPort"] for port in sidecar["ports"]}
    if sidecar["securityContext"] != RESTRICTED:
        yield f"the sidecar's securityContext is {sidecar['securityContext']}"
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if sidecar[name]["httpGet"]["port"] != numbers["sidecache-ops"]:
            yield f"{name} does not ask the ops port"
    is_init = sidecar in pod.get("initContainers", [])
    if sidecar.get("restartPolicy") != ("Always" if is_init else None):
        yield f"the sidecar has the restartPolicy {sidecar.get('restartPolicy')}"
    writable = {mount["name"] for mount in sidecar["volumeMounts"] if not mount.get("readOnly")}
    empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    if not writable <= empty:
        yield f"the sidecar may write to {writable - empty}"


def _service_faults(deployment: Document, documents: list[Document]) -> Iterator[str]:
    owned = {port["containerPort"] for port in sidecar_of(pod_of(deployment))["ports"]}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for service in (item for item in documents if item["kind"] == "Service" and not is_valkey(item)):
        if not service["spec"]["selector"].items() <= labels.items():
            yield f"Service {service['metadata']['name']} selects no pod"
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in owned:
                yield f"Service {service['metadata']['name']} leads to {port['targetPort']!r}"
