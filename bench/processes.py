"""Processes of the benchmark: pinned to cores, waited for, and ended by their ids, whatever happens."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.005


class NotStarted(Exception):
    """A process did not come up; the message ends with what it wrote."""


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    cores: Sequence[int],
    log: Path,
    is_ready: Callable[[], bool],
    directory: Path | None = None,
) -> Iterator[int]:
    """The id of a process that is ready; it is ended with the block. What it writes goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            pinned(command, cores=cores),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=True,  # Ctrl-C ends the benchmark, which then ends its processes in order
        )
    try:
        _wait(process, is_ready, log)
        yield process.pid
    finally:
        _end(process)


def pinned(command: Sequence[str | Path], *, cores: Sequence[int]) -> list[str]:
    """The command, bound to these cores."""
    return ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]


def wait_until(is_done: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until it is done; NotStarted after the deadline."""
    end_at = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > end_at:
            raise NotStarted(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_SECONDS)


def _wait(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    end_at = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > end_at:
            raise NotStarted(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(_POLL_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Its own session is its own process group: children that outlive it would keep the port.
        os.killpg(process.pid, 9)
        process.wait(STOP_SECONDS)
