"""config.example.yaml and docs/configuration.md hold every key and nothing that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.composing import Document, compose
from proxy.config.json_schema import json_schema
from proxy.config.loading import Loaded, load
from proxy.config.nodes import ListNode, MappingNode, Node
from proxy.config.policy import RoutePolicy
from proxy.config.schema import Config
from proxy.config.section import Section, known_keys
from scripts import config_reference
from tests.support.json_schema import as_editors_read, violations

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def example(**environ: str) -> Config:
    result = load(EXAMPLE, environ=environ)
    assert isinstance(result, Loaded), str(result)
    return result.config


def test_example_loads_without_a_warning() -> None:
    result = load(EXAMPLE, environ={})

    assert isinstance(result, Loaded), str(result)
    assert result.warnings == ()


def test_ports_origin_and_redis_can_be_moved() -> None:
    moved = example(
        SIDECACHE_PORT="0",
        SIDECACHE_OPS_PORT="0",
        SIDECACHE_ADMIN_PORT="0",
        ORIGIN="http://127.0.0.1:1234",
        REDIS_URL="off",
    )

    assert [moved.listen.port, moved.ops.listen, moved.admin.listen] == [
        0,
        ("127.0.0.1", 0),
        ("127.0.0.1", 0),
    ]
    assert (moved.origin.url, moved.l2.url) == ("http://127.0.0.1:1234", "off")


def test_example_starts_with_the_addresses_of_the_documentation() -> None:
    plain = example()

    assert list(map(str, (plain.listen, plain.ops.listen, plain.admin.listen))) == [
        "127.0.0.1:8080",
        "127.0.0.1:9901",
        "127.0.0.1:9902",
    ]
    assert (plain.origin.url, plain.l2.url) == ("http://127.0.0.1:8000", "embedded")


def test_example_shows_every_key() -> None:
    document = compose(EXAMPLE.read_text(encoding="utf-8"))
    assert isinstance(document, Document)

    assert sorted(_missing(Config, [document.root], "")) == []


def _missing(section: type[Section], shown: list[Node], path: str) -> list[str]:
    """Keys of the section, and below it, that none of the nodes shows."""
    missing = []
    told_in_defaults = RoutePolicy.model_fields if path == "routes." else {}
    for key, field in zip(known_keys(section), section.model_fields.values(), strict=True):
        if key in told_in_defaults:
            continue
        nodes = [entry for node in _mappings(shown) if (entry := node.entries.get(key)) is not None]
        if not nodes:
            missing.append(path + key)
        inner = _section_in(field.annotation)
        if inner is not None and nodes and key != "negative":
            missing += _missing(inner, nodes, f"{path}{key}.")
    return missing


def _mappings(nodes: list[Node]) -> list[MappingNode]:
    inner = [item for node in nodes if isinstance(node, ListNode) for item in node.items]
    return [node for node in (*nodes, *inner) if isinstance(node, MappingNode)]


def _section_in(annotation: Any) -> type[Section] | None:
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, Section)), None)


def test_missing_key_would_be_found() -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("acquire_timeout", "other").replace("X-Preview", "x")
    document = compose(text)
    assert isinstance(document, Document)

    assert _missing(Config, [document.root], "") == ["origin.pool.acquire_timeout"]


def test_editors_find_no_mistake_in_the_example() -> None:
    assert violations(json_schema(), as_editors_read(EXAMPLE.read_text(encoding="utf-8"))) == []


def test_defaults_that_the_example_shows_are_the_defaults() -> None:
    assert example().defaults == RoutePolicy()


@pytest.mark.parametrize(
    ("section", "different"),
    [
        ("origin", set()),
        ("l1", set()),
        ("l2", {"url", "namespace"}),
        ("limits", set()),
        ("drain", set()),
        ("logs", {"format"}),
        ("forwarded", set()),
        ("data_purge", set()),
    ],
)
def test_values_that_are_not_said_to_differ_are_the_defaults(section: str, different: set[str]) -> None:
    shown = getattr(example(), section).model_dump()
    default = getattr(
        Config.model_validate({"origin": {"url": "http://127.0.0.1:8000"}}), section
    ).model_dump()

    assert {key for key in shown if shown[key] != default[key]} == different


def test_reference_page_is_generated_from_the_models() -> None:
    """Run `python scripts/config_reference.py` when this fails."""
    assert config_reference.PAGE.read_text(encoding="utf-8") == config_reference.render()


def test_reference_page_tells_every_key() -> None:
    page = config_reference.render()

    for section in ("## admin", "## defaults.key.query", "## routes.match", "## defaults.negative.errors"):
        assert section in page
    for key in (*known_keys(Config), *RoutePolicy.model_fields):
        assert f"| `{key}` |" in page
