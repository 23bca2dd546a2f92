"""What a second process is worth: ours with two workers over one, beside nginx's two over one.

Both cores are shared with the load, as in a pod that has two: so all four run without a core of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.load.checker import check_all
from bench.report.result import Result
from bench.scenarios.measuring import Notebook, load, measure
from bench.scenarios.throughput import HIT, THOUSAND, WARM_SECONDS, in_turn
from bench.session import Session

NAME = "workers"
DOUBLE = "with 2 workers"
_FILLS = 8
"""Each worker has its own memory: a connection fills that of one of them."""


class Workers:
    names = (NAME,)

    def run(self, session: Session, wanted: frozenset[str]) -> Iterator[Result]:
        del wanted  # there is one
        cores = (session.server_core, session.load_core)
        shared = replace(session, load_cores=cores)
        notebook = Notebook()
        with (
            shared.serving(("nginx",), cores=cores, workers=1) as single,
            shared.serving(("nginx",), cores=cores, workers=2) as double,
        ):
            named = {server.port: server.name for server in single.servers}
            named |= {server.port: f"{server.name} {DOUBLE}" for server in double.servers}
            servers = [*single.servers, *double.servers]
            for server in servers:
                for _ in range(_FILLS):
                    check_all(server, THOUSAND, None)
                load(THOUSAND, shared, single, server, seconds=WARM_SECONDS)
            for number in range(session.rounds):
                for server in in_turn(servers, number):
                    measure(
                        THOUSAND,
                        HIT,
                        session=shared,
                        stage=single,
                        server=server,
                        notebook=notebook,
                        name=named[server.port],
                    )
            failed = [*single.failed, *(f"{fault} with 2 workers" for fault in double.failed)]
            yield Result(NAME, notebook.figures, notebook.faults, failed, session.seconds)
