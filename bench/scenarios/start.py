"""How long it takes to be ready, beside what importing its libraries takes, and the memory at rest."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.machine import resident_bytes
from bench.processes import pinned
from bench.report.result import Result
from bench.scenarios.measuring import Notebook
from bench.servers.ours import CHECKOUT
from bench.servers.server import MIB
from bench.session import Session

NAME = "start"
IMPORTS = "imports alone"
_LIBRARIES = "import aiohttp, uvloop, redis, pydantic"
_ROUNDS = 5
_REST_SECONDS = 1.0


class Start:
    names = (NAME,)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        del wanted  # there is one
        notebook = Notebook()
        for number in range(_ROUNDS + 1):
            imports = _time_imports(session, CHECKOUT)
            started = _time_start(session)
            if number:  # the first one fills the page cache
                notebook.write(IMPORTS, {"ready_seconds": imports})
                for name, figures in started.items():
                    notebook.write(name, figures)
        yield Result(NAME, notebook.figures)


def _time_imports(session: Session, checkout: Path) -> float:
    command: list[str | Path] = [checkout / ".venv/bin/python", "-c", _LIBRARIES]
    began_at = time.perf_counter()
    subprocess.run(pinned(command, cores=[session.server_core]), check=True, timeout=60)
    return time.perf_counter() - began_at


def _time_start(session: Session) -> dict[str, dict[str, float]]:
    """Each of ours: seconds until its start-up probe answers, then its memory after a moment's rest."""
    found = {}
    with session.folder() as home:
        for kind in session.ours:
            own = home / kind.name
            own.mkdir()
            with ExitStack() as stack:
                began_at = time.perf_counter()
                # Nothing listens there: that is the origin's affair, not the start's.
                server = stack.enter_context(kind.start(own, session.setup(9)))
                ready_seconds = time.perf_counter() - began_at
                time.sleep(_REST_SECONDS)
                found[kind.name] = {
                    "ready_seconds": ready_seconds,
                    "resting_mib": resident_bytes(server.family()) / MIB,
                }
    return found
