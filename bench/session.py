"""One run of the benchmark: how long, on which cores, with which servers; and the starting of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.origin import Origin, origin
from bench.processes import NotStarted
from bench.servers.redis import redis
from bench.servers.server import Kind, Server, Setup

_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # what nginx caches shall stay in memory, too


@dataclass(frozen=True, slots=True)
class Session:
    """What all scenarios of a run share."""

    server_core: int
    load_core: int
    load_cores: tuple[int, ...]
    """Where wrk runs: on the load's core, except where servers and load share all cores."""
    seconds: float
    rounds: int
    ours: tuple[Kind, ...]
    peers: dict[str, Kind]
    is_quick: bool = False
    say: Callable[[str], None] = print

    def kinds(self, peers: Sequence[str]) -> list[Kind]:
        """Ours and those of the named peers that can run; what cannot is said aloud."""
        chosen = [*self.ours, *(self.peers[name] for name in peers if name in self.peers)]
        able = []
        for kind in chosen:
            if lacking := kind.missing():
                self.say(f"  SKIPPED {kind.label}: it needs: {lacking}")
            else:
                able.append(kind)
        return able

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for one scenario, in memory where that can be had; gone afterwards."""
        place = _MEMORY_FOLDER if _MEMORY_FOLDER.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as name:
            yield Path(name)

    def setup(self, origin_port: int, **changes: object) -> Setup:
        setup = Setup(origin_port, (self.server_core,))
        return replace(setup, **changes)  # type: ignore[arg-type]

    @contextmanager
    def serving(
        self, peers: Sequence[str], *, with_redis: bool = False, **changes: object
    ) -> Iterator[Stage]:
        """An origin, a Redis where asked for, and all able servers, each with its own empty cache."""
        with ExitStack() as stack:
            home = stack.enter_context(self.folder())
            behind = stack.enter_context(origin(home, core=self.load_core))
            if with_redis:
                changes["redis_port"] = stack.enter_context(redis(home, core=self.load_core))
            stage = Stage(home, behind, self.setup(behind.port, **changes))
            for kind in self.kinds(peers):
                try:
                    stage.servers.append(stack.enter_context(_started(kind, stage)))
                except NotStarted as fault:
                    self.say(f"  FAILED {kind.label}: {fault}")
                    stage.failed.append(f"{kind.label} did not start")
            yield stage


@dataclass(frozen=True, slots=True)
class Stage:
    """The running processes of one scenario."""

    home: Path
    origin: Origin
    setup: Setup
    servers: list[Server] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def _started(kind: Kind, stage: Stage) -> Iterator[Server]:
    home = stage.home / kind.name.replace("/", "_")
    home.mkdir()
    with kind.start(home, stage.setup) as server:
        yield server
