from __future__ import annotations

from typing import Any

from proxy.config.checking import check
from proxy.config.faults import Finding
from tests.support.configs import ORIGIN, route

OPEN = {"listen": "h:1"}
"""A contradiction: an admin port beyond loopback without a token."""


def paths(values: Any, *unusable: Finding) -> list[tuple[object, ...]]:
    return [finding.about[0] for finding in check(values, unusable).faults]


def test_sound_values_are_a_configuration() -> None:
    checked = check({"origin": ORIGIN})

    assert checked.config is not None
    assert checked.faults == ()


def test_configuration_with_contradictions_has_its_shape() -> None:
    checked = check({"origin": ORIGIN, "admin": OPEN})

    assert checked.config is not None
    assert len(checked.faults) == 1


def test_consequences_of_a_fault_are_not_faults() -> None:
    """The limit that is not understood cannot be exceeded."""
    values = {"origin": {"url": "http://h", "max_in_flight": "200", "pool": {"max_connections": "x"}}}

    assert paths(values) == [("origin", "pool", "max_connections")]


def test_value_that_is_known_to_be_unusable_is_told_once() -> None:
    unusable = Finding("not set", (("origin", "url"),))

    assert paths({"origin": {"url": None}, "admin": OPEN}, unusable) == [
        ("origin", "url"),
        ("admin", "listen"),
    ]


def test_routes_keep_their_number_when_an_earlier_one_is_cut_out() -> None:
    nameless = {"match": {"path": "/y"}}
    values = {"origin": ORIGIN, "routes": [nameless, route(), {**route(), "name": "b"}, route(jitter="95%")]}

    assert paths(values) == [
        ("routes", 0, "name"),
        ("routes", 3, "name"),
        ("routes", 2, "match"),
        ("routes", 3, "match"),
        ("routes", 3, "jitter"),
    ]


def test_meaning_is_not_asked_of_what_is_no_mapping() -> None:
    assert paths(["x"]) == [()]
    assert paths({"origin": "x", "admin": OPEN}) == [("origin",), ("admin", "listen")]
    assert paths({"origin": ORIGIN, "routes": "x", "admin": OPEN}) == [
        ("routes",),
        ("admin", "listen"),
    ]
