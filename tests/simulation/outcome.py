"""What the worlds have shown, one by one: small enough to be handed from process to process."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tests.simulation.kinds import KINDS
from tests.simulation.mutants import mutant_named
from tests.simulation.simulation import simulate
from tests.simulation.world import World


class Outcome(NamedTuple):
    """What one world has shown."""

    fault: str
    """What was broken, and how to see it again; empty: nothing."""
    races: Counter[str]
    totals: Counter[str]


def said(world: World) -> str:
    """What was broken, and how to see it again; empty: nothing."""
    if not world.faults:
        return ""
    which = f"--seed {world.seed} --kind {world.kind.name} --replicas {world.replicas}"
    return "\n".join([*world.faults, f"replay: python -m tests.simulation {which}"])


def outcome_of(number: int, *, replicas: int | None, mutant: str | None) -> Outcome:
    """Of the world of that number: each seed has a world of each kind."""
    seed, which = divmod(number, len(KINDS))
    world = simulate(seed, list(KINDS.values())[which], replicas=replicas, mutant=mutant_named(mutant))
    totals = Counter(worlds=1, purges=world.asked, answers=world.answers, bound=world.bound)
    return Outcome(said(world), world.races, totals)
