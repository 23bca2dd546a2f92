"""A value file with a mistake renders nothing; the sentence says where it is and what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.helm import HELMS, NEWEST, refusal, template, values

BY_SCHEMA = [
    ("sidecache.mod=native", "mod"),
    ("sidecache.mode=sidecar", "mode"),
    ("sidecache.image.tag=latest", "tag"),
    ("sidecache.image.digset=x", "digset"),
    ("sidecache.ports.htp=1", "htp"),
    ("sidecache.originPort=70000", "originPort"),
    ("sidecache.redis.existingsecret=x", "existingsecret"),
    ("sidecache.redis.url=http://h", "url"),
    ("sidecache.drain.delay=3", "delay"),
    ("sidecache.monitoring.podMonitor.intervall=1m", "intervall"),
    ("sidecache.config.rutes=x", "rutes"),
    ("sidecache.config.defaults.ttl=5mins", "ttl"),
    ("sidecache.config.routes[0].name=x", "match"),
    ("sidecache.config.l1.max_bytes=64MB", "max_bytes"),
    ("origin.imag=x", "imag"),
    ("service.tpye=NodePort", "tpye"),
    ("replicas=3", "replicas"),
    ("autoscaling.min=1", "min"),
    ("valkey.maxMemory=64Mi", "maxMemory"),
]
"""What is given -> the key that the message must name; its words are helm's."""

BY_TEMPLATE = [
    (
        ["origin.image="],
        ["origin.image: found nothing, expected the API's image; set origin.image"],
    ),
    (
        ["sidecache.resources.limits.memory=64Mi"],
        [
            "sidecache.resources.limits.memory: found 64Mi, expected at least 104Mi: 96Mi for the process",
            "and 8Mi for L1; raise it or lower sidecache.config.l1.max_bytes (40%)",
        ],
    ),
    (
        ["sidecache.config.l1.max_bytes=256MiB", "sidecache.resources.limits.memory=0.3G"],
        [
            "sidecache.resources.limits.memory: found 0.3G, expected at least 352Mi: 96Mi for the process",
            "and 256Mi for L1; raise it or lower sidecache.config.l1.max_bytes (256MiB)",
        ],
    ),
    (
        ["sidecache.config.l1.max_bytes=268435456"],
        ["found 256Mi, expected at least 352Mi"],
    ),
    (
        ["sidecache.redis.url=embedded", "sidecache.resources.limits.memory=150Mi"],
        [
            "found 150Mi, expected at least 184Mi: 176Mi for the process and the embedded Valkey and 8Mi for",
            "L1",
        ],
    ),
    (
        ["sidecache.terminationGracePeriodSeconds=39"],
        [
            "sidecache.terminationGracePeriodSeconds: found 39, expected at least 40, the sum of",
            "drain.delaySeconds, drain.timeoutSeconds and originStopSeconds; raise it or lower those",
        ],
    ),
    (
        ["sidecache.originStopSeconds=281", "sidecache.terminationGracePeriodSeconds=600"],
        [
            "sidecache.drain.delaySeconds: with originStopSeconds it makes 291, expected at most 290 in",
            "native mode",
        ],
    ),
    (
        ["sidecache.originPort=9901"],
        ["must differ, found 9901, 8080, 9901, 9902; change sidecache.ports"],
    ),
    (
        ["sidecache.config.listen=0.0.0.0:1"],
        ["sidecache.config.listen: the chart writes it; remove it and set sidecache.ports.http instead"],
    ),
    (
        ["sidecache.config.origin.url=http://h"],
        [
            "sidecache.config.origin.url: the chart writes it, the API is in the same pod; remove it and set",
            "sidecache.originPort instead",
        ],
    ),
    (
        ["sidecache.config.l2.url=redis://h"],
        ["sidecache.config.l2.url: the chart writes it; remove it and set sidecache.redis instead"],
    ),
    (
        ["sidecache.existingConfigMap=x", "sidecache.config.unmatched=pass"],
        ["sidecache.existingConfigMap: found sidecache.config as well, expected one of them; remove one"],
    ),
    (
        ["sidecache.redis.existingSecret=x", "sidecache.redis.url=redis://h"],
        ["sidecache.redis: found both url and existingSecret, expected one of them; remove one"],
    ),
    (
        ["valkey.enabled=true", "sidecache.redis.existingSecret=x"],
        [
            "valkey.enabled: found sidecache.redis as well, expected one of them; empty sidecache.redis or",
            "disable valkey",
        ],
    ),
]
"""What is given -> what the message says, line by line."""

ENOUGH = [
    ["sidecache.resources.limits.memory=104Mi"],
    ["sidecache.config.l1.max_bytes=160MiB"],
    ["sidecache.config.l1.max_bytes=512MiB", "sidecache.resources.limits.memory=1Gi"],
    ["sidecache.config.l1.max_bytes=${L1}", "sidecache.resources.limits.memory=128Mi"],
    ["sidecache.terminationGracePeriodSeconds=40"],
    ["sidecache.originStopSeconds=280", "sidecache.terminationGracePeriodSeconds=600"],
]
"""Right at the edge."""


def setting(assignments: list[str]) -> list[str]:
    flags = [word for assignment in assignments for word in ("--set", assignment)]
    return [*values("minimal-values.yaml"), *flags]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(("assignment", "key"), BY_SCHEMA)
def test_schema_refuses_and_names_the_key(chart: Path, assignment: str, key: str, helm: str) -> None:
    message = refusal(chart, *setting([assignment]), helm=helm)

    assert "values don't meet the specifications of the schema" in message
    assert key in message


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(("assignments", "lines"), BY_TEMPLATE)
def test_template_refuses_with_a_sentence(
    chart: Path, assignments: list[str], lines: list[str], helm: str
) -> None:
    assert " ".join(lines) in refusal(chart, *setting(assignments), helm=helm)


def test_native_mode_is_refused_before_kubernetes_1_29(chart: Path) -> None:
    sentence = (
        "sidecache.mode: native needs Kubernetes 1.29 or newer, found v1.27.0; set sidecache.mode: classic"
    )

    assert sentence in refusal(chart, *values("minimal-values.yaml"), kubernetes="1.27")


@pytest.mark.parametrize("assignments", ENOUGH)
def test_what_is_just_enough_renders(chart: Path, assignments: list[str]) -> None:
    assert "sidecache" in template(chart, *setting(assignments), kubernetes=NEWEST)
