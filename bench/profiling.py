"""Flame graphs: ours under any scenario's load, watched from outside by py-spy."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.processes import pinned
from bench.servers.ours import CHECKOUT
from bench.servers.server import Kind, Server, Setup

_PY_SPY = CHECKOUT / ".venv/bin/py-spy"
_WRITE_SECONDS = 30.0


def profiled(kind: Kind, file: Path, *, core: int) -> Kind:
    """The same server, watched as long as it runs; the flame graph is in `file` when it has ended."""

    @contextmanager
    def start(home: Path, setup: Setup) -> Iterator[Server]:
        with kind.start(home, setup) as server, _watched(server.pid, file, core=core):
            yield server

    return replace(kind, missing=lambda: kind.missing() or _missing(), start=start)


@contextmanager
def _watched(pid: int, file: Path, *, core: int) -> Iterator[None]:
    # Nonblocking: a sampler that stops the process would change what it shows.
    command: list[str | Path] = [
        _PY_SPY,
        "record",
        "--nonblocking",
        "--subprocesses",
        "--pid",
        str(pid),
        "--output",
        file,
    ]
    process = subprocess.Popen(
        pinned(command, cores=[core]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_WRITE_SECONDS)


def _missing() -> str | None:
    return None if _PY_SPY.exists() else "make .venv/bench.stamp"
