"""Nodes -> plain values as the schema takes them, with environment variables put in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.config.faults import Finding
from proxy.config.nodes import ListNode, Node, Path, Scalar

_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class _Unusable(Exception):
    """A scalar that has no value; the message says why."""


def plain_values(root: Node, environ: Mapping[str, str]) -> tuple[Any, list[Finding]]:
    """Dicts, lists, texts and None; a scalar that has no value is None and has a Finding."""
    findings: list[Finding] = []

    def plain(node: Node, path: Path) -> Any:
        if isinstance(node, Scalar):
            return scalar(node, path)
        if isinstance(node, ListNode):
            return [plain(item, (*path, index)) for index, item in enumerate(node.items)]
        return {key: plain(entry, (*path, key)) for key, entry in node.entries.items()}

    def scalar(node: Scalar, path: Path) -> str | None:
        try:
            return None if node.text is None else expanded(node.text, environ)
        except _Unusable as unusable:
            findings.append(Finding(str(unusable), (path,)))
            return None

    return plain(root, ()), findings


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """`text` with ${NAME} and ${NAME:-default} replaced and $$ made $. Raises _Unusable."""
    value = _REFERENCE.sub(lambda reference: _value_of(reference, environ), text)
    if has_control_character(value):
        raise _Unusable("found a line break or control character, expected text on one line")
    return value


def has_control_character(text: str) -> bool:
    """Whether `text` has a line break or something else that is no character of a line."""
    return bool(_CONTROL.search(text))


def _value_of(reference: re.Match[str], environ: Mapping[str, str]) -> str:
    name, default = reference.groups()
    if reference[0] == "$$":
        return "$"
    if name is None:
        raise _Unusable("found ${ that is not closed, expected ${NAME} or ${NAME:-default}; $$ stands for $")
    if default is None and name not in environ:
        raise _Unusable(f"found ${{{name}}}, expected the environment variable {name}, which is not set")
    # As in a shell, an empty variable counts as none where there is a default.
    return environ.get(name) or default or ""
