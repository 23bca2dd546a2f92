"""500 clients ask at once for what no cache holds and the API takes 200 ms for."""

from __future__ import annotations

from collections.abc import Iterator

from bench.bodies import SLOW
from bench.load.burst import burst
from bench.report.result import Result
from bench.scenarios.measuring import Notebook
from bench.scenarios.throughput import CACHES, in_turn
from bench.servers.nginx_base import LUA_PACKAGES, can_run_lua
from bench.servers.server import Server
from bench.session import Session, Stage

NAME = "stampede"
CLIENTS = 500


class Stampede:
    names = (NAME,)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        del wanted  # there is one
        if not can_run_lua():
            session.say(f"  SKIPPED: the origin's delay needs: apt-get install {LUA_PACKAGES}")
            return
        notebook = Notebook()
        with session.serving(CACHES) as stage:
            for number in range(session.rounds):
                for server in in_turn(stage.servers, number):
                    _round(session, stage, server, notebook, number)
            yield Result(NAME, notebook.figures, notebook.faults, stage.failed)


def _round(session: Session, stage: Stage, server: Server, notebook: Notebook, number: int) -> None:
    asked_before = stage.origin.requests()
    seen = burst(SLOW, number, port=server.port, clients=CLIENTS)
    asked = stage.origin.requests() - asked_before
    notebook.write(
        server.name, {"first_ms": seen.first_ms, "last_ms": seen.last_ms, "origin_requests": asked}
    )
    if seen.wrong:
        notebook.faults.setdefault(server.name, []).append(f"{seen.wrong} of {CLIENTS} answers were wrong")
    session.say(
        f"  {server.name:<16} last answer after {seen.last_ms:.0f} ms, {asked} requests to the origin"
    )
