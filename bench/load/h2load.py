"""h2load: HTTP/1.1 requests at a fixed rate, each answer's time read off its log."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.bodies import Family
from bench.processes import pinned
from bench.servers.server import lacks

CLIENTS = 64
_SPARE_SECONDS = 30.0
_MOST_STATUS = 399
_FIELDS = (
    ":authority: shop.example",
    "Accept: application/json, text/plain, */*",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-US,en;q=0.9",
    "X-Request-Id: 6f1b2c3d-00000001",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "X-Forwarded-For: 10.1.2.3",
    "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793",
)
"""With its own User-Agent nine fields. It cannot make them differ from request to request.
`:authority` is what it writes as Host; a Host given here would be a second one."""

missing: Callable[[], str | None] = partial(lacks, "h2load", package="nghttp2-client")


@dataclass(frozen=True, slots=True)
class Paced:
    """What h2load saw."""

    requests: int
    seconds: float
    failed: int
    p50_ms: float
    p99_ms: float

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds


def run(
    family: Family,
    count: int,
    *,
    port: int,
    requests: int,
    rate: float | None,
    cores: tuple[int, ...],
    directory: Path,
) -> Paced:
    """Ask for a family's first `count` paths in turn, `rate` times a second; None: as fast as can be."""
    uris, log = directory / "uris", directory / "h2load.log"
    uris.write_text("".join(f"http://127.0.0.1:{port}{family.path(n)}\n" for n in range(count)))
    log.unlink(missing_ok=True)
    command: list[str | Path] = [
        *("h2load", "--h1", "-t1", f"-c{CLIENTS}", "-m1", f"-n{requests}", "-i", uris),
        f"--log-file={log}",
        *((f"--rps={rate / CLIENTS:.3f}",) if rate else ()),
        *(word for field in _FIELDS for word in ("-H", field)),
    ]
    seconds = requests / rate if rate else 0.0
    subprocess.run(
        pinned(command, cores=cores), capture_output=True, check=True, timeout=seconds + _SPARE_SECONDS
    )
    return parse(log.read_text().splitlines())


def parse(lines: Sequence[str]) -> Paced:
    """h2load's log: the start in µs of the epoch, the status, and how long the answer took, in µs."""
    rows = [tuple(map(int, line.split()[:3])) for line in lines if line.strip()]
    if not rows:
        raise ValueError("h2load logged no answer")
    times = sorted(duration for _, _, duration in rows)
    ends = [started + duration for started, _, duration in rows]
    began_at = min(started for started, _, _ in rows)
    failed = sum(not 0 < status <= _MOST_STATUS for _, status, _ in rows)
    return Paced(
        len(rows),
        max((max(ends) - began_at) / 1e6, 1e-6),
        failed,
        percentile(times, 50) / 1000,
        percentile(times, 99) / 1000,
    )


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The smallest value that so many percent do not exceed."""
    place = -(-len(ordered) * percent // 100)
    return ordered[max(int(place) - 1, 0)]
