"""With a million live entries: the memory they take, hits among them, and the longest stall.

One filled cache serves all three, since filling it is what takes time.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.bodies import SMALL
from bench.load import wrk
from bench.load.plan import Plan, Source
from bench.load.probe import probing
from bench.machine import free_ports, is_listening, resident_bytes
from bench.processes import running
from bench.report.result import Result
from bench.scenarios.measuring import Notebook, load, measure
from bench.scenarios.throughput import HIT, WARM_SECONDS, in_turn
from bench.servers.ours import CHECKOUT
from bench.servers.server import MIB, Server
from bench.session import Session, Stage

HIT_1M, MEMORY, PAUSES = "hit-1m", "memory", "pauses"
BARE_LOOP = "bare loop"
_MILLION, _HUNDRED_THOUSAND = 1_000_000, 100_000
_QUICK_ENTRIES = 200_000
_FILL_SECONDS = 300.0
_ROOM = 1.25
"""A tenth of L1's entries are kept for negative answers, and the load adds new ones."""
_NEW = Source(SMALL, 40_000_000, first=10_000_000, share=0.05)
_FEW = 4
_HOST = "shop.example"


class Million:
    names = (HIT_1M, MEMORY, PAUSES)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        entries = _QUICK_ENTRIES if session.is_quick else _MILLION
        peers = ("nginx", "varnish") if HIT_1M in wanted else ()
        memory, hits, pauses = Notebook(), Notebook(), Notebook()
        with session.serving(peers, max_entries=round(entries * _ROOM), max_bytes=4096 * MIB) as stage:
            full = [server for server in stage.servers if _fill(session, stage, server, entries, memory)]
            if HIT_1M in wanted:
                _measure_hits(session, replace(stage, servers=full), hits, entries)
                yield Result(HIT_1M, hits.figures, hits.faults, stage.failed, session.seconds)
            if MEMORY in wanted:
                yield Result(MEMORY, memory.figures, memory.faults, stage.failed)
            if PAUSES in wanted:
                ours = [server for server in full if server.ops_port]
                _measure_pauses(session, replace(stage, servers=ours), pauses, entries)
                yield Result(PAUSES, pauses.figures, pauses.faults, stage.failed, session.seconds)


def _fill(session: Session, stage: Stage, server: Server, entries: int, notebook: Notebook) -> bool:
    """Store so many entries and note what they take; False if that takes too long."""
    before, steps = resident_bytes(server.family()), sorted({_HUNDRED_THOUSAND, entries})
    done = 0
    for step in steps:
        plan = Plan((Source(SMALL, step - done, first=done),))
        try:
            wrk.fill(
                plan,
                step - done,
                port=server.port,
                cores=session.load_cores,
                directory=stage.home,
                seconds=_FILL_SECONDS,
            )
        except TimeoutError as late:
            session.say(f"  {server.name}: {late}")
            stage.failed.append(f"{server.name}: {late}")
            return False
        done = step
        taken = (resident_bytes(server.family()) - before) / step - payload_bytes(stage)
        notebook.write(server.name, {f"bytes_at_{step}": taken})
        session.say(f"  {server.name:<16} {step:,} entries: {taken:.0f} bytes each above what was stored")
    return True


def payload_bytes(stage: Stage) -> int:
    """What an entry must hold: the head and the body as the origin sends them, and what names it."""
    path = SMALL.path(0)
    with socket.create_connection(("127.0.0.1", stage.origin.port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return len(answer) + len(f"http://{_HOST}{path}")


def _measure_hits(session: Session, stage: Stage, notebook: Notebook, entries: int) -> None:
    plan = Plan((Source(SMALL, entries, order="zipf"),))
    for server in stage.servers:
        load(plan, session, stage, server, seconds=WARM_SECONDS)
    for number in range(session.rounds):
        for server in in_turn(stage.servers, number):
            measure(plan, HIT, session=session, stage=stage, server=server, notebook=notebook)


def _measure_pauses(session: Session, stage: Stage, notebook: Notebook, entries: int) -> None:
    """Hits among all entries and new ones, so that the collector has something to do."""
    # Few connections keep the loop busy; many would only queue, and the wait be the queue's.
    plan = Plan((Source(SMALL, entries, order="zipf", share=0.95), _NEW), connections=_FEW)
    with _bare_loop(session, stage) as bare:
        asked = 0
        for number in range(session.rounds):
            for server in in_turn([*stage.servers, bare], number):
                with probing(server.port, SMALL.path(0)) as probe:
                    run = load(plan.continued(asked), session, stage, server, seconds=session.seconds)
                asked += run.requests + plan.connections
                notebook.write(server.name, {"worst_ms": probe.worst_ms})
                notebook.blame_load(server.name, run)
                session.say(f"  {server.name:<16} longest wait {probe.worst_ms:.1f} ms of {probe.asked}")


@contextmanager
def _bare_loop(session: Session, stage: Stage) -> Iterator[Server]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.load.bare_loop", str(port), str(SMALL.body_bytes)]
    with running(
        command,
        cores=[session.server_core],
        log=stage.home / "bare_loop.log",
        is_ready=lambda: is_listening(port),
        directory=CHECKOUT,
    ) as pid:
        yield Server(BARE_LOOP, port, pid, lambda _: False)
