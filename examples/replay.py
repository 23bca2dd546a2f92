"""Replays a trace of real requests through a running sidecar and says what the cache was worth.

    python examples/replay.py web07.u32be.xz --expect-origin distinct
    python examples/replay.py --keys 50000 --requests 500000 --skew 0.9
    python examples/replay.py web07.u32be.xz --l1-entries 1000 --l2 off

Starts an origin and a sidecar of its own, or takes --url (whose origin must be examples/fast_origin.py: every
body is checked). Exits 1 when a body was wrong or the origin was asked another number of times than expected.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import processes
import traces
from replaying import BrokenOff, Tally, replay
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from proxy.admin import client

TIERS = {
    "l1": "from L1",
    "l2": "from L2",
    "shared": "shared another request's fetch",
    "origin": "from the origin",
}


class Ports(NamedTuple):
    """Where to ask, and where the origin counts; None: the origin is not known."""

    url: str
    origin_url: str | None


class Result(NamedTuple):
    """What a replay showed."""

    tally: Tally
    seconds: float
    origin_requests: int | None


def main() -> int:
    arguments = _arguments()
    try:
        keys = _keys(arguments)
        result = _replayed(arguments, keys)
    except (traces.Unreadable, processes.NotStarted, BrokenOff, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(_report(keys, result))
    faults = _faults(result, _expected_requests(arguments.expect_origin, keys))
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "trace", nargs="?", type=Path, help="xz-compressed big-endian integers, one a request"
    )
    parser.add_argument("--width", type=int, choices=traces.TYPE_CODES, help="bits (default: from the name)")
    parser.add_argument("--limit", type=int, metavar="N", help="replay the first N requests only")
    parser.add_argument("--connections", type=int, default=32, metavar="N", help="at once (default: 32)")
    parser.add_argument(
        "--expect-origin", metavar="N|distinct", help="fail unless the origin was asked so often"
    )
    own = parser.add_argument_group("the sidecar")
    own.add_argument("--l1-entries", type=int, metavar="N", help="(default: room for all keys)")
    own.add_argument("--l2", default="embedded", metavar="URL", help="or off (default: embedded)")
    own.add_argument("--url", help="a sidecar that runs already, instead of an own one")
    own.add_argument("--origin", metavar="URL", help="with --url: its origin, to count what it was asked")
    generated = parser.add_argument_group("without a trace, a generated one")
    generated.add_argument("--keys", type=int, default=20_000, metavar="N")
    generated.add_argument("--requests", type=int, default=100_000, metavar="N")
    generated.add_argument("--skew", type=float, default=0.8, help="0: all keys alike (default: 0.8)")
    generated.add_argument("--seed", type=int, default=1, metavar="N")
    return parser.parse_args()


def _keys(arguments: argparse.Namespace) -> Sequence[int]:
    if arguments.trace is None:
        chosen = {name: getattr(arguments, name) for name in ("keys", "requests", "skew", "seed")}
        return traces.zipf(**chosen)[: arguments.limit]
    width = arguments.width or traces.width_of(arguments.trace.name)
    if width is None:
        raise traces.Unreadable(f"{arguments.trace}: the name says no width, so --width must")
    return traces.read(arguments.trace, width)[: arguments.limit]


def _replayed(arguments: argparse.Namespace, keys: Sequence[int]) -> Result:
    with ExitStack() as ending:
        ports = _ports(arguments, len(set(keys)), ending)
        asked_before = _asked_of_origin(ports.origin_url) or 0
        began_at = time.monotonic()
        tally = _with_progress(ports.url, keys, arguments.connections)
        seconds = time.monotonic() - began_at
        asked = _asked_of_origin(ports.origin_url)
        return Result(tally, seconds, None if asked is None else asked - asked_before)


def _ports(arguments: argparse.Namespace, distinct: int, ending: ExitStack) -> Ports:
    if arguments.url:
        return Ports(arguments.url, arguments.origin)
    directory = ending.enter_context(tempfile.TemporaryDirectory(prefix="sidecache-replay-"))
    origin_url = ending.enter_context(processes.origin())
    url = ending.enter_context(
        processes.sidecar(
            Path(directory),
            origin_url=origin_url,
            l1_entries=arguments.l1_entries or room_for(distinct),
            l2=arguments.l2,
        )
    )
    return Ports(url, origin_url)


def room_for(distinct: int) -> int:
    """Entries of L1 with which nothing has to give way: a tenth of them is kept for negative answers."""
    return distinct * 10 // 9 + 2


def _with_progress(url: str, keys: Sequence[int], connections: int) -> Tally:
    columns = ("replaying", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(keys))
        return asyncio.run(
            replay(url, keys, connections=connections, progress=lambda count: progress.advance(task, count))
        )


def _asked_of_origin(origin_url: str | None) -> int | None:
    reply = client.ask("GET", f"{origin_url}/__stats") if origin_url else None
    count = reply.content.get("requests") if isinstance(reply, client.Reply) else None
    return count if isinstance(count, int) else None


def _report(keys: Sequence[int], result: Result) -> str:
    tally, total = result.tally, max(len(keys), 1)
    lines = [f"{len(keys)} requests for {len(set(keys))} keys in {result.seconds:.1f} s"]
    lines += [
        f"  {count:>9}  {count / total:6.1%}  {TIERS.get(tier, tier)}"
        for tier, count in tally.tiers.most_common()
    ]
    if result.origin_requests is not None:
        saved = len(keys) - result.origin_requests
        lines.append(f"the origin saw {result.origin_requests} requests; {saved} saved ({saved / total:.1%})")
    lines.append(f"{tally.requests - tally.wrong} of {tally.requests} bodies were right")
    return "\n".join(lines)


def _expected_requests(expectation: str | None, keys: Sequence[int]) -> int | None:
    if expectation is None:
        return None
    return len(set(keys)) if expectation == "distinct" else int(expectation)


def _faults(result: Result, expected: int | None) -> list[str]:
    faults = []
    if result.tally.wrong:
        faults.append(f"{result.tally.wrong} wrong answers, the first: {result.tally.first_wrong}")
    if expected is not None and result.origin_requests != expected:
        faults.append(f"the origin was asked {result.origin_requests} times, expected {expected}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
