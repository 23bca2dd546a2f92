"""What goes wrong, by name. Each picks its victims by the world's dice and comes to its own end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.observe.tasks import spawn
from tests.simulation.process import MAX_UNSYNCED, Process
from tests.simulation.world import World

MOST_LAG_SECONDS = 0.3
"""min-replicas-max-lag: who has had no replica for so long takes no writes. A promotion comes later (R20)."""


async def make_trouble(world: World) -> None:
    """One trouble after the other; those of long duration overlap."""
    while True:
        await asyncio.sleep(world.dice.expovariate(world.kind.troubles_per_second))
        name = world.dice.choice(world.kind.troubles)
        world.note(f"-- {name}")
        TROUBLES[name](world)


def _some(world: World) -> Process:
    return world.dice.choice(world.processes)


def _trim(world: World) -> None:
    trimmed = world.primary.trim(world.dice.randint(1, 3))
    world.note("trimmed", *(world.word_of(uid) for uid in trimmed))


def _pause(world: World) -> None:
    process = _some(world)
    seconds = world.dice.uniform(0.05, 2 * MAX_UNSYNCED)
    if world.dice.random() < 0.5:
        process.pause(seconds)
    else:
        process.pauses_before_reply = seconds


def _cut(world: World) -> None:
    process = _some(world)
    process.cut_until = world.now + world.dice.uniform(0.05, 2 * MAX_UNSYNCED)
    world.note(f"{process} is cut off until {process.cut_until * 1000:.0f} ms")


def _restart(world: World) -> None:
    process = _some(world)
    world.kill(process)
    world.start(process.name)


def _end(world: World) -> None:
    if len(world.processes) > 1:
        world.kill(_some(world))
        world.later(world.dice.uniform(0, 0.5), world.start)


def _join(world: World) -> None:
    if len(world.processes) < 2 * world.replicas:
        world.start()


def _clock(world: World) -> None:
    world.primary.clock_offset += world.dice.uniform(-1, 1)


def _flush(world: World) -> None:
    roll = world.dice.random()
    world.primary.flush(with_registrations=roll < 0.6)
    if roll < 0.3:
        world.l2.clear()


def _failover(world: World) -> None:
    """Planned: nothing is lost, and the servers' clocks differ."""
    _remember(world)
    follower = world.primary.follower(world.dice.getrandbits(64), until=world.now)
    follower.clock_offset += world.dice.uniform(-0.2, 0.2)
    world.become(follower)


def _lossy_failover(world: World) -> None:
    _remember(world)
    lag = world.dice.uniform(0, 0.5)
    world.become(world.primary.follower(world.dice.getrandbits(64), until=world.now - lag))


def _failback(world: World) -> None:
    """A server from before comes back, with what it had then and nothing else."""
    former, replid = world.snapshot, world.dice.getrandbits(64)
    _remember(world)
    world.become(former.come_back(replid, until=world.now))


def _remember(world: World) -> None:
    if world.dice.random() < 0.5:
        world.snapshot = world.primary.follower(world.primary.replid, until=world.now)


def _split(world: World) -> None:
    """Some replicas keep the old server, the others soon get its follower."""
    if not world.is_splitting:
        world.is_splitting = True
        spawn("split", _be_split(world))


async def _be_split(world: World) -> None:
    dice, old = world.dice, world.primary
    old.writes_until = world.now + (MOST_LAG_SECONDS if world.has_min_replicas else float("inf"))
    received = world.now - dice.uniform(0, 0.05)
    side = frozenset(each for each in world.processes if dice.random() < 0.5)
    away = [each for each in world.processes if each not in side]
    world.note("cut from the old server:", *away)
    promotion = MOST_LAG_SECONDS + dice.uniform(0, 0.2)
    for each in away:
        each.cut_until = max(each.cut_until, world.now + promotion)
    world.deposed_side = side
    await asyncio.sleep(promotion)
    if world.primary is not old:  # something else has taken its place meanwhile
        old.writes_until = float("inf")
    else:
        world.deposed = old
        world.become(old.follower(dice.getrandbits(64), until=received))
        world.note("the follower is promoted")
        await asyncio.sleep(dice.uniform(0.2, 3 * MAX_UNSYNCED))
        world.deposed = None
        world.note("the old server is gone")
    world.is_splitting = False


def _l2_evicts(world: World) -> None:
    for key in list(world.l2):
        if world.dice.random() < 0.5:
            del world.l2[key]


def _l2_is_flushed(world: World) -> None:
    world.l2.clear()


def _l2_goes_back(world: World) -> None:
    """A failover of L2: what it had a while ago, and has now."""
    now = dict(world.l2)
    world.l2.clear()
    world.l2.update(world.l2_snapshot)
    world.l2_snapshot = now


def _server_pauses(world: World) -> None:
    world.server_paused_until = world.now + world.dice.uniform(0.05, 2 * MAX_UNSYNCED)


def _server_is_full(world: World) -> None:
    world.primary.full_until = world.now + world.dice.uniform(0.05, 2 * MAX_UNSYNCED)


def _origin_fails(world: World) -> None:
    world.origin_fails_until = world.now + world.dice.uniform(0.05, 0.5)


TROUBLES: dict[str, Callable[[World], None]] = {
    "trim": _trim,
    "pause": _pause,
    "cut": _cut,
    "restart": _restart,
    "end": _end,
    "join": _join,
    "clock": _clock,
    "flush": _flush,
    "failover": _failover,
    "lossy failover": _lossy_failover,
    "failback": _failback,
    "split": _split,
    "l2 evicts": _l2_evicts,
    "l2 is flushed": _l2_is_flushed,
    "l2 goes back": _l2_goes_back,
    "server pauses": _server_pauses,
    "server is full": _server_is_full,
    "origin fails": _origin_fails,
}
