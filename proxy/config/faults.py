"""What is wrong with a configuration, as values, and the words for what was found.

Knows no YAML and no schema: others find the faults, here is what a fault looks like.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from proxy.config.nodes import Path, Place

_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A fault, or a warning, at a place of a file; in something without lines, line and column are 0."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}"


class Misplaced(NamedTuple):
    """Something wrong at a place of a text."""

    place: Place
    message: str


class Finding(NamedTuple):
    """Something wrong or dangerous with values: what, and which values, the blamed one first."""

    message: str
    about: tuple[Path, ...]
    blames_key: bool = False
    """The key itself is wrong, not the value under it."""


def shown(value: object) -> str:
    """A value as messages quote it: in one line, and short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = str(value)
    return json.dumps(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...", ensure_ascii=False)


def suggestion(found: str, known: Iterable[str]) -> str:
    """`; did you mean x?` for the closest known word, empty if none is close."""
    close = difflib.get_close_matches(found.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
