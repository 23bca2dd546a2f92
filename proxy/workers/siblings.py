"""How a worker tells the others what it has purged in its own L1: by the supervisor, which asks each of them.

Only where no L2 is shared: else all read the same log. What is told while a call is under way goes with the
next one, each selector once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from proxy.observe.tasks import spawn
from proxy.policy.invalidation import EVERYTHING, Selector
from proxy.policy.selector_encoding import encode_selectors
from proxy.workers.channel import Call, Channel, Silence

TELL_SECONDS = 10.0
"""For one call; the supervisor has ended by then whoever did not answer it."""
RETRY_SECONDS = 0.2
WAIT_SECONDS = 2.0
"""How long an answer waits for the others at most."""
MOST_SELECTORS = 10_000
"""Told in one call; more become one purge of everything."""

_log = structlog.get_logger("sidecache.workers")


class Siblings:
    """The other workers, as one to talk to."""

    def __init__(
        self,
        supervisor: Channel,
        index: int,
        *,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._supervisor = supervisor
        self._target = f"/-/apply?besides={index}"
        self._pause = pause
        self._waiting: dict[bool, dict[Selector, None]] = {False: {}, True: {}}
        """Soft or not -> what is to be told."""
        self._next = asyncio.Event()
        self._told = asyncio.get_running_loop().create_future()
        """Of the call that will carry what waits."""
        self._task = spawn("siblings", self._run())

    async def tell(self, selectors: Sequence[Selector], *, soft: bool) -> bool:
        """Whether all others have applied it in time; if not, it is told again until they have."""
        waiting = self._waiting[soft]
        waiting.update(dict.fromkeys(selectors))
        if len(waiting) > MOST_SELECTORS:
            self._waiting[soft] = {EVERYTHING: None}
        told = self._told
        self._next.set()
        done, _ = await asyncio.wait({told}, timeout=WAIT_SECONDS)
        return bool(done)

    async def aclose(self) -> None:
        """Tell nothing more: the process ends, and the others end with it."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._next.wait()
            self._next.clear()
            waiting, self._waiting = self._waiting, {False: {}, True: {}}
            told, self._told = self._told, asyncio.get_running_loop().create_future()
            for soft, selectors in waiting.items():
                if selectors:
                    await self._deliver(Call("POST", self._target, encode_selectors(selectors, soft=soft)))
            told.set_result(None)

    async def _deliver(self, call: Call) -> None:
        failures = 0
        while True:
            reply = await self._supervisor.ask(call, seconds=TELL_SECONDS)
            if not isinstance(reply, Silence) and reply.status == 200:
                return
            if not failures:
                _log.warning("a purge has not reached the other workers, trying on", reply=str(reply))
            failures += 1
            await self._pause(RETRY_SECONDS)
