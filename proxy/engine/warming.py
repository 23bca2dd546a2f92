"""Fills L1 from L2 with the keys that the fleet asks for most, as a back-fill would.

Each entry is judged in the step that keeps it, by the rule that a request's answer from L2 obeys; nothing
that L1 holds already is replaced. Who is asked for the keys, and until when, is the caller's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from proxy.config.policy import RoutePolicy
from proxy.engine.protocols import Log
from proxy.model import Entry, Held, Validity, VaryRecord
from proxy.observe.metrics import Metrics

FIRST_TOGETHER = 8
MOST_TOGETHER = 128
"""Look-ups that travel together: few, until their sizes are known; never so many that decoding them holds
up those who ask meanwhile."""
PAUSE_SECONDS = 0.1
"""Before L2 is asked again that could not be asked."""


_WORDS = {
    Validity.STALE: "invalidated",
    Validity.DEAD: "invalidated",
    Validity.DISTRUSTED: "distrusted",
    Validity.UNSYNCED: "unsynced",
}


class HotKeys(Protocol):
    """Who knows what the fleet asks for."""

    async def hottest(self, most: int) -> Sequence[bytes] | None:
        """The hottest keys, the hottest first; None: nobody could be asked."""


class Shelves(Protocol):
    """Both tiers, as far as filling one from the other needs them."""

    @property
    def can_ask(self) -> bool:
        """All of L2 can be asked now."""

    @property
    def has_room(self) -> bool:
        """L1 can take more without anything giving way."""

    def peek(self, key: bytes, now: float) -> Held | None:
        """L1's copy."""

    async def look_up(self, key: bytes) -> Entry | None:
        """L2's; a failure is None."""

    def back_fill(self, key: bytes, entry: Entry, now: float, *, idle: float | None) -> Held:
        """Into L1 what L2 answered."""


class Warmer:
    """One filling. `policies` are those of routes that cache, by name; `pause` is asyncio's but for tests."""

    def __init__(
        self,
        *,
        tiers: Shelves,
        log: Log,
        hot_keys: HotKeys,
        policies: Mapping[str, RoutePolicy],
        metrics: Metrics,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._tiers = tiers
        self._log = log
        self._hot_keys = hot_keys
        self._policies = policies
        self._metrics = metrics
        self._clock = clock
        self._pause = pause
        self._listed = 0
        self._results: Counter[str] = Counter()

    def progress(self) -> Mapping[str, int]:
        """How many keys are listed, and what became of those that were looked up."""
        return {"listed": self._listed, **self._results}

    async def run(self, most: int) -> None:
        """Fill L1 with at most so many; ends when it is done, and may be cancelled anywhere."""
        listed = await self._hot_keys.hottest(most)
        while listed is None:
            await self._pause(PAUSE_SECONDS)
            listed = await self._hot_keys.hottest(most)
        self._listed = len(listed)
        waiting = deque(listed)
        together = FIRST_TOGETHER
        while waiting and self._tiers.has_room:
            keys = [waiting.popleft() for _ in range(min(together, len(waiting)))]
            if await self._fill(keys):
                together = min(2 * together, MOST_TOGETHER)
            else:
                waiting.extendleft(reversed(keys))
                await self._pause(PAUSE_SECONDS)

    async def _fill(self, keys: Sequence[bytes]) -> bool:
        """False: L2 could not be asked."""
        entries = await asyncio.gather(*map(self._tiers.look_up, keys))
        is_found = any(entry is not None for entry in entries)
        if not is_found and not self._tiers.can_ask:
            return False
        now = self._clock()
        for key, entry in zip(keys, entries, strict=True):
            result = self._keep(key, entry, now)
            self._results[result] += 1
            self._metrics.warmed.add(result)
        return True

    def _keep(self, key: bytes, entry: Entry | None, now: float) -> str:
        """What became of it, as the metric's label."""
        if entry is None:
            return "missing"
        if self._tiers.peek(key, now) is not None:
            return "present"
        idle = None
        if not isinstance(entry, VaryRecord):  # which names fields and answers nothing
            policy = self._policies.get(entry.route)
            if policy is None:
                return "no-route"
            validity = self._log.judge(entry)
            if validity is not Validity.ALIVE:
                return _WORDS[validity]
            idle = policy.idle
        self._tiers.back_fill(key, entry, now, idle=idle)
        return "kept"
