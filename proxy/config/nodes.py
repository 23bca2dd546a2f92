"""A YAML text's tree: nodes that know their line and column, and how to find one by its path.

Scalars stay text: what `off`, `010` or `1:30` mean is the schema's to say, not YAML 1.1's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and indices (from 0) that lead from the root to a node."""


class Place(NamedTuple):
    """Where something stands in a text; both count from 1."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text; None where a key has no value."""

    place: Place
    text: str | None
    size: int = 1


@dataclass(frozen=True, slots=True)
class ListNode:
    """`- item` lines or `[...]`; `size` counts the nodes within, and itself."""

    place: Place
    items: tuple[Node, ...]
    size: int


@dataclass(frozen=True, slots=True)
class MappingNode:
    """`key: value` lines or `{...}`; `size` counts the nodes within, and itself."""

    place: Place
    entries: Mapping[str, Node]
    keys: Mapping[str, Place]
    size: int


Node = Scalar | ListNode | MappingNode


def place_of(root: Node, path: Path) -> Place | None:
    """Where the value stands that `path` leads to; of a mapping or list, its key. None: it is not there."""
    node = node_at(root, path)
    if node is None:
        return None
    is_shown_by_key = not isinstance(node, Scalar) or node.text is None
    return (key_place(root, path) if is_shown_by_key else None) or node.place


def key_place(root: Node, path: Path) -> Place | None:
    """Where the key stands that `path` ends in; None: it is not there, or `path` ends in an index."""
    parent = node_at(root, path[:-1])
    if not path or not isinstance(parent, MappingNode):
        return None
    return parent.keys.get(str(path[-1]))


def node_at(root: Node, path: Path) -> Node | None:
    """The node that `path` leads to; None: it is not there."""
    node: Node | None = root
    for step in path:
        node = _child(node, step)
    return node


def _child(node: Node | None, step: str | int) -> Node | None:
    if isinstance(node, MappingNode):
        return node.entries.get(str(step))
    if isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None
