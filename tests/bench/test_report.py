"""Medians, ratios, bars, tables, the chart and the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.report import chart, table
from bench.report.bars import BARS, Bar, Verdict
from bench.report.publishing import between_marks, write_page
from bench.report.result import Result, load_all, save
from bench.scenarios.all_scenarios import NAMES

RATE = "requests_per_second"
HIT = Result(
    "hit",
    {
        "sidecache": {RATE: [90.0, 200.0, 95.0], "p99_ms": [2.0, 2.0, 2.0]},
        "nginx": {RATE: [100.0, 200.0, 100.0], "p99_ms": [1.0, 1.0, 1.0]},
    },
    seconds=4.0,
)
RATE_BAR = Bar(
    "hit", "requests/s ÷ nginx's", lambda result: result.ratio(RATE, "sidecache", "nginx"), 0.9, 1.0
)


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert HIT.ratio(RATE, "sidecache", "nginx") == 0.95
    assert HIT.middle("sidecache", RATE) == 95.0


def test_ratio_to_what_was_not_measured_is_none() -> None:
    assert HIT.ratio(RATE, "sidecache", "varnish") is None
    assert HIT.ratio("cpu_us", "sidecache", "nginx") is None
    assert HIT.middle("varnish", RATE) is None


def test_rounds_that_do_not_pair_compare_medians() -> None:
    result = Result("hit", {"sidecache": {RATE: [50.0]}, "nginx": {RATE: [90.0, 100.0, 110.0]}})

    assert result.ratio(RATE, "sidecache", "nginx") == 0.5


@pytest.mark.parametrize(
    ("bar", "goal", "is_most", "verdict"),
    [
        (0.9, 0.95, False, Verdict.GOAL),
        (0.95, 1.0, False, Verdict.MET),
        (0.96, 1.0, False, Verdict.NOT_MET),
        (0.9, None, False, Verdict.MET),
        (1.0, 0.95, True, Verdict.GOAL),
        (0.95, 0.9, True, Verdict.MET),
        (0.94, 0.9, True, Verdict.NOT_MET),
    ],
)
def test_verdict(bar: float, goal: float | None, is_most: bool, verdict: Verdict) -> None:
    assert replace(RATE_BAR, bar=bar, goal=goal, is_most=is_most).verdict({"hit": HIT}) is verdict


def test_wrong_answers_are_worth_nothing() -> None:
    wrong = replace(HIT, faults={"sidecache": ["1 of 9 checked answers were wrong"]})

    assert RATE_BAR.verdict({"hit": wrong}) is Verdict.WRONG
    assert RATE_BAR.verdict({"hit": replace(HIT, faults={"nginx": ["slow"]})}) is Verdict.MET


def test_what_was_not_measured_is_no_success() -> None:
    assert {bar.verdict({}) for bar in BARS} == {Verdict.NOT_MEASURED}


def test_every_bar_belongs_to_a_scenario() -> None:
    assert {bar.scenario for bar in BARS} <= set(NAMES)


@pytest.mark.parametrize(
    ("scenario", "figures", "measured"),
    [
        ("pauses", {"sidecache": {"worst_ms": [3.0, 12.0]}, "bare loop": {"worst_ms": [4.0, 2.0]}}, 8.0),
        (
            "workers",
            {
                "sidecache": {RATE: [100.0]},
                "sidecache with 2 workers": {RATE: [180.0]},
                "nginx": {RATE: [100.0]},
                "nginx with 2 workers": {RATE: [200.0]},
            },
            0.9,
        ),
        ("shop", {"sidecache": {RATE: [30.0]}, "sidecache hits": {RATE: [100.0]}}, 0.3),
        ("paced", {"sidecache": {"p99_ms": [2.6]}, "nginx": {"p99_ms": [2.0]}}, 1.3),
        ("start", {"sidecache": {"ready_seconds": [0.5]}, "imports alone": {"ready_seconds": [0.25]}}, 2.0),
    ],
)
def test_bar_reads_its_figures(
    scenario: str, figures: dict[str, dict[str, list[float]]], measured: float
) -> None:
    bar = next(bar for bar in BARS if bar.scenario == scenario)

    assert bar.measured({scenario: Result(scenario, figures)}) == pytest.approx(measured)


def test_bars_are_a_table_with_a_line_for_each() -> None:
    lines = table.render_bars({"hit": HIT}).splitlines()

    assert len(lines) == len(BARS) + 2
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        *("`hit`", "requests/s ÷ nginx's", "0.95", "0.85", "1.10", "met"),
    ]


def test_section_has_a_row_for_each_server_and_says_what_went_wrong() -> None:
    busy = {"server_core_busy": [0.8], "load_core_busy": [1.0]}
    limited = replace(HIT, figures={**HIT.figures, "haproxy": {RATE: [150.0], **busy}})
    text = table.render_section(replace(limited, faults={"nginx": ["3 bad status"]}, notes=["a note"]))

    assert "| sidecache | 95         | -" not in text
    assert "| sidecache | 95         | 2.00   |" in text
    assert "| nginx     | 100        | 1.00   |" in text
    assert "* nginx: 3 bad status\n\n* haproxy: the load was the limit, not the server\n\n* a note" in text


def test_a_stranger_on_the_servers_core_is_told_though_the_median_hides_it() -> None:
    shares = {"sidecache": [0.0, 0.02, 0.31], "nginx": [0.04, 0.05, 0.03]}
    figures = {name: {RATE: [100.0, 100.0, 90.0], "others_share": share} for name, share in shares.items()}
    said = "* sidecache: something else took up to 31% of its core, measure again"

    assert table.render_section(Result("hit", figures)).endswith(f"|\n\n{said}")
    assert "something else" not in table.render_section(Result("workers", figures))


def test_chart_is_an_image_of_the_ratios() -> None:
    image = chart.render({"hit": HIT})

    assert ET.fromstring(image).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  # our own
    assert "hit ÷ nginx" in image
    assert ">0.95</text>" in image
    assert "hit ÷ varnish" not in image


def test_results_come_back_from_their_folder(tmp_path: Path) -> None:
    save(HIT, tmp_path)

    assert load_all(tmp_path) == {"hit": HIT}


def test_figures_replace_those_between_the_marks_of_a_page() -> None:
    page = "before\n<!-- figures: written by `make bench-docs` -->\nold\n<!-- end of figures -->\nafter\n"

    written = between_marks(page, "new\n")

    assert "old" not in written
    assert written == between_marks(written, "new\n")
    assert written.startswith("before\n<!-- figures")
    assert written.endswith("\nnew\n\n<!-- end of figures -->\nafter\n")


def test_page_gets_the_tables_and_the_chart_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("<!-- figures: written by `make bench-docs` -->\n<!-- end of figures -->\n")

    write_page({"hit": HIT}, NAMES, page)

    assert "![requests/s beside the peers](performance.svg)" in page.read_text()
    assert "### `hit`" in page.read_text()
    assert (tmp_path / "performance.svg").read_text() == chart.render({"hit": HIT})


def test_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        between_marks("no marks", "new")
