"""Selectors, the index of live records, and the rule: may this response answer this request?

The rules R1-R21 are in docs/invalidation.md. Pure: positions are read elsewhere, nothing here knows Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SelectorKind(Enum):
    """What a selector names; the word is also the admin API's field and the metric's label."""

    URL = "urls"
    PREFIX = "prefixes"
    PATTERN = "patterns"
    TAG = "tags"
    ROUTE = "routes"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Selector:
    """One thing to invalidate. `value` is what the operator wrote: normalised where it is applied."""

    kind: SelectorKind
    value: str = ""
