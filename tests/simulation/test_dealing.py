"""Work is dealt out to real processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.simulation.dealing import results
from tests.support.sidecar import ROOT

pytestmark = pytest.mark.timeout(300)


def slow_where_even(number: int) -> tuple[int, int]:
    """Who comes second has finished first."""
    sleep(0.05 * (number % 2 == 0))
    return number, os.getpid()


def dying(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def crashing(number: int) -> int:
    return 1 // (2 - number)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_come_in_order_whoever_has_worked_them_out(jobs: int) -> None:
    numbers, processes = [], set()
    told = iter(results(slow_where_even, jobs=jobs))
    while len(numbers) < 12 or len(processes) < jobs:  # a busy machine may start the second one late
        number, process = next(told)
        numbers.append(number)
        processes.add(process)
    del told

    assert numbers == list(range(len(numbers)))
    assert len(processes) == jobs


def test_who_has_enough_leaves_no_process_behind() -> None:
    told = results(slow_where_even, jobs=2)
    next(told)
    during = len(multiprocessing.active_children())
    told.close()

    assert during == 2
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("work", [dying, crashing])
def test_a_job_that_dies_fails_the_whole(
    work: Callable[[int], int], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ChildProcessError):
        list(islice(results(work, jobs=2), 100))

    assert multiprocessing.active_children() == []
    assert ("ZeroDivisionError" in capfd.readouterr().err) is (work is crashing)


def test_jobs_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """As by SIGKILL: it cannot end them itself, but nobody listens to them any more."""
    script = tmp_path / "dealer.py"
    script.write_text(
        "from time import sleep\n"
        "from tests.simulation.dealing import results\n"
        "from tests.simulation.test_dealing import slow_where_even\n"
        "if __name__ == '__main__':\n"
        "    told = results(slow_where_even, jobs=2)\n"
        "    jobs = set()\n"
        "    while len(jobs) < 2:\n"
        "        jobs.add(next(told)[1])\n"
        "    print(*jobs, flush=True)\n"
        "    sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        jobs = [int(word) for word in process.stdout.readline().split()]
        process.kill()

    assert len(jobs) == 2
    deadline = monotonic() + 50
    while any(is_alive(job) for job in jobs):
        assert monotonic() < deadline
        sleep(0.01)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
