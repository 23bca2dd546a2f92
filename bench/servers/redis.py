"""The Redis behind sidecache and behind nginx with Lua: the same one, emptied in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import free_ports, is_listening
from bench.processes import running

EXECUTABLES = ("valkey-server", "redis-server")


def missing() -> str | None:
    return None if any(map(shutil.which, EXECUTABLES)) else "apt-get install redis-server"


@contextmanager
def redis(home: Path, *, core: int) -> Iterator[int]:
    """The port of a server that keeps nothing on disk.

    It runs on the load's core: the shared Redis of a fleet is another machine, whose CPU no sidecar pays.
    """
    (port,) = free_ports(1)
    executable = next(name for name in EXECUTABLES if shutil.which(name))
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with running(
        [executable, *options],
        cores=[core],
        log=home / "redis.log",
        is_ready=lambda: is_listening(port),
        directory=home,
    ):
        yield port
