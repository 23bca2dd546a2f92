"""`python -m tests.simulation`, as `make test-fleet` runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.simulation import __main__ as command
from tests.simulation.rounds import RACES
from tests.support.sidecar import ROOT

pytestmark = pytest.mark.timeout(600)

PATIENCE_SECONDS = 250.0
"""It is niced, and may stand back for long."""


def launched(*arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(*arguments: str) -> tuple[int, str]:
    with launched(*arguments) as process:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, said


def await_jobs(process: subprocess.Popen[str]) -> None:
    """Until its two jobs run; one more child keeps their books."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = monotonic() + PATIENCE_SECONDS
    while len(children.read_text().split()) < 3:
        assert monotonic() < deadline
        sleep(0.02)


def test_what_is_told_does_not_depend_on_the_number_of_jobs() -> None:
    alone = told("--interleavings", "3000")

    assert alone[1].splitlines()[0].endswith("interleavings of a purge and a fill, no promise broken")
    assert told("--interleavings", "3000", "--jobs", "3") == alone


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_broken_promise_fails_it_and_is_told(jobs: str) -> None:
    code, said = told("--mutant", "naive", "--jobs", jobs)

    assert code == 1
    assert said.endswith("replay: python -m tests.simulation --seed 0 --kind basic --replicas 3\n")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_end_ends_all_jobs(end: signal.Signals) -> None:
    with launched("--jobs", "2") as process:
        await_jobs(process)
        process.send_signal(end)
        # Its jobs have the same output: it is at its end only when all of them have gone.
        process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == (143 if end is signal.SIGTERM else -signal.SIGINT)


def test_a_race_that_hardly_happens_fails_it(capsys: pytest.CaptureFixture[str]) -> None:
    often = Counter({f"{name}, purged here" if "," not in name else name: 100 for name in command.RACES})

    assert command._rare(often) == 0
    assert command._rare(often + Counter({"follower": 10_000})) == 1
    assert "too rare: refresh, 100 times, expected 214" in capsys.readouterr().out


def test_the_same_races_are_counted_as_are_played_by_themselves() -> None:
    assert tuple(race.name for race in RACES) == command.RACES
