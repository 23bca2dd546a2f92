"""Results as Markdown: the bars first, then what every server did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.report.bars import BARS, OURS, Bar
from bench.report.result import Result

_LOAD_IS_LIMIT = 0.97
_SERVER_IS_IDLE = 0.93
"""When the load's core is full and the server's is not, the server was not the limit."""

_OTHERS_DISTURB = 0.05
"""Of the server's core in any round; on a quiet machine it is one or two hundredths."""

_SHARED_CORES = frozenset({"workers"})
"""Where servers and load take what they get of both."""

_HEADINGS = {
    "requests_per_second": ("requests/s", "{:,.0f}"),
    "p50_ms": ("P50 ms", "{:.2f}"),
    "p99_ms": ("P99 ms", "{:.2f}"),
    "cpu_us": ("CPU µs/request", "{:.1f}"),
    "resident_mib": ("memory MiB", "{:.0f}"),
    "first_ms": ("first answer ms", "{:.0f}"),
    "last_ms": ("last answer ms", "{:.0f}"),
    "origin_requests": ("requests to the origin", "{:.0f}"),
    "ready_seconds": ("ready after s", "{:.3f}"),
    "resting_mib": ("memory at rest MiB", "{:.1f}"),
    "bytes_at_100000": ("bytes/entry at 100,000", "{:.0f}"),
    "bytes_at_200000": ("bytes/entry at 200,000", "{:.0f}"),
    "bytes_at_1000000": ("bytes/entry at 1,000,000", "{:.0f}"),
    "worst_ms": ("longest wait ms", "{:.1f}"),
    "server_core_busy": ("server's core busy", "{:.0%}"),
    "load_core_busy": ("load's core busy", "{:.0%}"),
}


def render(results: Mapping[str, Result], order: Sequence[str]) -> str:
    """All there is to say about these results."""
    sections = [render_bars(results)]
    sections.extend(render_section(results[name]) for name in order if name in results)
    return "\n\n".join(sections) + "\n"


def render_bars(results: Mapping[str, Result]) -> str:
    rows = [
        [
            f"`{bar.scenario}`",
            bar.what,
            _quantity(bar, bar.measured(results)),
            _quantity(bar, bar.bar),
            _quantity(bar, bar.goal),
            bar.verdict(results).value,
        ]
        for bar in BARS
    ]
    return grid(["scenario", "what", "measured", "bar", "goal", "verdict"], rows)


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown that reads well as text, too."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [headings, *rows]
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _quantity(bar: Bar, value: float | None) -> str:
    if value is None:
        return "-"
    if not bar.unit:
        return f"{value:.2f}"
    return f"{value:.{0 if value >= 100 else 1}f} {bar.unit}"


def render_section(result: Result) -> str:
    """One scenario: a row for each server, and ours divided by it."""
    shown = [name for name in _HEADINGS if any(name in figures for figures in result.figures.values())]
    main = next((name for name in shown if name in {"requests_per_second", "last_ms", "ready_seconds"}), None)
    rows = [
        [server, *(_cell(result, server, name) for name in shown), _ours_over(result, server, main)]
        for server in result.figures
    ]
    headings = ["server", *(_HEADINGS[name][0] for name in shown), f"{OURS} ÷ it"]
    lines = [f"### `{result.scenario}`", grid(headings, rows), *_remarks(result)]
    return "\n\n".join(lines)


def _cell(result: Result, server: str, figure: str) -> str:
    value = result.middle(server, figure)
    return "-" if value is None else _HEADINGS[figure][1].format(value)


def _ours_over(result: Result, server: str, figure: str | None) -> str:
    ratio = result.ratio(figure, OURS, server) if figure else None
    return "-" if ratio is None else f"{ratio:.2f}"


def _remarks(result: Result) -> list[str]:
    remarks = [f"{server}: {'; '.join(faults)}" for server, faults in result.faults.items()]
    remarks.extend(f"{server}: the load was the limit, not the server" for server in _limited_by_load(result))
    remarks.extend(
        f"{server}: something else took up to {share:.0%} of its core, measure again"
        for server, share in _disturbed(result)
    )
    return [f"* {remark}" for remark in [*remarks, *result.notes]]


def _limited_by_load(result: Result) -> list[str]:
    if result.scenario in _SHARED_CORES:
        return []
    return [
        server
        for server in result.figures
        if (result.middle(server, "load_core_busy") or 0) > _LOAD_IS_LIMIT
        and (result.middle(server, "server_core_busy") or 1) < _SERVER_IS_IDLE
    ]


def _disturbed(result: Result) -> list[tuple[str, float]]:
    """Who shared the server's core with a stranger, and how much of it that took."""
    if result.scenario in _SHARED_CORES:
        return []
    most = {server: max(figures.get("others_share", [0.0])) for server, figures in result.figures.items()}
    return [(server, share) for server, share in most.items() if share > _OTHERS_DISTURB]
