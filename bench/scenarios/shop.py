"""The published case: 70 % of requests answered from memory, 25 % from Redis, 5 % by an API of 8 ms.

L1 is too small for what Redis holds: the popular thousand stay in it, the others pass through. How the
requests were really shared out is read off Redis and the origin, not off the server under test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

from bench.bodies import DELAYED, ITEMS
from bench.load import wrk
from bench.load.checker import Expected, check_all
from bench.load.plan import Plan, Source
from bench.processes import NotStarted, wait_until
from bench.report.result import Result
from bench.scenarios.measuring import Notebook, load, measure
from bench.scenarios.throughput import HIT, MANY, THOUSAND, WARM_SECONDS, in_turn
from bench.servers.server import Server
from bench.session import Session, Stage

NAME = "shop"
HITS = "hits"
_POPULAR = Source(ITEMS, 1000, share=0.70)
_SHARED = Source(ITEMS, 20_000, first=1_000_000, share=0.25)
_UNKNOWN = Source(DELAYED, MANY, share=0.05)
_SHOP = Plan((_POPULAR, _SHARED, _UNKNOWN), connections=256)
_L1_ENTRIES = 2_500
_MOST_A_ROUND = 1_007_001
"""No multiple of what Redis holds: each round begins elsewhere in it, not with what L1 has just seen."""
_FILL_SECONDS = 60.0
_WRITTEN_SECONDS = 10.0


class Shop:
    """Ours only: the peers have no second tier."""

    names = (NAME,)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        del wanted  # there is one
        notebook, notes = Notebook(), []
        with session.serving((), with_redis=True, max_entries=_L1_ENTRIES) as stage:
            for server in stage.servers:
                _fill(session, stage, server)
            for number in range(session.rounds):
                for place, server in enumerate(in_turn(stage.servers, number)):
                    # What one of ours has fetched, another would find in their Redis.
                    plan = _SHOP.continued((number * len(stage.servers) + place) * _MOST_A_ROUND)
                    notes.append(_round(plan, session, stage, server, notebook))
            yield Result(NAME, notebook.figures, notebook.faults, [*stage.failed, *notes], session.seconds)


def _fill(session: Session, stage: Stage, server: Server) -> None:
    """Into Redis goes what shall be there; its writes come behind, and some may be dropped."""
    shared = Plan((replace(_SHARED, share=1.0),))
    wanted = _SHARED.count + _POPULAR.count
    for _ in range(3):
        wrk.fill(
            shared,
            _SHARED.count,
            port=server.port,
            cores=session.load_cores,
            directory=stage.home,
            seconds=_FILL_SECONDS,
        )
        check_all(server, THOUSAND, None)
        if _are_written(stage, wanted):
            break
    load(_SHOP.continued(MANY // 2 + _SHARED.count // 2), session, stage, server, seconds=WARM_SECONDS)


def _are_written(stage: Stage, wanted: int) -> bool:
    try:
        wait_until(lambda: redis_number(stage, "DBSIZE") >= wanted, seconds=_WRITTEN_SECONDS, what="writes")
    except NotStarted:
        return False
    return True


def _round(plan: Plan, session: Session, stage: Stage, server: Server, notebook: Notebook) -> str:
    """The shop's load and, on the same server, plain hits: what one bar compares."""
    redis_before, origin_before = redis_hits(stage), stage.origin.requests()
    run = measure(
        plan,
        Expected(is_hit=True),
        session=session,
        stage=stage,
        server=server,
        notebook=notebook,
        checked=THOUSAND,
    )
    from_redis = (redis_hits(stage) - redis_before) / max(run.requests, 1)
    from_origin = (stage.origin.requests() - origin_before) / max(run.requests, 1)
    measure(
        THOUSAND,
        HIT,
        session=session,
        stage=stage,
        server=server,
        notebook=notebook,
        name=f"{server.name} {HITS}",
    )
    return f"{server.name}: Redis answered {from_redis:.1%}, the origin {from_origin:.1%}"


def redis_hits(stage: Stage) -> int:
    """How many look-ups found something so far."""
    text = ask_redis(stage, "INFO stats")
    return int(text.partition("keyspace_hits:")[2].split()[0])


def redis_number(stage: Stage, command: str) -> int:
    return int(ask_redis(stage, command).lstrip(":"))


def ask_redis(stage: Stage, command: str) -> str:
    with socket.create_connection(("127.0.0.1", int(stage.setup.redis_port or 0)), timeout=5) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(65536).decode()
