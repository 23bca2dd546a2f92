from __future__ import annotations

import json

import pytest

from proxy.config.json_schema import json_schema
from scripts import chart_schema
from tests.support.configs import faults_of
from tests.support.json_schema import as_editors_read, violations

ORIGIN = "origin: {url: http://h}\n"

TAKEN = [
    ORIGIN,
    ORIGIN + "listen: '${HOST:-h}:1'\nworkers: '${N:-1}'\nsecret:\nl2:\nroutes:",
    ORIGIN + "ops: {listen: 'off'}\nl1: {max_bytes: 40%, max_entries: '10', max_entry_bytes: 100}",
    ORIGIN + "l1: {max_bytes: 64MiB}\nl2: {url: embedded, timeout: 0.05}\nlogs: {access: 1%}",
    ORIGIN + "drain: {delay: 3, timeout: 1m}\nlogs: {access: 'off'}\nforwarded: {via: 'on', for: set}",
    ORIGIN + "defaults: {cache: false, ttl: none, jitter: 0, coalesce: true, ignore_cookies: true}",
    ORIGIN + "defaults: {coalesce: {scope: process, wait: 2s}, ignore_cookies: [utm], identity: {header: X}}",
    ORIGIN + "defaults: {negative: {404: 30s, errors: {500: 1}}, identity: shared, override: [no-store]}",
    ORIGIN + "routes: [{name: a, match: {path: '/p/{id}', methods: [GET]}, key: {query: {include: []}}}]",
    ORIGIN + "data_purge: {from: [10.0.0.0/8]}\nx_cache_status: true\nunmatched: pass",
]
REFUSED = [
    "listen: 0.0.0.0:1",
    ORIGIN + "lisen: 0.0.0.0:1",
    ORIGIN + "listen: 8080",
    ORIGIN + "workers: 0",
    ORIGIN + "l1: {max_entry_bytes: 1MB}",
    ORIGIN + "defaults: {ttl: 5mins}",
    ORIGIN + "defaults: {jitter: 20}",
    ORIGIN + "defaults: {negative: {500: 1s}}",
    ORIGIN + "defaults: {negative: {404: none}}",
    ORIGIN + "defaults: {identity: {heder: X}}",
    ORIGIN + "defaults: {coalesce: maybe}",
    ORIGIN + "defaults: {override: [public]}",
    ORIGIN + "routes: [{name: a}]",
    ORIGIN + "routes: [{name: a, match: {path: p}}]",
    ORIGIN + "routes: [{name: a, match: {methods: []}}]",
    ORIGIN + "l2: {url: http://h}",
    ORIGIN + "logs: {access: 5}",
]


@pytest.mark.parametrize("text", TAKEN)
def test_schema_takes_what_the_loader_takes(text: str) -> None:
    assert faults_of(text) == []
    assert violations(json_schema(), as_editors_read(text)) == []


@pytest.mark.parametrize("text", REFUSED)
def test_schema_and_loader_refuse_the_same_shapes(text: str) -> None:
    assert faults_of(text)
    assert violations(json_schema(), as_editors_read(text))


def test_schema_is_json_and_describes_every_key() -> None:
    schema = json_schema()
    described = [schema, *schema["$defs"].values()]

    assert json.loads(json.dumps(schema)) == schema
    for section in described:
        for key, inner in section.get("properties", {}).items():
            references = [choice for choice in inner["anyOf"] if "$ref" in choice]
            assert "description" in inner or references, key


def test_defaults_are_told_with_their_units_only() -> None:
    assert '"default"' not in json.dumps(json_schema())


def test_the_schema_inside_the_chart_is_this_one() -> None:
    """Run `python scripts/chart_schema.py` when this fails."""
    assert chart_schema.FILE.read_text() == chart_schema.render()
