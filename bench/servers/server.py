"""What every server of the benchmark has in common: how it is asked to run, and what of it is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import family_of

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Setup:
    """What a scenario asks of all its servers alike."""

    origin_port: int
    cores: tuple[int, ...]
    workers: int = 1
    max_entries: int = 100_000
    max_bytes: int = 1024 * MIB
    redis_port: int | None = None
    is_l2_asked_first: bool = False
    """Every answer comes from Redis, none from the process' own memory."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    was_hit: Callable[[Mapping[str, str]], bool]
    """Does the answer with these fields (lower-case names) say that it came from the cache?"""
    ops_port: int | None = None

    def family(self) -> list[int]:
        """Its processes."""
        return family_of(self.pid)


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that may be measured."""

    name: str
    label: str
    missing: Callable[[], str | None]
    """What must be installed before it can run; None when nothing is missing."""
    start: Callable[[Path, Setup], AbstractContextManager[Server]]


def says_hit(fields: Mapping[str, str]) -> bool:
    """The peers are configured to say `X-Cache: HIT`."""
    return fields.get("x-cache") == "HIT"


def lacks(*executables: str, package: str) -> str | None:
    """`apt-get install ...` when one of the executables is not there."""
    absent = [name for name in executables if not shutil.which(name)]
    return f"apt-get install {package}" if absent else None
