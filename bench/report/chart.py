"""The ratios to nginx as an SVG: one bar for each scenario, with the line that it must reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from bench.report.bars import BARS, Bar, Verdict
from bench.report.result import Result

_WIDTH, _ROW, _TOP, _LEFT = 760, 30, 56, 190
_PLOT = _WIDTH - _LEFT - 70
_COLOURS = {
    Verdict.GOAL: "#1a7f37",
    Verdict.MET: "#4c9a5f",
    Verdict.NOT_MET: "#bf5b04",
    Verdict.WRONG: "#a40e26",
    Verdict.NOT_MEASURED: "#999999",
}


@dataclass(frozen=True, slots=True)
class _Row:
    bar: Bar
    ratio: float
    verdict: Verdict


def render(results: Mapping[str, Result]) -> str:
    """Ratios where more is better; what was not measured is left out."""
    rows = [
        _Row(bar, ratio, bar.verdict(results))
        for bar in BARS
        if not bar.unit and not bar.is_most and (ratio := bar.measured(results)) is not None
    ]
    most = max([1.2, *(row.ratio for row in rows), *(row.bar.bar for row in rows)])
    height = _TOP + _ROW * len(rows) + 20
    parts = [_row(row, place, most) for place, row in enumerate(rows)]
    return "\n".join([_opening(height), *parts, _parity(most, height), "</svg>", ""])


def _opening(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f'<text x="16" y="24" font-size="15">sidecache beside its peers, on one core: requests/s</text>\n'
        f'<text x="16" y="42" fill="#666666">more is better; the tick is the bar; measured in one run</text>'
    )


def _row(row: _Row, place: int, most: float) -> str:
    y = _TOP + _ROW * place
    width, tick = (round(value / most * _PLOT, 1) for value in (row.ratio, row.bar.bar))
    peer = row.bar.what.rpartition("÷ ")[2].removesuffix("'s")
    name = escape(f"{row.bar.scenario} ÷ {peer}")
    return (
        f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end">{name}</text>\n'
        f'<rect x="{_LEFT}" y="{y + 4}" width="{width}" height="18" fill="{_COLOURS[row.verdict]}"/>\n'
        f'<line x1="{_LEFT + tick}" x2="{_LEFT + tick}" y1="{y + 1}" y2="{y + 25}" stroke="#000000" '
        f'stroke-width="2"/>\n'
        f'<text x="{_LEFT + max(width, tick) + 8}" y="{y + 17}">{row.ratio:.2f}</text>'
    )


def _parity(most: float, height: int) -> str:
    x = round(_LEFT + _PLOT / most, 1)
    return (
        f'<line x1="{x}" x2="{x}" y1="{_TOP - 4}" y2="{height - 12}" '
        f'stroke="#666666" stroke-dasharray="4 3"/>'
    )
