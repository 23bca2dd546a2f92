from __future__ import annotations

from proxy.config import lint
from tests.support.configs import config, route


def test_sound_configuration_has_neither_faults_nor_warnings() -> None:
    sound = config(routes=[route(ttl="5m")])

    assert lint.faults(sound) == ()
    assert lint.warnings(sound) == ()


def test_inherited_finding_is_found_once() -> None:
    twice = config(
        defaults={"identity": "shared"},
        routes=[route(), {"name": "y", "match": {"path": "/y"}}],
    )

    assert [finding.about for finding in lint.warnings(twice)] == [(("defaults", "identity"),)]


def test_faults_of_server_and_routes_are_found_together() -> None:
    faulty = config(workers=129, routes=[route(jitter="95%")])

    assert [finding.about[0] for finding in lint.faults(faulty)] == [
        ("workers",),
        ("routes", 0, "jitter"),
    ]
