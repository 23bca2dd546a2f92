"""What is asked for, and how the answers of wrk and h2load are read."""

from __future__ import annotations

import pytest

from bench.bodies import ITEMS, LARGE, PASSED
from bench.load import h2load, wrk
from bench.load.burst import summary
from bench.load.plan import Plan, Source, render_script, schedule

WRK = """\
Running 2s test @ http://127.0.0.1:40000
  2000 requests in 2.00s, 2.3MB read

figures {"requests": 2000, "seconds": 2.0, "refused": 1, "broken": 2, "bad_status": 3, "timeouts": 4, \
"p50_ms": 0.5, "p99_ms": 1.5, "worst_ms": 9.0}
"""


def test_body_follows_from_the_path_and_has_its_size() -> None:
    assert [len(family.body(family.path(7))) for family in (ITEMS, LARGE)] == [1024, 102_400]
    assert ITEMS.body("/items/00000007").startswith(b'{"path": "/items/00000007", "text": "')
    assert ITEMS.body("/items/00000007") != ITEMS.body("/items/00000008")


def test_figures_of_wrk_are_those_of_our_script() -> None:
    run = wrk.parse(WRK)

    assert (run.requests_per_second, run.errors, run.p99_ms) == (1000.0, 10, 1.5)


def test_output_of_wrk_without_figures_is_an_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        wrk.parse("", complaint="unable to connect")


def test_shares_are_exact_and_mixed() -> None:
    turns = schedule([0.7, 0.25, 0.05])

    assert [turns.count(source) for source in (1, 2, 3)] == [700, 250, 50]
    assert turns[:700] != [1] * 700


def test_single_source_is_asked_in_every_turn() -> None:
    assert schedule([1.0]) == [1]


def test_script_holds_the_plan() -> None:
    source = Source(PASSED, 1000, first=5)
    script = render_script(Plan((source,), method="POST", fields=("A: b",), body="xyz"), serial=9)

    assert 'method = "POST"' in script
    assert 'more_fields = "A: b\\r\\nContent-Length: 3\\r\\n"' in script
    assert 'name = "passed", first = 5, count = 1000, start = 0, order = "cycle"' in script
    assert "is_unique = true, serial = 9" in script


def test_continued_plan_starts_where_the_last_one_ended() -> None:
    plan = Plan((Source(ITEMS, 1000),)).continued(64).continued(36)

    assert plan.sources[0].start == 100


def test_log_of_h2load_is_read_into_percentiles() -> None:
    lines = [f"{1_000_000 + 10_000 * number}\t200\t{1000 * (number + 1)}" for number in range(100)]
    lines[0] = "1000000\t503\t1000"

    paced = h2load.parse(lines)

    assert (paced.requests, paced.failed, paced.p50_ms, paced.p99_ms) == (100, 1, 50.0, 99.0)
    assert paced.seconds == pytest.approx(1.09)


def test_empty_log_of_h2load_is_an_error() -> None:
    with pytest.raises(ValueError, match="no answer"):
        h2load.parse([])


def test_burst_counts_what_is_not_the_right_answer() -> None:
    right, short = b"HTTP/1.1 200 OK\r\n\r\nbody", b"HTTP/1.1 200 OK\r\n\r\nbod"
    late = b"HTTP/1.1 503 Service Unavailable\r\n\r\nbody"

    seen = summary([(right, 1.25), (short, 1.5), (late, 1.75)], b"body", 1.0)

    assert (seen.first_ms, seen.last_ms, seen.wrong) == (250.0, 750.0, 2)
