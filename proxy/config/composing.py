"""YAML text -> nodes, or where and why it cannot be read.

Built on PyYAML's events, which construct nothing. Everything that can grow without bound is
bounded here. Knows no key of the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from proxy.config.faults import Misplaced, shown
from proxy.config.nodes import START, ListNode, MappingNode, Node, Place, Scalar

MOST_CHARACTERS = 1 << 20
MOST_NODES = 50_000
MOST_DEPTH = 32

_NULL_WORDS = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE_KEY = "<<"


@dataclass(frozen=True, slots=True)
class Document:
    """A text's one document, and what is wrong with it although it could be read."""

    root: Node
    faults: tuple[Misplaced, ...] = ()


class _Unreadable(Exception):
    """Nothing after this place can be understood."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.misplaced = Misplaced(place, message)


def compose(text: str) -> Document | Misplaced:
    """The document in `text`; an empty text is an empty mapping. Misplaced: it cannot be read."""
    if len(text) > MOST_CHARACTERS:
        return Misplaced(START, f"found {len(text)} characters, expected at most {MOST_CHARACTERS}")
    composer = _Composer(text)
    try:
        root = composer.document()
    except _Unreadable as unreadable:
        return unreadable.misplaced
    return Document(root, tuple(composer.faults))


class _Composer:
    """Turns one text's events into nodes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._place = START
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self.faults: list[Misplaced] = []

    def document(self) -> Node:
        """The root of the first document; further ones are a fault."""
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return MappingNode(START, {}, {}, 1)
        root = self._node(self._next(), depth=0)
        self._next()
        if not isinstance(self._next(), yaml.StreamEndEvent):
            self.faults.append(Misplaced(self._place, "found a second document, expected one"))
        return root

    def _next(self) -> yaml.Event:
        try:
            event = next(self._events)
        except yaml.reader.ReaderError as error:
            raise _Unreadable(
                _place_of_index(self._text, error.position), "found a character that YAML forbids"
            ) from None
        except yaml.MarkedYAMLError as error:
            raise self._syntax_fault(error) from None
        except (ValueError, OverflowError):  # PyYAML trips over numbers in escapes and directives
            raise _Unreadable(self._place, "found an escape or number that is out of range") from None
        if event.start_mark is not None:
            self._place = _place(event.start_mark.line, event.start_mark.column)
        return event

    def _syntax_fault(self, error: yaml.MarkedYAMLError) -> _Unreadable:
        mark = error.problem_mark or error.context_mark
        place = _place(mark.line, mark.column) if mark else self._place
        if mark and self._text[mark.index : mark.index + 1] == "\t":
            return _Unreadable(place, "found a tab, expected spaces")
        return _Unreadable(place, f"not YAML: {error.problem or error.context}")

    def _node(self, event: yaml.Event, *, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(str(event.anchor))
        if not isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            raise TypeError(f"no node begins with {event}")
        self._count(1)
        if depth > MOST_DEPTH:
            raise _Unreadable(self._place, f"found more than {MOST_DEPTH} levels, expected fewer")
        if event.tag is not None:
            self.faults.append(Misplaced(self._place, f"found the tag {event.tag}, expected none"))
        node = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _aliased(self, anchor: str) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise _Unreadable(self._place, f"found *{anchor}, expected &{anchor} before it")
        # An alias costs as much as what it stands for, else ten lines could make a billion nodes.
        self._count(node.size)
        return node

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise _Unreadable(self._place, f"found more than {MOST_NODES} values, expected fewer")

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        is_plain = event.style is None
        return Scalar(self._place, None if is_plain and event.value in _NULL_WORDS else event.value)

    def _collection(self, event: yaml.CollectionStartEvent, depth: int) -> ListNode | MappingNode:
        return self._list(depth) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(depth)

    def _list(self, depth: int) -> ListNode:
        place = self._place
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth=depth + 1))
        return ListNode(place, tuple(items), 1 + sum(item.size for item in items))

    def _mapping(self, depth: int) -> MappingNode:
        place = self._place
        entries: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key_place = self._place
            key = self._key(event, depth)
            value = self._node(self._next(), depth=depth + 1)
            fault = _key_fault(key, keys)
            if fault is not None:
                self.faults.append(Misplaced(key_place, fault))
            elif key is not None:
                entries[key], keys[key] = value, key_place
        return MappingNode(place, entries, keys, 1 + sum(entry.size for entry in entries.values()))

    def _key(self, event: yaml.Event, depth: int) -> str | None:
        """The key's text; None if it is no text."""
        node = self._node(event, depth=depth + 1)
        return (node.text or "") if isinstance(node, Scalar) else None


def _key_fault(key: str | None, known: dict[str, Place]) -> str | None:
    if key is None:
        return "found a list or mapping as a key, expected text"
    if key == _MERGE_KEY:
        return "found a merge key (<<), expected every key written out"
    if key in known:
        return f"found {shown(key)} a second time, expected it once (first in line {known[key].line})"
    return None


def _place(line: int, column: int) -> Place:
    """PyYAML counts from 0, editors from 1."""
    return Place(line + 1, column + 1)


def _place_of_index(text: str, index: int) -> Place:
    before = text[:index]
    return _place(before.count("\n"), index - (before.rfind("\n") + 1))
