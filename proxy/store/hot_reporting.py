"""Looks at L1 now and then, and tells the fleet what is hot in it. Owns when, and so what that costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import time
from typing import Protocol

LOOK_SECONDS = 0.25
"""Between two looks at least: one takes a millisecond, all of them half a percent of a core."""
ROUND_SECONDS = 2.0
"""A shard is looked at no more often: two looks at the same uses are one."""
TELL_SECONDS = 5.0
"""Between two lists at least, and never before all shards were looked at once more."""
TELLS_PER_SECOND = 2.0
"""Of the whole fleet; a larger one tells less often. A list of 10,000 keys and some to spare has 250 kB."""


class Looking(Protocol):
    """What is hot here; `heat.Heat` is one."""

    def look(self, now: float) -> None:
        """Look at the next shard."""

    def rates(self) -> Mapping[bytes, float]:
        """Uses in a second, by key."""


class Telling(Protocol):
    """Whoever passes it on; `hot_lists.HotLists` is one."""

    async def publish(self, rates: Mapping[bytes, float]) -> None:
        """Tell it. Has a deadline."""


class HotReporter:
    """`replicas` tells how many there are; `pause` is asyncio's but for tests."""

    def __init__(
        self,
        heat: Looking,
        lists: Telling,
        *,
        shard_count: int,
        replicas: Callable[[], int],
        now: Callable[[], float] = time,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._heat = heat
        self._lists = lists
        self._look_seconds = max(LOOK_SECONDS, ROUND_SECONDS / shard_count)
        self._tell_seconds = max(TELL_SECONDS, self._look_seconds * shard_count)
        self._replicas = replicas
        self._now = now
        self._pause = pause

    async def run(self) -> None:
        """For ever."""
        untold_seconds = 0.0
        while True:
            await self._pause(self._look_seconds)
            self._heat.look(self._now())
            untold_seconds += self._look_seconds
            if untold_seconds >= max(self._tell_seconds, self._replicas() / TELLS_PER_SECOND):
                untold_seconds = 0.0
                await self._lists.publish(self._heat.rates())
