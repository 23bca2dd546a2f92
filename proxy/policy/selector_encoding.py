"""Selectors as the text that a record of the log carries, and back: JSON in the words of the admin API.

What cannot be read may name anything: a record of a newer version, or garbage, selects everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from proxy.policy.invalidation import EVERYTHING, Selector, SelectorKind

MOST_BYTES = 32 * 1024
"""A record's text; more selectors make more records, so that a page of the log stays small."""

_SOFT = "soft"
_KINDS = {kind.value: kind for kind in SelectorKind}
_OVERHEAD_BYTES = 8
"""Quotes, comma and brackets; a field's name is counted with each value."""


def encode_selectors(selectors: Iterable[Selector], *, soft: bool) -> bytes:
    """ASCII JSON: `{"urls":["/a"],"soft":true}`."""
    content: dict[str, object] = {}
    values: dict[SelectorKind, list[str]] = {}
    for selector in selectors:
        values.setdefault(selector.kind, []).append(selector.value)
    for kind, named in values.items():
        content[kind.value] = True if kind is SelectorKind.EVERYTHING else named
    if soft:
        content[_SOFT] = True
    return json.dumps(content, separators=(",", ":")).encode()


def decode_selectors(text: bytes) -> tuple[tuple[Selector, ...], bool]:
    """The selectors, and whether they only make stale."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return (EVERYTHING,), False
    is_soft = content.pop(_SOFT, False) is True
    selectors = [selector for name, values in content.items() for selector in _decoded(name, values)]
    return tuple(selectors), is_soft


def batches(selectors: Sequence[Selector]) -> Iterator[tuple[Selector, ...]]:
    """The selectors in order, in groups whose texts stay below MOST_BYTES; a larger one stands alone."""
    batch: list[Selector] = []
    batch_bytes = 0
    for selector in selectors:
        size = len(json.dumps(selector.value)) + len(selector.kind.value) + _OVERHEAD_BYTES
        if batch and batch_bytes + size > MOST_BYTES:
            yield tuple(batch)
            batch, batch_bytes = [], 0
        batch.append(selector)
        batch_bytes += size
    if batch:
        yield tuple(batch)


def _decoded(name: str, values: object) -> Iterator[Selector]:
    kind = _KINDS.get(name)
    if kind is None or kind is SelectorKind.EVERYTHING or not isinstance(values, list):
        yield EVERYTHING
        return
    for value in values:
        yield Selector(kind, value) if isinstance(value, str) else EVERYTHING
