from __future__ import annotations

import pytest

from proxy.config.composing import Document, compose
from proxy.config.nodes import Node, Path, Place, key_place, node_at, place_of

TEXT = """\
top: value
section:
  inner: 1
  empty:
list:
  - a
  - name: b
"""


@pytest.fixture
def root() -> Node:
    document = compose(TEXT)
    assert isinstance(document, Document)
    return document.root


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("top",), Place(1, 6)),
        (("section",), Place(2, 1)),
        (("section", "inner"), Place(3, 10)),
        (("section", "empty"), Place(4, 3)),
        (("list",), Place(5, 1)),
        (("list", 0), Place(6, 5)),
        (("list", 1), Place(7, 5)),
        (("list", 1, "name"), Place(7, 11)),
        ((), Place(1, 1)),
        (("list", 2), None),
        (("top", "deeper"), None),
        (("absent", "deeper"), None),
    ],
)
def test_value_is_shown_by_itself_and_collection_by_its_key(
    root: Node, path: Path, place: Place | None
) -> None:
    assert place_of(root, path) == place


@pytest.mark.parametrize(
    ("path", "place"),
    [(("top",), Place(1, 1)), (("section", "inner"), Place(3, 3)), (("list", 0), None), ((), None)],
)
def test_key_has_its_own_place(root: Node, path: Path, place: Place | None) -> None:
    assert key_place(root, path) == place


def test_path_leads_to_its_node(root: Node) -> None:
    assert node_at(root, ()) is root
    assert node_at(root, ("list", 5)) is None
