from __future__ import annotations

import pytest

from proxy.config.composing import Document, compose
from proxy.config.faults import Finding, Misplaced
from proxy.config.locating import Places
from proxy.config.nodes import Path, Place
from proxy.config.values import plain_values

TEXT = """\
# shop
admin:
  token_file: /t
routes:
  - name: product
    ttl: 5m
  - match: {path: /x}
    tags: [a, b]
"""


@pytest.fixture
def places() -> Places:
    document = compose(TEXT)
    assert isinstance(document, Document)
    return Places("a.yaml", document.root, plain_values(document.root, {})[0])


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ([("routes", 0, "ttl")], "a.yaml:6:10: routes[product].ttl: what"),
        ([("routes", 1, "tags", 1)], "a.yaml:8:15: routes[#2].tags[#2]: what"),
        ([("routes", 1, "name")], "a.yaml:7:5: routes[#2].name: what"),
        ([("l1", "max_bytes"), ("routes", 0, "ttl")], "a.yaml:6:10: l1.max_bytes: what"),
        ([("admin", "token")], "a.yaml:3:15: admin.token: what"),
        ([("admin", "listen")], "a.yaml:2:1: admin.listen: what"),
        ([("origin", "url")], "a.yaml:2:1: origin.url: what"),
        ([()], "a.yaml:2:1: what"),
    ],
)
def test_finding_is_where_its_first_written_value_stands(
    places: Places, about: list[Path], text: str
) -> None:
    assert str(places.of(Finding("what", tuple(about)))) == text


def test_blamed_key_is_where_the_key_stands(places: Places) -> None:
    finding = Finding("what", (("routes", 0, "ttl"),), blames_key=True)

    assert str(places.of(finding)) == "a.yaml:6:5: routes[product].ttl: what"


def test_known_place_needs_no_path(places: Places) -> None:
    assert str(places.at_place(Misplaced(Place(4, 2), "what"))) == "a.yaml:4:2: what"
