"""One scenario from start to end, for a second: the tools work together and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.load import wrk
from bench.machine import family_of
from bench.report.result import Result
from bench.scenarios.throughput import THROUGHPUT
from bench.servers import nginx_base, ours
from bench.session import Session

LACKING = wrk.missing() or nginx_base.missing_nginx() or (len(os.sched_getaffinity(0)) < 2 and "two cores")


@pytest.mark.skipif(bool(LACKING), reason=f"the benchmark needs: {LACKING}")
def test_hits_are_measured_and_checked() -> None:
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    session = Session(
        server_core=server_core,
        load_core=load_core,
        load_cores=(load_core,),
        seconds=1,
        rounds=1,
        ours=(ours.kind_of(ours.CHECKOUT),),
        peers={},
    )
    before = family_of(os.getpid())
    (result,) = THROUGHPUT[0].run(session, frozenset({"hit"}))

    assert isinstance(result, Result)
    assert result.scenario == "hit"
    assert result.faults == {}
    assert (result.middle("sidecache", "requests_per_second") or 0) > 100
    assert family_of(os.getpid()) == before


def test_what_is_missing_is_said_and_skipped() -> None:
    said: list[str] = []
    absent = ours.kind_of(Path("/nonexistent"))
    session = Session(0, 1, (1,), 1, 1, (absent,), {}, say=said.append)

    assert session.kinds(("nginx",)) == []
    assert said == ["  SKIPPED sidecache: it needs: make .venv/test.stamp in /nonexistent"]
