"""`python -m bench`: the command line of the benchmark."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from bench.load import wrk
from bench.machine import interpreter, two_cores
from bench.profiling import profiled
from bench.report import table
from bench.report.publishing import write_page, write_report
from bench.report.result import load_all, save
from bench.scenarios.all_scenarios import NAMES, SCENARIOS
from bench.servers import nginx_base, ours
from bench.servers.kinds import PEERS
from bench.session import Session

_SECONDS, _QUICK_SECONDS = 4.0, 1.0
_ROUNDS = 3
_EXAMPLES = """\
examples:
  python -m bench                                          everything, in less than 20 minutes
  python -m bench hit --against nginx --seconds 4 --rounds 2
  python -m bench hit pass --against none --ours ../other  this checkout beside another one
  python -m bench --report                                 the tables of what was measured so far
"""


def main() -> None:
    arguments = _parser().parse_args()
    # The default would end this process and leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("the benchmark was told to end"))
    arguments.output.mkdir(parents=True, exist_ok=True)
    if not arguments.report:
        _measure(arguments)
    results = load_all(arguments.output)
    write_report(results, NAMES, arguments.output)
    if arguments.page:
        write_page(results, NAMES, arguments.page)
    print(f"\n{table.render_bars(results)}\n\nAll figures: {arguments.output / 'report.md'}")


def _measure(arguments: argparse.Namespace) -> None:
    """Run what is asked for; each result is kept as soon as it is there."""
    for lacking in filter(None, (wrk.missing(), nginx_base.missing_nginx())):
        sys.exit(f"the benchmark needs a load and an origin: {lacking}")
    session = _session(arguments)
    session.say(f"ours on {interpreter()}")
    os.sched_setaffinity(0, {session.load_core})
    wanted = frozenset(arguments.scenarios or NAMES)
    for scenario in SCENARIOS:
        if chosen := wanted.intersection(scenario.names):
            session.say(", ".join(sorted(chosen)))
            for result in scenario.run(session, chosen):
                save(result, arguments.output)
                session.say(table.render_section(result) + "\n")


def _session(arguments: argparse.Namespace) -> Session:
    server_core, load_core = two_cores()
    own = ours.kind_of(ours.CHECKOUT)
    if arguments.profile:
        own = profiled(own, arguments.profile.resolve(), core=load_core)
    others = [ours.kind_of(folder.resolve(), name=f"sidecache-{folder.name}") for folder in arguments.ours]
    return Session(
        server_core=server_core,
        load_core=load_core,
        load_cores=(load_core,),
        seconds=arguments.seconds or (_QUICK_SECONDS if arguments.quick else _SECONDS),
        rounds=arguments.rounds,
        ours=(own, *others),
        peers={name: PEERS[name] for name in arguments.against},
        is_quick=arguments.quick,
        say=lambda line: print(line, flush=True),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="sidecache beside its peers, on one core, in one run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("scenarios", nargs="*", type=_scenario, metavar="SCENARIO", help=f"of {', '.join(NAMES)} [all]")
    add(
        "--against",
        type=_peers,
        default=[*PEERS],
        metavar="A,B",
        help=f"of {', '.join(PEERS)}; or none [all]",
    )
    add("--ours", type=Path, action="append", default=[], metavar="DIR", help="measure this checkout, too")
    add("--seconds", type=float, help=f"how long a round lasts [{_SECONDS:g}]")
    add("--rounds", type=int, default=_ROUNDS, help=f"[{_ROUNDS}]")
    add("--quick", action="store_true", help="short rounds, 200,000 entries for a million: less exact")
    add("--output", type=Path, default=ours.CHECKOUT / "bench/results", metavar="DIR", help="[bench/results]")
    add("--report", action="store_true", help="measure nothing, only write the report")
    add("--profile", type=Path, metavar="FILE", help="watch ours with py-spy: a flame graph, no fair speed")
    add("--page", type=Path, metavar="FILE", help="put the figures into this page, too")
    return parser


def _scenario(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"no scenario {text}; there are {', '.join(NAMES)}")
    return text


def _peers(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    main()
