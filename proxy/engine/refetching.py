"""Fetches again what was invalidated, in the background: the hottest first, few at a time.

Only what a request without any field but Host gets: an entry keeps its URL, not the request that made it. So
nothing that depends on a user, a cookie or a token is asked for, and never with anybody's credentials.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Protocol

from proxy.engine.prefetching import Prefetcher
from proxy.model import Fields, Request, StoredResponse
from proxy.observe.tasks import spawn

AT_ONCE = 4
LONGEST_SECONDS = 300.0
"""For all that wait at one time; what is left then is left to those who ask for it."""
SLICE = 100
"""Entries whose keys are made before other work gets its turn: about two milliseconds."""


class Flow(Protocol):
    """The way of every request, as far as it says where L1 has what."""

    def entry_key(self, request: Request) -> bytes | None:
        """Under which key L1 has, or would have, what the request gets; None: the cache is not asked."""


class Refetcher:
    """At most `most` entries wait or are fetched at any time."""

    def __init__(self, flow: Flow, prefetcher: Prefetcher, *, most: int) -> None:
        self._flow = flow
        self._prefetcher = prefetcher
        self._most = most
        self._waiting: dict[bytes, Request] = {}
        self._under_way: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Refetcher {len(self._waiting)} wait, {len(self._under_way)} under way>"

    async def refresh(self, entries: Iterable[tuple[bytes, StoredResponse]]) -> int:
        """Fetch these again soon, in this order, as far as that can be; how many of them."""
        count = 0
        for number, (key, entry) in enumerate(entries):
            if len(self._waiting) + len(self._under_way) >= self._most:
                break
            request = self._request(key, entry)
            if request is not None and key not in self._waiting:
                self._waiting[key] = request
                count += 1
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = spawn("refetch", self._run())
        return count

    def stop(self) -> None:
        """Fetch no more of what waits: the process drains or ends."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None  # what it is to do after an undone drain is another's

    def _request(self, key: bytes, entry: StoredResponse) -> Request | None:
        """The request that gets the entry by its URL alone; None where there is none."""
        if not entry.host or entry.part is not None:
            return None
        request = Request("GET", entry.target, Fields([(b"Host", entry.host)]), host=entry.host)
        return request if self._flow.entry_key(request) == key else None

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                keys = tuple(waiting)
                self._under_way = set(keys)
                results = self._prefetcher.fetch_all(
                    tuple(waiting.values()), cause="refresh", at_once=AT_ONCE, seconds=LONGEST_SECONDS
                )
                async with aclosing(results):
                    async for number, _ in results:
                        self._under_way.discard(keys[number])
        finally:
            self._under_way.clear()
