"""Asks a Redis or Valkey cluster which node has which slots.

We deviate from redis-py's RedisCluster, whose client for one node is used here as everywhere else: an ASK
makes it lose the request where the target has two idle connections, its pools do not wait for a connection
but raise, one node that fails takes a whole pipeline along, and a look at the topology closes every
connection and walks 16,384 slots on the event loop.

Primaries only: a replica may not have what was just deleted or appended.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from proxy.store.redis_client import connect
from proxy.store.redis_link import FOREIGN, Failure, Fault, failure_of
from proxy.store.redis_topology import Shards
from proxy.store.redis_url import Place, ServerGroup

ASK_SECONDS = 0.25
"""Of one node; the next one is asked then."""


class ClusterFinder:
    """Asks one node after the other: those that were found last time, then the configured ones."""

    def __init__(self, group: ServerGroup) -> None:
        self._group = group
        self._known: tuple[Place, ...] = ()
        connect(
            group.server_url(group.places[0]), timeout=ASK_SECONDS
        )  # a faulty URL is noticed at the start

    async def find(self) -> Shards | Failure:
        """Who has which slots, by the first node that answers."""
        failure = Failure(Fault.UNREACHABLE, "no node is known")
        for place in self._places():
            answer = await self._ask(place)
            if not isinstance(answer, Failure):
                return self._shards(answer)
            failure = answer
        return failure

    async def aclose(self) -> None:
        """No connection outlives its question."""

    def _places(self) -> Iterable[Place]:
        # In any order: a thousand replicas that lost a node do not all ask the same one.
        known = random.sample(self._known, len(self._known))
        seeds = random.sample(self._group.places, len(self._group.places))
        return dict.fromkeys([*known, *seeds])

    async def _ask(self, place: Place) -> list[tuple[int, int, Place]] | Failure:
        client = connect(self._group.server_url(place), timeout=ASK_SECONDS, max_connections=1)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                reply = await client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            return list(_ranges(reply, place))
        except FOREIGN as error:
            return failure_of(error)
        except (TypeError, ValueError, IndexError) as error:
            return Failure(Fault.REFUSED, f"no reply to CLUSTER SLOTS: {error}")
        finally:
            await client.aclose()

    def _shards(self, ranges: Sequence[tuple[int, int, Place]]) -> Shards:
        self._known = tuple({place for _, _, place in ranges})
        return Shards.of((first, last, self._group.server_url(place)) for first, last, place in ranges)


def _ranges(reply: Sequence[Sequence[Any]], asked: Place) -> Iterator[tuple[int, int, Place]]:
    """First slot, last slot, primary."""
    for first, last, primary, *_ in reply:
        host = (primary[0] or b"").decode()
        # A node that was never told its own address, or its name, leaves it out: it is the one we asked.
        yield int(first), int(last), (host if host not in {"", "?"} else asked[0], int(primary[1]))
