"""The cases known to fall short: read from docs/http-support.md, so that docs and run cannot disagree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.outcomes import Known

HEADING = "## Known to fall short"
_ROW = re.compile(r"\|(?P<ids>[^|]+)\|(?P<suite>[^|]+)\|(?P<profile>[^|]+)\|(?P<reason>[^|]+)\|")
_ID = re.compile(r"`([^`]+)`")


def known_cases(document: Path) -> list[Known]:
    """All rows of the table below the heading; a row may name several cases."""
    _, found, text = document.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")
    if not found:
        raise ValueError(f"expected {HEADING!r} in {document.name}, found none")
    return list(_rows(text.partition("\n## ")[0]))


def _rows(text: str) -> Iterator[Known]:
    for row in _ROW.finditer(text):
        suite, profile, reason = (row[name].strip().strip("`") for name in ("suite", "profile", "reason"))
        for identifier in _ID.findall(row["ids"]):
            yield Known(identifier, suite, profile, reason)
