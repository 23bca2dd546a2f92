"""Who asks: clients for content, operators for purges. Each answer is held against the promises."""

from __future__ import annotations

import asyncio

from proxy.model import Answer, Outcome, Request
from proxy.observe.tasks import spawn
from tests.simulation.origin import SELECTORS, TARGETS
from tests.simulation.process import Process
from tests.simulation.promises import Debts, Owed, Promises, Purge
from tests.simulation.world import World
from tests.support.routing import get

LANGUAGES = (b"en", b"de")
WAITS = (None, None, 0.2, 1.0, 3.0)
LONGEST_ANSWER_SECONDS = 0.6
"""From the server's reply that decides of an answer to the answer, machines that stand still aside."""


async def ask_for_content(world: World) -> None:
    """Requests, one by one, for as long as the world lasts."""
    while True:
        await asyncio.sleep(world.dice.expovariate(world.kind.requests_per_second))
        request(world, world.dice.choice(world.processes), _some_request(world))


def request(world: World, process: Process, asked: Request) -> asyncio.Task[None] | None:
    """One request arrives now. None: it is answered."""
    debts = world.promises.debts(process, process.name, asked.target, world.now)
    # As the listener does it: a hit takes no task.
    answer = None if process.is_paused else process.flow.try_hit(asked)
    if answer is None:
        return spawn("request", _serve(world, process, asked, debts))
    check(world, process, asked, debts, answer)
    return None


async def ask_for_purges(world: World) -> None:
    """Purges, one by one."""
    while True:
        await asyncio.sleep(world.dice.expovariate(world.purge_rate))
        process = world.dice.choice(world.processes)
        if not process.is_paused:
            selector, wait = world.dice.choice(SELECTORS), world.dice.choice(WAITS)
            is_soft = world.dice.random() < world.kind.soft_share
            spawn("purge", purge(world, process, world.change(selector, soft=is_soft), wait))


async def purge(world: World, process: Process, asked: Purge, wait: float | None) -> None:
    """The origin has changed, and somebody says so."""
    world.note(f"{process} is asked for {asked}, wait={wait}")
    for each in world.processes:
        each.fills.meet(asked, "here" if each is process else "elsewhere")
    process.staging = asked
    answer = await process.log.append([asked.selector], soft=asked.soft, wait=wait)
    await process.travel(0)
    world.note(f"{process} answers {asked}:", answer)
    for each in world.processes:
        if each.name in process.acknowledged.get(answer.id, ()):
            world.promises.acknowledged(each, asked)
    if answer.complete:
        _completed(world, process, asked)


def _completed(world: World, process: Process, asked: Purge) -> None:
    # Who was not registered is cut off, and obeys after max_unsynced.
    registered = world.primary.registrations
    exempt = (each for each in world.processes if each.name not in registered and not each.log.is_synced)
    world.promises.completed(asked, exempt=frozenset(exempt))
    lost_at = asked.missing_since
    if lost_at is not None and world.now - lost_at > LONGEST_ANSWER_SECONDS:
        world.blame(Promises.PRESENT, f"{process} says complete, but {asked} is in no log")


def check(world: World, process: Process, asked: Request, debts: Debts, answer: Answer) -> None:
    """Is the answer as new as was promised?"""
    world.answers += 1
    if not isinstance(answer.body, bytes) or answer.status != 200:
        return
    owed, version = _owed(answer, debts), int(answer.body)
    if answer.outcome is not Outcome.MISS:
        world.cached += 1
        world.bound += owed.purge is not None
    if world.trace is not None:
        world.note(f"{process} answers", asked.target.decode(), f"version {version}", answer.outcome.word)
    if version < owed.version:
        where = f"{process} served {asked.target.decode()} version {version} ({answer.outcome.word})"
        world.blame(owed.promise, f"{where}, owed {owed.version} by {owed.purge}")


def _owed(answer: Answer, debts: Debts) -> Owed:
    status = answer.cache_status
    if answer.outcome is Outcome.STALE:
        # A replica that is cut off may answer with what it holds where the origin fails: R11, by choice.
        return debts.known if status is not None and status.detail == "unsynced" else debts.stale
    return debts.stale if answer.outcome is Outcome.UPDATING else debts.fresh


async def _serve(world: World, process: Process, asked: Request, debts: Debts) -> None:
    await process.travel(0)
    check(world, process, asked, debts, await process.flow.serve(asked))


def _some_request(world: World) -> Request:
    target = world.dice.choice(TARGETS)
    lines = [(b"Accept-Language", world.dice.choice(LANGUAGES))]
    if world.dice.random() < 0.02:
        lines.append((b"Cache-Control", b"max-age=0"))
    return get(target, *lines)
