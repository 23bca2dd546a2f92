"""Worlds in which one thing after the other happens, for wrong orders that chance hardly ever meets.

Three replicas `p`, `q` and `r` have read the log; of `/a` the first version is in p's L1 and in L2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy.observe.tasks import spawn
from tests.simulation.kinds import Kind
from tests.simulation.log_store import LogStore
from tests.simulation.mutants import Mutant
from tests.simulation.process import MAX_UNSYNCED, Process
from tests.simulation.promises import Purge
from tests.simulation.simulation import living
from tests.simulation.traffic import purge, request
from tests.simulation.world import World
from tests.support.purging import url
from tests.support.routing import get

REPLICAS = 3
SETTLED_SECONDS = 2.5
"""Until the epoch is known to all, no grace is left, and a fetch of before is older than max_unsynced."""
TARGET = b"/a"

History = Callable[["Stage"], Awaitable[None]]


class Stage:
    """The replicas, and what can be done to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.p, self.q, self.r = world.processes

    async def ask(self, process: Process) -> None:
        """A client asks for the target, and gets its answer."""
        answering = request(self.world, process, get(TARGET))
        if answering is not None:
            await answering

    def change(self, publisher: Process, wait: float | None = None) -> asyncio.Task[None]:
        """The target changes, and a purge says so."""
        changed: Purge = self.world.change(url(TARGET.decode()), soft=False)
        return spawn("purge", purge(self.world, publisher, changed, wait))

    def cut(self, process: Process, seconds: float = 60.0) -> None:
        """From Redis."""
        process.cut_until = self.world.now + seconds

    def heal(self, process: Process) -> None:
        """It reaches Redis again."""
        process.cut_until = 0.0

    def restart(self, process: Process) -> Process:
        """Its memory is lost, its name and its obligations are not."""
        self.world.kill(process)
        return self.world.start(process.name)

    def fail_over(self, *, until: float) -> None:
        """To a server that has received what was written until then."""
        self.world.become(self.world.primary.follower(self.world.dice.getrandbits(64), until=until))

    def return_to(self, former: LogStore) -> None:
        """A server that was deposed comes back with what it had then."""
        self.world.become(former.come_back(self.world.dice.getrandbits(64), until=self.world.now))


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - virtual time, and states that tell nobody
            await asyncio.sleep(0.001)


async def a_reply_that_waits_for_a_stopped_process(stage: Stage) -> None:
    """The purge is appended while the reply of a poll is on its way, for most of max_unsynced (R15)."""
    p = stage.p
    p.pauses_before_reply = 0.9 * MAX_UNSYNCED
    await _until(lambda: p.is_paused)
    stage.change(stage.q)
    before = p.copy.trust.until
    await _until(lambda: p.copy.trust.until != before)
    stage.cut(p)
    await asyncio.sleep(0.3 * MAX_UNSYNCED)
    await stage.ask(p)


async def a_hit_right_after_a_stop(stage: Stage) -> None:
    """A process is stopped for longer than max_unsynced; a request waits for it when it goes on (R15)."""
    p = stage.p
    p.pause(2.5 * MAX_UNSYNCED)
    stage.change(stage.q)
    await asyncio.sleep(2 * MAX_UNSYNCED)
    await stage.ask(p)


async def a_young_log_that_has_lost_a_purge(stage: Stage) -> None:
    """Who was cut off comes back to a log that has lost, for now, what was appended meanwhile (R18)."""
    world = stage.world
    stage.cut(stage.p)
    await asyncio.sleep(0.2)
    before = world.now
    await stage.change(stage.q)
    await asyncio.sleep(1.5 * MAX_UNSYNCED)
    stage.fail_over(until=before)
    for survivor in (stage.q, stage.r):
        survivor.pause(0.5)
    stage.heal(stage.p)
    await _until(lambda: stage.p.log.is_synced)
    await stage.ask(stage.p)


async def a_registration_of_an_older_log(stage: Stage) -> None:
    """A log was flushed while a replica is cut off; what it has registered looks newer than all ids (R19)."""
    stage.cut(stage.p)
    stage.world.primary.clock_offset -= 100.0
    stage.world.primary.flush(with_registrations=False)
    await stage.change(stage.q, wait=0.3)
    await stage.ask(stage.p)


async def a_server_that_comes_back(stage: Stage) -> None:
    """A, then B, then A again, which has never heard of B's epoch and its purge (R1)."""
    former = stage.world.primary
    stage.fail_over(until=stage.world.now)
    await asyncio.sleep(SETTLED_SECONDS)
    await stage.change(stage.q, wait=3.0)
    await asyncio.sleep(SETTLED_SECONDS)
    stage.return_to(former)
    for survivor in (stage.q, stage.r):
        survivor.pause(0.5)
    reborn = stage.restart(stage.p)
    await _until(lambda: reborn.log.is_synced)
    await stage.ask(reborn)


async def a_publisher_that_dies_before_its_purge_is_lost(stage: Stage) -> None:
    """The others have applied what it appended; a failover loses the record (R17)."""
    before = stage.world.now
    await asyncio.sleep(0.01)
    await stage.change(stage.q, wait=3.0)
    stage.world.kill(stage.q)
    stage.fail_over(until=before)
    await asyncio.sleep(2.5 * MAX_UNSYNCED)
    newcomer = stage.world.start()
    await asyncio.sleep(2.5 * MAX_UNSYNCED)
    await stage.ask(newcomer)


def happen(history: History, *, seed: int = 0, mutant: Mutant | None = None) -> World:
    """The world in which it has happened, until its end or until a promise is broken."""
    world = World(seed, Kind("directed"), replicas=REPLICAS, is_traced=True)

    async def all_of_it() -> None:
        stage = Stage(world)
        await asyncio.sleep(SETTLED_SECONDS)
        await stage.ask(stage.p)
        await stage.p.shared.written()
        await asyncio.sleep(SETTLED_SECONDS)
        await history(stage)

    living(world, all_of_it(), mutant=mutant)
    return world
