"""Writes docs/metrics.md from the table in proxy/observe/metrics.py.

`python scripts/metrics_reference.py` writes the page; a test fails when page and table differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from proxy.observe.metrics import (  # noqa: E402 - a script finds the package beside it
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    PREFIX,
    SECONDS_BOUNDS,
    Row,
)

PAGE = ROOT / "docs" / "metrics.md"

_INTRODUCTION = """\
# Metrics

Written by `scripts/metrics_reference.py` from the table in `proxy/observe/metrics.py`; do not edit.

`GET /metrics` on the ops port answers in Prometheus' text format. A label is never a path, a key or
anything else that a client chooses: `route` comes from the configuration, all others from closed sets.
A combination of labels appears when it is first counted. Each replica has its own counts. With `workers`
above 1 the page shows what all workers make together: sums, but for the gauges that name `max` or `min`.
Counters and histograms do not fall when a worker is replaced.
"""


def render() -> str:
    """The whole page."""
    bounds = ", ".join(f"{bound:g}" for bound in SECONDS_BOUNDS)
    return "\n".join(
        (
            _INTRODUCTION,
            _section("Counters", COUNTERS, suffix="_total"),
            _section("Histograms", HISTOGRAMS, suffix=""),
            f"Each has `_bucket`, `_sum` and `_count`; upper bounds in seconds: {bounds}.\n",
            _section("Gauges", GAUGES, suffix=""),
        )
    )


def _section(title: str, rows: tuple[Row, ...], *, suffix: str) -> str:
    lines = [f"## {title}\n", "| metric | labels | meaning |", "|---|---|---|"]
    lines += [f"| `{PREFIX}{row.name}{suffix}` | {_labels(row)} | {_meaning(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _labels(row: Row) -> str:
    return ", ".join(f"`{label}`" for label in row.labels)


def _meaning(row: Row) -> str:
    return row.help if row.across == "sum" else f"{row.help} (`{row.across}` of all workers)"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
