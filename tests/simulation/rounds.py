"""One race after the other: a fill is under way with old content, a purge falls into it, then everybody asks.

The worlds of simulation.py meet all races by chance. Here each round makes one of a wanted sort, and counts
only if it was one: the fill had its content when that changed, and landed after the purge was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from proxy.model import Request
from proxy.observe.tasks import spawn
from tests.simulation.fills import Fill
from tests.simulation.kinds import Kind
from tests.simulation.mutants import Mutant
from tests.simulation.origin import NAMED, SELECTORS, TARGETS
from tests.simulation.process import Process
from tests.simulation.promises import Purge
from tests.simulation.simulation import living
from tests.simulation.traffic import purge, request
from tests.simulation.world import World
from tests.support.routing import get

KIND = Kind("rounds")
ROUNDS_IN_A_WORLD = 25
MOST_WORLDS = 1_000
SHORT = (b"/b", b"/p/d")
"""Their answers are fresh for 1 s, and may be served stale for 2 s more while they are refreshed."""
LANGUAGE = (b"Accept-Language", b"en")
_STEP_SECONDS = 0.0005
_STEPS_AFTER_ANSWER = 200
"""A refresh, and a write behind the answer, may begin late."""
VALIDATE = (b"Cache-Control", b"max-age=0")


class Stage(NamedTuple):
    """Who takes part in a round."""

    world: World
    process: Process
    """The one whose fill is raced."""
    other: Process
    target: bytes

    def asked(self, *lines: tuple[bytes, bytes]) -> Request:
        """A request for the target."""
        return get(self.target, LANGUAGE, *lines)

    async def ask(self, process: Process, *lines: tuple[bytes, bytes]) -> None:
        """Ask, and wait for the answer."""
        answering = request(self.world, process, self.asked(*lines))
        if answering is not None:
            await answering


async def _cold(stage: Stage) -> None:
    stage.world.l2.clear()
    for process in stage.world.processes:
        process.tiers._memory.clear()


async def _in_l2(stage: Stage) -> None:
    await _cold(stage)
    await stage.ask(stage.other)
    await stage.other.shared.written()


async def _in_l1(stage: Stage) -> None:
    await _cold(stage)
    await stage.ask(stage.process)
    await stage.process.shared.written()


async def _expired(stage: Stage) -> None:
    await _in_l1(stage)
    await asyncio.sleep(stage.world.dice.uniform(1.05, 2.5))


class Race(NamedTuple):
    """One sort. `name` is as the world counts it, or how that begins."""

    name: str
    prepare: Callable[[Stage], Awaitable[None]]
    sort: str = "fetch"
    """Of the fill."""
    where: str = ""
    """The purge is asked for here, at the process that fills, or elsewhere; empty: by the dice."""
    targets: tuple[bytes, ...] = TARGETS
    lines: tuple[tuple[bytes, bytes], ...] = ()
    window: float = 0.02
    """The longest time, in seconds, from when the fill has its content to the purge."""


RACES = (
    Race("fetch, purged here", _cold, where="here"),
    Race("fetch, purged elsewhere", _cold, where="elsewhere"),
    Race("write-behind", _cold, sort="write-behind", window=0.002),
    Race("back-fill", _in_l2, sort="back-fill", window=0.001),
    Race("validation", _in_l1, sort="validation", lines=(VALIDATE,)),
    Race("refresh", _expired, sort="refresh", targets=SHORT),
    Race("follower", _cold),
)


@dataclass
class Played:
    """What came of some rounds."""

    rounds: int = 0
    races: int = 0
    """Rounds in which it really raced."""
    world: World | None = None
    """The first in which a promise was broken."""


def play(race: Race, *, races: int, mutant: Mutant | None = None) -> Played:
    """Rounds until so many have raced, or until a promise is broken."""
    played = Played()
    for seed in range(MOST_WORLDS):
        kind = KIND._replace(has_skew=seed % 4 == 3)
        world = World(seed, kind, replicas=2 + seed % 2)
        living(world, _rounds(world, race, played, races), mutant=mutant)
        if world.faults:
            played.world = world
        if world.faults or played.races >= races:
            return played
    raise AssertionError(f"{race.name}: {played.races} races in {played.rounds} rounds")


async def _rounds(world: World, race: Race, played: Played, races: int) -> None:
    if world.kind.has_skew:
        world.primary.tick_ms = 200  # so that a purge often has the time of what it overtakes
    await asyncio.sleep(1.5)  # until an epoch is old enough for a complete answer
    for _ in range(ROUNDS_IN_A_WORLD):
        before = _count(world, race)
        await _round(world, race)
        played.rounds += 1
        played.races += _count(world, race) > before
        if world.faults or played.races >= races:
            return


async def _round(world: World, race: Race) -> None:
    process, other = world.dice.sample(world.processes, 2)
    stage = Stage(world, process, other, world.dice.choice(race.targets))
    await race.prepare(stage)
    leading = request(world, process, stage.asked(*race.lines))
    fill = await _with_content(stage, race.sort, leading)
    if fill is None:
        return
    await asyncio.sleep(world.dice.uniform(0, race.window))
    here = race.where or world.dice.choice(("here", "elsewhere"))
    publisher = process if here == "here" else other
    purging = spawn("purge", _purge(stage, publisher))
    while fill in process.fills:
        request(world, process, stage.asked())
        await asyncio.sleep(0.01 * world.dice.random())
    if leading is not None:
        await leading
    await _ask_all(stage)
    await purging
    await _afterwards(stage, publisher)


async def _purge(stage: Stage, publisher: Process) -> None:
    """Half of the hard ones are followed by a soft one of the same selector, at whatever process."""
    world = stage.world
    purged = _change(stage)
    await purge(world, publisher, purged, 3.0)
    if not purged.soft and world.dice.random() < 0.5:
        softly = world.change(purged.selector, soft=True)
        await purge(world, world.dice.choice(world.processes), softly, 3.0)


def _change(stage: Stage) -> Purge:
    """What changes the target, and maybe others."""
    world = stage.world
    selector = world.dice.choice([each for each in SELECTORS if stage.target in NAMED[each]])
    return world.change(selector, soft=world.dice.random() < 0.2)


async def _afterwards(stage: Stage, publisher: Process) -> None:
    """All have applied it: nobody may serve what is older, whatever happens next."""
    world = stage.world
    await _ask_all(stage)
    if world.dice.random() < 0.2:
        reborn = world.dice.choice(world.processes)
        world.kill(reborn)
        await stage.ask(world.start(reborn.name))
    await _ask_all(stage)


async def _ask_all(stage: Stage) -> None:
    for process in stage.world.processes:
        await stage.ask(process)


async def _with_content(stage: Stage, sort: str, leading: asyncio.Task[None] | None) -> Fill | None:
    """The fill that the request has begun, once it has its content; None: it began none."""
    ended = 0
    while ended < _STEPS_AFTER_ANSWER:
        fill = stage.process.fills.with_content(sort, stage.target)
        if fill is not None:
            return fill
        ended += leading is None or leading.done()
        await asyncio.sleep(_STEP_SECONDS)
    return None


def _count(world: World, race: Race) -> int:
    return sum(number for name, number in world.races.items() if name.startswith(race.name))
