"""Where a report goes: a folder of results, and the page of the documentation that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import chart, table
from bench.report.result import Result

_BEGIN, _END = "<!-- figures: written by `make bench-docs` -->", "<!-- end of figures -->"


def write_report(results: Mapping[str, Result], order: Sequence[str], folder: Path) -> None:
    """`report.md` and `chart.svg`, of all results that the folder holds."""
    (folder / "report.md").write_text(table.render(results, order), encoding="utf-8")
    (folder / "chart.svg").write_text(chart.render(results), encoding="utf-8")


def write_page(results: Mapping[str, Result], order: Sequence[str], page: Path) -> None:
    """Put the tables between the page's two marks, and the chart beside the page."""
    text, image = page.read_text(encoding="utf-8"), page.with_suffix(".svg")
    figures = f"![requests/s beside the peers]({image.name})\n\n{table.render(results, order)}"
    page.write_text(between_marks(text, figures), encoding="utf-8")
    image.write_text(chart.render(results), encoding="utf-8")


def between_marks(text: str, figures: str) -> str:
    """The page with new figures; ValueError when it has no place for them."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page lacks {_BEGIN} ... {_END}")
    return f"{before}{begin}\n\n{figures}\n{end}{after}"
