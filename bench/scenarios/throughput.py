"""How many answers a second: the scenarios that differ in what is asked for only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from bench.bodies import ITEMS, LARGE, PASSED
from bench.load.checker import Expected, check_all, not_modified_field
from bench.load.plan import Plan, Source
from bench.report.result import Result
from bench.scenarios.measuring import Notebook, load, measure
from bench.servers.server import Server
from bench.session import Session, Stage

CACHES = ("nginx", "varnish", "haproxy")
WARM_SECONDS = 1.0
MANY = 40_000_000
"""More paths than all rounds can ask for."""
CHECKED_FROM = 90_000_000
"""The checker of misses asks for paths that the load does not."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """One such scenario."""

    name: str
    plan: Plan
    expected: Expected
    peers: tuple[str, ...] = CACHES
    is_filled: bool = True
    checked: Plan | None = None
    """What the checker asks for, where it is not what the load asks for."""
    needs_redis: bool = False
    setup: Mapping[str, object] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        del wanted  # there is one
        notebook = Notebook()
        with session.serving(self.peers, with_redis=self.needs_redis, **self.setup) as stage:
            for server in stage.servers:
                self._prepare(session, stage, server, notebook)
            self._measure(session, stage, notebook)
            yield Result(self.name, notebook.figures, notebook.faults, stage.failed, session.seconds)

    def _prepare(self, session: Session, stage: Stage, server: Server, notebook: Notebook) -> None:
        """Fill the cache, check each answer, and let the server warm up."""
        if self.is_filled:
            check_all(server, replace(self.plan, fields=()), None)
            notebook.blame(server.name, check_all(server, self.plan, self.expected))
        load(self.plan.continued(MANY // 2), session, stage, server, seconds=WARM_SECONDS)

    def _measure(self, session: Session, stage: Stage, notebook: Notebook) -> None:
        """Every server once a round, in turns."""
        asked = {server.name: 0 for server in stage.servers}
        for number in range(session.rounds):
            for server in in_turn(stage.servers, number):
                plan = self.plan.continued(asked[server.name])
                run = measure(
                    plan,
                    self.expected,
                    session=session,
                    stage=stage,
                    server=server,
                    notebook=notebook,
                    checked=self.checked and self.checked.continued(1000 * number),
                )
                asked[server.name] += run.requests + plan.connections


def in_turn(servers: list[Server], number: int) -> list[Server]:
    """Each second round goes the other way about: none is always measured after the same one."""
    return servers[:: -1 if number % 2 else 1]


THOUSAND = Plan((Source(ITEMS, 1000),))
_PASSED = Plan((Source(PASSED, 1000),))
HIT = Expected(is_hit=True)
_NO_HIT = Expected(is_hit=False)


THROUGHPUT = (
    Throughput("hit", THOUSAND, HIT),
    Throughput("hit-same", replace(THOUSAND, is_unique=False), HIT),
    Throughput(
        "hit-304", replace(THOUSAND, fields=(not_modified_field(),)), Expected(is_hit=True, status=304)
    ),
    Throughput("hit-100k", Plan((Source(LARGE, 200),)), HIT),
    Throughput(
        "l2",
        THOUSAND,
        Expected(is_hit=True, detail="l2"),
        peers=("nginx-lua",),
        needs_redis=True,
        setup={"is_l2_asked_first": True},
    ),
    Throughput(
        "miss",
        Plan((Source(ITEMS, MANY),)),
        _NO_HIT,
        is_filled=False,
        checked=Plan((Source(ITEMS, 9_000_000, first=CHECKED_FROM),)),
    ),
    Throughput("pass", _PASSED, _NO_HIT),
    Throughput("post", replace(_PASSED, method="POST", body="x" * 2048), _NO_HIT),
)
