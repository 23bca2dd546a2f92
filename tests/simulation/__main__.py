"""`python -m tests.simulation --interleavings 100000`, or one world, told: `--seed 7 --kind flush`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from functools import partial

from tests.simulation.dealing import results
from tests.simulation.kinds import KINDS
from tests.simulation.mutants import MUTANTS, mutant_named
from tests.simulation.outcome import outcome_of
from tests.simulation.simulation import simulate

RACES = (
    "fetch, purged here",
    "fetch, purged elsewhere",
    "write-behind",
    "back-fill",
    "validation",
    "refresh",
    "follower",
)
"""What can race a purge; where only the beginning of a name is given, wherever it was purged."""
LEAST_SHARE = 0.02
"""Of each of them in all interleavings: 2,000 of 100,000."""


def main() -> int:
    """The exit code: 1 where a promise was broken, or a race never happened."""
    given = _arguments()
    if given.seed is not None:
        return _replay(given)
    # So that whoever is told to end ends its jobs, too. What a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    races: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    work = partial(outcome_of, replicas=given.replicas, mutant=given.mutant)
    for number, outcome in enumerate(results(work, jobs=given.jobs), start=1):
        if outcome.fault:
            print(outcome.fault)
            return 1
        races += outcome.races
        totals += outcome.totals
        if number % len(KINDS) == 0 and races.total() >= given.interleavings:
            break
    print(f"{races.total()} interleavings of a purge and a fill, no promise broken")
    for name, count in sorted((totals + races).items()):
        print(f"{count:10} {name}")
    return _rare(races)


def _rare(races: Counter[str]) -> int:
    """1 where there were too few of some race to speak of."""
    least = LEAST_SHARE * races.total()
    counts = {race: sum(races[name] for name in races if name.startswith(race)) for race in RACES}
    rare = {race: count for race, count in counts.items() if count < least}
    for race, count in rare.items():
        print(f"too rare: {race}, {count} times, expected {least:.0f}")
    return int(bool(rare))


def _replay(given: argparse.Namespace) -> int:
    kind = KINDS[given.kind]
    world = simulate(
        given.seed, kind, replicas=given.replicas, mutant=mutant_named(given.mutant), is_traced=True
    )
    print("\n".join(world.trace or ()))
    return int(bool(world.faults))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--interleavings", type=int, default=100_000, help="run until there were so many")
    parser.add_argument("--jobs", type=int, default=1, help="processes; what they find does not depend on it")
    parser.add_argument("--seed", type=int, help="run this world only, and print what happens in it")
    parser.add_argument("--kind", choices=KINDS, default="mixed")
    parser.add_argument("--replicas", type=int, help="at the beginning; by default the seed says")
    parser.add_argument("--mutant", choices=[mutant.name for mutant in MUTANTS])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
