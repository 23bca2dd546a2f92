"""`python -m bench`: the command line of the benchmark."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from bench.load import wrk
from bench.machine import two_cores
from bench.report.result import save
from bench.scenarios.throughput import SCENARIOS
from bench.servers import nginx_base, ours
from bench.servers.kinds import PEERS
from bench.session import Session

_SECONDS, _ROUNDS = 4.0, 3
_QUICK_SECONDS, _QUICK_ROUNDS = 2.0, 3


def main() -> None:
    arguments = _parser().parse_args()
    # The default would end this process and leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("the benchmark was told to end"))
    for lacking in filter(None, (wrk.missing(), nginx_base.missing_nginx())):
        sys.exit(f"the benchmark needs a load and an origin: {lacking}")
    session = _session(arguments)
    for name in arguments.scenarios or BY_NAME:
        print(f"{name}:", flush=True)
        result = BY_NAME[name].run(session)
        save(result, arguments.output)


BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def _session(arguments: argparse.Namespace) -> Session:
    server_core, load_core = two_cores()
    named = [ours.kind_of(folder.resolve(), name=f"sidecache:{folder.name}") for folder in arguments.ours]
    return Session(
        server_core=server_core,
        load_core=load_core,
        seconds=arguments.seconds or (_QUICK_SECONDS if arguments.quick else _SECONDS),
        rounds=arguments.rounds or (_QUICK_ROUNDS if arguments.quick else _ROUNDS),
        ours=(ours.kind_of(ours.CHECKOUT), *named),
        peers={name: PEERS[name] for name in arguments.against},
        is_quick=arguments.quick,
        say=lambda line: print(line, flush=True),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="sidecache beside its peers.")
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", choices=[*BY_NAME, []], help=", ".join(BY_NAME)
    )
    parser.add_argument(
        "--against", type=_peers, default=[*PEERS], metavar="A,B", help=f"of {', '.join(PEERS)}; or none"
    )
    parser.add_argument(
        "--ours", type=Path, action="append", default=[], metavar="DIR", help="measure this checkout, too"
    )
    parser.add_argument("--seconds", type=float, help=f"of a round [{_SECONDS:g}]")
    parser.add_argument("--rounds", type=int, help=f"[{_ROUNDS}]")
    parser.add_argument("--quick", action="store_true", help="shorter and less exact")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="DIR")
    return parser


def _peers(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names


if __name__ == "__main__":
    main()
