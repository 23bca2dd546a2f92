"""Asks Redis or Valkey sentinels which server is the master of a service."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from redis.asyncio.sentinel import Sentinel

from proxy.store.redis_client import connect
from proxy.store.redis_link import FOREIGN, Failure, Fault, failure_of
from proxy.store.redis_topology import Shards
from proxy.store.redis_url import ServerGroup

ASK_SECONDS = 0.25
"""Of one sentinel; the next one is asked then."""


class SentinelFinder:
    """Asks one sentinel after the other, the one that answered last at first."""

    def __init__(self, group: ServerGroup) -> None:
        self._group = group
        # Each alone: redis-py has no deadline for one of several, and would wait for a silent one only.
        self._sentinels = [_alone(group.sentinel_url(place)) for place in group.places]
        connect(
            group.server_url(("localhost", 1)), timeout=ASK_SECONDS
        )  # a faulty URL is noticed at the start

    async def find(self) -> Shards | Failure:
        """The master has everything."""
        failure = Failure(Fault.UNREACHABLE, "no sentinel is known")
        for sentinel in list(self._sentinels):
            answer = await self._ask(sentinel)
            if not isinstance(answer, Failure):
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return answer
            failure = answer
        return failure

    async def aclose(self) -> None:
        """End the connections to the sentinels."""
        for sentinel in self._sentinels:
            with suppress(*FOREIGN):
                await sentinel.aclose()

    async def _ask(self, sentinel: Sentinel) -> Shards | Failure:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                host, port = await sentinel.discover_master(self._group.service)
        except FOREIGN as error:
            return failure_of(error)
        return Shards.whole(self._group.server_url((host, int(port))))


def _alone(url: str) -> Sentinel:
    sentinel = Sentinel([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [connect(url, timeout=ASK_SECONDS, max_connections=1)]
    return sentinel
