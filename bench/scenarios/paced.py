"""How long hits take at a fixed rate: 60 % of what ours can do, the same rate for everybody."""

from __future__ import annotations

from collections.abc import Iterator

from bench.bodies import ITEMS
from bench.load import h2load
from bench.load.checker import check_all
from bench.report.result import Result
from bench.scenarios.measuring import Notebook
from bench.scenarios.throughput import CACHES, HIT, THOUSAND, in_turn
from bench.servers.server import Server
from bench.session import Session, Stage

NAME = "paced"
_SHARE_OF_PEAK = 0.6
_KEYS = 1000
_PEAK_REQUESTS = 20_000


class PacedHits:
    names = (NAME,)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        del wanted  # there is one
        if lacking := h2load.missing():
            session.say(f"  SKIPPED: it needs: {lacking}")
            return
        notebook = Notebook()
        with session.serving(CACHES) as stage:
            for server in stage.servers:
                check_all(server, THOUSAND, None)
                notebook.blame(server.name, check_all(server, THOUSAND, HIT))
            rate = _SHARE_OF_PEAK * min(_peak(session, stage, server) for server in _ours(session, stage))
            session.say(f"  at {rate:,.0f} requests/s")
            for number in range(session.rounds):
                for server in in_turn(stage.servers, number):
                    _round(session, stage, server, notebook, rate)
            yield Result(NAME, notebook.figures, notebook.faults, stage.failed, session.seconds)


def _ours(session: Session, stage: Stage) -> list[Server]:
    names = {kind.name for kind in session.ours}
    return [server for server in stage.servers if server.name in names]


def _peak(session: Session, stage: Stage, server: Server) -> float:
    """Requests a second without a limit; the first run warms the server up."""
    runs = [_ask(session, stage, server, requests=_PEAK_REQUESTS, rate=None) for _ in range(2)]
    return runs[-1].requests_per_second


def _round(session: Session, stage: Stage, server: Server, notebook: Notebook, rate: float) -> None:
    seen = _ask(session, stage, server, requests=round(rate * session.seconds), rate=rate)
    notebook.write(
        server.name,
        {"requests_per_second": seen.requests_per_second, "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms},
    )
    if seen.failed:
        notebook.faults.setdefault(server.name, []).append(f"{seen.failed} of {seen.requests} failed")
    session.say(f"  {server.name:<16} P50 {seen.p50_ms:.2f} ms   P99 {seen.p99_ms:.2f} ms")


def _ask(
    session: Session, stage: Stage, server: Server, *, requests: int, rate: float | None
) -> h2load.Paced:
    return h2load.run(
        ITEMS,
        _KEYS,
        port=server.port,
        requests=requests,
        rate=rate,
        cores=session.load_cores,
        directory=stage.home,
    )
