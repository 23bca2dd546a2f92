"""wrk: as many requests as the server answers, over a fixed number of connections."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.load.plan import Plan, render_script
from bench.processes import pinned
from bench.servers.server import lacks

_MARK = "figures "
_SPARE_SECONDS = 20.0
_SERIALS_OF_A_RUN = 100_000_000
_runs = itertools.count()

missing: Callable[[], str | None] = partial(lacks, "wrk", package="wrk")


@dataclass(frozen=True, slots=True)
class Run:
    """What wrk saw."""

    requests: int
    seconds: float
    refused: int
    broken: int
    bad_status: int
    timeouts: int
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def errors(self) -> int:
        return self.refused + self.broken + self.bad_status + self.timeouts

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def run(plan: Plan, *, port: int, seconds: float, cores: tuple[int, ...], directory: Path) -> Run:
    """Ask for so long; each run's unique fields differ from any other run's."""
    script = directory / "requests.lua"
    serial = next(_runs) * _SERIALS_OF_A_RUN % (1 << 32)
    script.write_text(render_script(plan, serial=serial), encoding="utf-8")
    command: list[str | Path] = [
        *("wrk", f"--threads={len(cores)}", f"--connections={plan.connections}", "--timeout=10s"),
        *(f"--duration={max(1, round(seconds))}s", "--script", script, f"http://127.0.0.1:{port}"),
    ]
    done = subprocess.run(
        pinned(command, cores=cores),
        capture_output=True,
        text=True,
        timeout=seconds + _SPARE_SECONDS,
        check=False,
    )
    return parse(done.stdout, complaint=done.stderr)


def parse(output: str, *, complaint: str = "") -> Run:
    """The figures that our script prints at the end of wrk's output; ValueError when there are none."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise ValueError(f"wrk printed no figures: {complaint or output}")
    return Run(**json.loads(lines[-1].removeprefix(_MARK)))


def fill(
    plan: Plan, count: int, *, port: int, cores: tuple[int, ...], directory: Path, seconds: float
) -> None:
    """Ask until the plan's first `count` paths have been asked for; TimeoutError after so many seconds."""
    asked, end_at = 0, time.monotonic() + seconds
    while asked < count:
        if time.monotonic() > end_at:
            raise TimeoutError(f"{asked} of {count} entries after {seconds:g} s")
        # What a run leaves unanswered at its end is asked again.
        overlap = min(asked, plan.connections)
        again = plan.continued(asked - overlap)
        asked += run(again, port=port, seconds=4, cores=cores, directory=directory).requests - overlap
