"""One measured run of wrk: what the load saw, what the server used, what the checker read meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.load import wrk
from bench.load.checker import Expected, Faults, checking
from bench.load.plan import Plan
from bench.machine import busy_share, core_ticks, cpu_seconds, others_share, resident_bytes
from bench.report.result import Figures
from bench.servers.server import MIB, Server
from bench.session import Session, Stage


@dataclass(slots=True)
class Notebook:
    """The figures and the faults of a scenario while it runs."""

    figures: Figures = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def write(self, name: str, figures: Mapping[str, float]) -> None:
        """The figures of one more round."""
        for figure, value in figures.items():
            self.figures.setdefault(name, {}).setdefault(figure, []).append(value)

    def blame(self, name: str, faults: Faults) -> None:
        if faults.count:
            count = f"{faults.count} of {faults.checked} checked answers were wrong"
            self.faults.setdefault(name, []).extend([count, *faults.examples])

    def blame_load(self, name: str, run: wrk.Run) -> None:
        if run.errors:
            kinds = {
                "refused": run.refused,
                "broken": run.broken,
                "bad status": run.bad_status,
                "timed out": run.timeouts,
            }
            words = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
            self.faults.setdefault(name, []).append(f"of {run.requests} requests {words}")


def load(plan: Plan, session: Session, stage: Stage, server: Server, *, seconds: float) -> wrk.Run:
    """Ask this server for so long."""
    return wrk.run(plan, port=server.port, seconds=seconds, cores=session.load_cores, directory=stage.home)


def measure(
    plan: Plan,
    expected: Expected,
    *,
    session: Session,
    stage: Stage,
    server: Server,
    notebook: Notebook,
    name: str | None = None,
    checked: Plan | None = None,
) -> wrk.Run:
    """One round of a server, written down under its name or the given one."""
    name = name or server.name
    family = server.family()
    cores = (session.server_core, session.load_core)
    cpu_before, ticks = cpu_seconds(family), [core_ticks(core) for core in cores]
    with checking(server, checked or plan, expected) as faults:
        run = load(plan, session, stage, server, seconds=session.seconds)
    later, own_seconds = [core_ticks(core) for core in cores], cpu_seconds(family) - cpu_before
    busy = [busy_share(before, after) for before, after in zip(ticks, later, strict=True)]
    notebook.write(
        name,
        {
            "requests_per_second": run.requests_per_second,
            "p50_ms": run.p50_ms,
            "p99_ms": run.p99_ms,
            "cpu_us": own_seconds / max(run.requests, 1) * 1e6,
            "resident_mib": resident_bytes(family) / MIB,
            "server_core_busy": busy[0],
            "load_core_busy": busy[1],
            "others_share": others_share(ticks[0], later[0], own_seconds=own_seconds),
        },
    )
    notebook.blame(name, faults)
    notebook.blame_load(name, run)
    session.say(f"  {name:<16} {run.requests_per_second:>9,.0f} requests/s   P99 {run.p99_ms:.2f} ms")
    return run
