"""Findings about values -> faults at places of a file."""

from __future__ import annotations

from typing import Any

from proxy.config.faults import Fault, Finding, Misplaced
from proxy.config.nodes import Node, Path, Place, key_place, place_of
from proxy.config.schema import SECRET_FILES


class Places:
    """Knows where in one file the values stand."""

    def __init__(self, file: str, root: Node, values: Any) -> None:
        self._file = file
        self._root = root
        self._values = values

    def at_place(self, misplaced: Misplaced) -> Fault:
        """The fault for something whose place is known."""
        return Fault(self._file, *misplaced.place, misplaced.message)

    def of(self, finding: Finding) -> Fault:
        """The fault for something of which only the path is known."""
        name = self._dotted(finding.about[0])
        message = f"{name}: {finding.message}" if name else finding.message
        return Fault(self._file, *_place(self._root, finding), message)

    def _dotted(self, path: Path) -> str:
        """`routes[product].ttl`: routes are known by name, other items by number."""
        dotted = ""
        value = self._values
        for step in path:
            value = _child(value, step)
            if isinstance(step, str):
                dotted += f".{step}" if dotted else step
                continue
            name = value.get("name") if isinstance(value, dict) else None
            dotted += f"[{name if isinstance(name, str) and name.isprintable() else f'#{step + 1}'}]"
        return dotted


def _place(root: Node, finding: Finding) -> Place:
    """Of the first value that is written in the file; if none is, of what the first would stand in."""
    if finding.blames_key:
        return key_place(root, finding.about[0]) or root.place
    for path in finding.about:
        place = place_of(root, path) or place_of(root, SECRET_FILES.get(path, path))
        if place is not None:
            return place
    return _nearest(root, finding.about[0])


def _nearest(root: Node, path: Path) -> Place:
    """What the value would stand in; the root always stands somewhere."""
    above = path[:-1]
    return place_of(root, above) or _nearest(root, above)


def _child(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    is_item = isinstance(value, list) and isinstance(step, int) and step < len(value)
    return value[step] if is_item else None
