"""Runs worlds: one, or as many as it takes for so many interleavings."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from proxy.observe.tasks import spawn
from tests.simulation.kinds import Kind
from tests.simulation.mutants import Mutant, in_force
from tests.simulation.traffic import ask_for_content, ask_for_purges
from tests.simulation.trouble import make_trouble
from tests.simulation.virtual_loop import run
from tests.simulation.world import World


def simulate(
    seed: int,
    kind: Kind,
    *,
    replicas: int | None = None,
    mutant: Mutant | None = None,
    is_traced: bool = False,
) -> World:
    """One world from its beginning to its end, or until a promise is broken."""
    world = World(seed, kind, replicas=replicas, is_traced=is_traced)
    living(world, _by_chance(world), mutant=mutant)
    return world


def living(world: World, history: Coroutine[Any, Any, None], *, mutant: Mutant | None) -> None:
    """Let its replicas start, and the history happen to them."""

    async def live() -> None:
        world.begin()
        await history

    with _crashes_are_faults(world), in_force(mutant):
        run(live())


async def _by_chance(world: World) -> None:
    spawn("clients", ask_for_content(world))
    spawn("operators", ask_for_purges(world))
    if world.kind.troubles:
        spawn("trouble", make_trouble(world))
    with suppress(TimeoutError):
        async with asyncio.timeout(world.kind.seconds):
            await world.is_broken.wait()


@contextmanager
def _crashes_are_faults(world: World) -> Iterator[None]:
    """A task of the product that ends by an exception is reported to its log, and nowhere else."""

    def take(_logger: Any, _method: str, event: dict[str, Any]) -> str:
        error = event.get("exc_info")
        world.faults.append(f"{event.get('event')} {event.get('task', '')}: {error!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[take], wrapper_class=structlog.make_filtering_bound_logger(40))
    try:
        yield
    finally:
        structlog.configure(**before)
