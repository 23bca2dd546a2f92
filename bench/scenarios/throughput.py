"""How many answers a second: the scenarios that differ in what is asked for only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.bodies import ITEMS, LARGE, PASSED
from bench.load import wrk
from bench.load.checker import Expected, Faults, check_all, checking, not_modified_field
from bench.load.plan import Plan, Source
from bench.machine import busy_share, core_ticks, cpu_seconds, resident_bytes
from bench.report.result import Figures, Result
from bench.servers.server import MIB, Server
from bench.session import Session, Stage

CACHES = ("nginx", "varnish", "haproxy")
_WARM_SECONDS = 1.0
_MANY = 40_000_000
"""More paths than any round can ask for."""
_CHECKED_FROM = 90_000_000
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

    def run(self, session: Session) -> Result:
        with session.serving(self.peers, with_redis=self.needs_redis, **self.setup) as stage:
            faults = {server.name: self._prepare(session, stage, server) for server in stage.servers}
            rounds = Rounds(self, session, stage, faults)
            rounds.run()
            return rounds.result()

    def _prepare(self, session: Session, stage: Stage, server: Server) -> Faults:
        """Fill the cache, check each answer, and let the server warm up."""
        checked = self.checked or self.plan
        if self.is_filled:
            check_all(server, replace(checked, fields=()), None)
        faults = check_all(server, checked, self.expected) if self.is_filled else Faults()
        _load(self.plan.continued(_MANY // 2), session, stage, server, seconds=_WARM_SECONDS)
        return faults


class Rounds:
    """Every server once a round, in turns; each second round the other way about."""

    def __init__(
        self, scenario: Throughput, session: Session, stage: Stage, faults: dict[str, Faults]
    ) -> None:
        self._scenario, self._session, self._stage, self._faults = scenario, session, stage, faults
        self._figures: Figures = {server.name: {} for server in stage.servers}
        self._asked = dict.fromkeys(self._figures, 0)
        self._errors: dict[str, list[str]] = {}

    def run(self) -> None:
        for number in range(self._session.rounds):
            turns = self._stage.servers[:: -1 if number % 2 else 1]
            for server in turns:
                self._measure(server, number)

    def result(self) -> Result:
        faults = {
            name: [*found.examples, *self._errors.get(name, [])]
            for name, found in self._faults.items()
            if found.count or name in self._errors
        }
        return Result(self._scenario.name, self._figures, faults, seconds=self._session.seconds)

    def _measure(self, server: Server, number: int) -> None:
        scenario, session = self._scenario, self._session
        family = server.family()
        plan = scenario.plan.continued(self._asked[server.name])
        checked = (scenario.checked or scenario.plan).continued(1000 * number)
        cpu_before = cpu_seconds(family)
        cores = (session.server_core, session.load_core)
        ticks = [core_ticks(core) for core in cores]
        with checking(server, checked, scenario.expected) as faults:
            run = _load(plan, session, self._stage, server, seconds=session.seconds)
        busy = [busy_share(before, core_ticks(core)) for before, core in zip(ticks, cores, strict=True)]
        self._asked[server.name] += run.requests + plan.connections
        self._merge(server, faults, run)
        figures = {
            "requests_per_second": run.requests_per_second,
            "p50_ms": run.p50_ms,
            "p99_ms": run.p99_ms,
            "cpu_us": (cpu_seconds(family) - cpu_before) / max(run.requests, 1) * 1e6,
            "resident_mib": resident_bytes(family) / MIB,
            "server_core_busy": busy[0],
            "load_core_busy": busy[1],
        }
        for name, value in figures.items():
            self._figures[server.name].setdefault(name, []).append(value)
        session.say(
            f"  {server.name:<12} {run.requests_per_second:>9,.0f} requests/s  p99 {run.p99_ms:.2f} ms"
        )

    def _merge(self, server: Server, faults: Faults, run: wrk.Run) -> None:
        known = self._faults[server.name]
        known.checked += faults.checked
        known.count += faults.count
        known.examples.extend(faults.examples)
        if run.errors:
            self._errors.setdefault(server.name, []).append(
                f"load: {run.refused} refused, {run.broken} broken, {run.bad_status} bad status, "
                f"{run.timeouts} timed out of {run.requests}"
            )


def _load(plan: Plan, session: Session, stage: Stage, server: Server, *, seconds: float) -> wrk.Run:
    return wrk.run(plan, port=server.port, seconds=seconds, cores=(session.load_core,), directory=stage.home)


_THOUSAND = Plan((Source(ITEMS, 1000),))
_PASSED = Plan((Source(PASSED, 1000),))
_HIT = Expected(is_hit=True)
_NO_HIT = Expected(is_hit=False)

SCENARIOS = (
    Throughput("hit", _THOUSAND, _HIT),
    Throughput("hit-same", replace(_THOUSAND, is_unique=False), _HIT),
    Throughput(
        "hit-304", replace(_THOUSAND, fields=(not_modified_field(),)), Expected(is_hit=True, status=304)
    ),
    Throughput("hit-100k", Plan((Source(LARGE, 200),)), _HIT),
    Throughput(
        "l2",
        _THOUSAND,
        Expected(is_hit=True, detail="l2"),
        peers=("nginx-lua",),
        needs_redis=True,
        setup={"is_l2_asked_first": True},
    ),
    Throughput(
        "miss",
        Plan((Source(ITEMS, _MANY),)),
        _NO_HIT,
        is_filled=False,
        checked=Plan((Source(ITEMS, 9_000_000, first=_CHECKED_FROM),)),
    ),
    Throughput("pass", _PASSED, _NO_HIT),
    Throughput("post", replace(_PASSED, method="POST", body="x" * 2048), _NO_HIT),
)
