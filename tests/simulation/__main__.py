"""`python -m tests.simulation --interleavings 100000`, or one world, told: `--seed 7 --kind flush`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.simulation.kinds import KINDS
from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import simulate
from tests.simulation.world import World


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    given = _arguments()
    if given.seed is not None:
        return _replay(given)
    races: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for seed in range(sys.maxsize):
        for kind in KINDS.values():
            world = simulate(seed, kind, replicas=given.replicas)
            if world.faults:
                print(said(world))
                return 1
            races += world.races
            totals.update(worlds=1, purges=world.asked, answers=world.answers, bound=world.bound)
        if races.total() >= given.interleavings:
            break
    print(f"{races.total()} interleavings of a purge and a fill, no promise broken")
    for name, count in sorted((totals + races).items()):
        print(f"{count:10} {name}")
    return 0


def said(world: World) -> str:
    """What was broken, and how to see it again."""
    which = f"--seed {world.seed} --kind {world.kind.name} --replicas {world.replicas}"
    return "\n".join([*world.faults, f"replay: python -m tests.simulation {which}"])


def _replay(given: argparse.Namespace) -> int:
    mutant = next((mutant for mutant in MUTANTS if mutant.name == given.mutant), None)
    kind = KINDS[given.kind]
    world = simulate(given.seed, kind, replicas=given.replicas, mutant=mutant, is_traced=True)
    print("\n".join(world.trace or ()))
    return int(bool(world.faults))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--interleavings", type=int, default=100_000, help="run until there were so many")
    parser.add_argument("--seed", type=int, help="run this world only, and print what happens in it")
    parser.add_argument("--kind", choices=KINDS, default="mixed")
    parser.add_argument("--replicas", type=int, help="at the beginning; by default the seed says")
    parser.add_argument("--mutant", choices=[mutant.name for mutant in MUTANTS])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
