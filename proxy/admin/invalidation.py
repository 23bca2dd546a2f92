"""What `/purge` and `/invalidate` do: one append to the log, or a count of what it would name here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from heapq import heappush, heappushpop
from math import inf
from typing import Protocol

from proxy.admin.protocols import PurgeReport
from proxy.model import Held, StoredResponse
from proxy.policy.invalidation import Selector
from proxy.policy.selected import Bounds, Keyed, Selected, keys_of

SLICE_SECONDS = 0.002
"""Entries are looked at for so long before other work gets its turn; how many that are, selectors decide."""
CHOOSING_SECONDS = 2.0
"""For the hottest to be found: the answer waits for it, and a worker that is silent for long is replaced. So
long some 300,000 entries take."""
CANDIDATES = 4
"""Times as many of the hottest entries are chosen as may be fetched again: of some only the URL is known, and
it does not lead to them."""


class Reach(Protocol):
    """How far an append has come."""

    @property
    def id(self) -> str: ...
    @property
    def published(self) -> bool: ...
    @property
    def known(self) -> int: ...
    @property
    def acknowledged(self) -> int: ...
    @property
    def missing(self) -> tuple[str, ...]: ...
    @property
    def complete(self) -> bool: ...


class PurgeLog(Protocol):
    """The invalidation log, to append to."""

    async def append(self, selectors: Sequence[Selector], *, soft: bool, wait: float | None = None) -> Reach:
        """Apply here at once, publish, wait for the others if asked to."""


class Refreshing(Protocol):
    """Who fetches again what was invalidated."""

    async def refresh(self, entries: Iterable[tuple[bytes, StoredResponse]]) -> int:
        """Fetch these again soon, in this order, as far as that can be; how many of them."""


class LogInvalidation:
    """Purges through the log. `seconds_idle` says of a key, last used so long ago, how cold it is."""

    def __init__(
        self,
        log: PurgeLog,
        *,
        entries: Callable[[], Iterable[tuple[bytes, Held]]],
        keyed: Callable[[], Keyed],
        refreshing: Refreshing,
        most_refreshed: int,
        seconds_idle: Callable[[bytes, float], float] = lambda _, since_use: since_use,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._entries = entries
        self._keyed = keyed
        self._refreshing = refreshing
        self._most_refreshed = most_refreshed
        self._seconds_idle = seconds_idle
        self._clock = clock
        self._monotonic = monotonic

    async def purge(
        self, selectors: Sequence[Selector], *, soft: bool, wait_seconds: float | None, refresh: bool = False
    ) -> PurgeReport:
        """Apply here, publish, and wait at most `wait_seconds` (None: not at all) for the others.

        With `refresh` the hottest entries of this L1 that are named are fetched again in the background.
        """
        reach = await self._log.append(selectors, soft=soft, wait=wait_seconds)
        return PurgeReport(
            reach.id,
            reach.published,
            reach.known,
            reach.acknowledged,
            tuple(reach.missing),
            reach.complete,
            await self._refreshing.refresh(await self._hottest(selectors)) if refresh else None,
        )

    async def count(self, selectors: Sequence[Selector]) -> int:
        """How many entries of this replica's L1 the selectors match; changes nothing."""
        count = 0
        async for _ in self._named(selectors):
            count += 1
        return count

    async def _hottest(self, selectors: Sequence[Selector]) -> list[tuple[bytes, StoredResponse]]:
        """Of those that are named and found in time, the hottest first."""
        now, most = self._clock(), CANDIDATES * self._most_refreshed
        # The coldest of them on top; the key decides between equally cold ones, so entries are not compared.
        hottest: list[tuple[float, bytes, StoredResponse]] = []
        async for key, held, entry in self._named(selectors, seconds=CHOOSING_SECONDS):
            if entry.expires_at > now:
                candidate = (-self._seconds_idle(key, max(0.0, now - held.used_at)), key, entry)
                (heappush if len(hottest) < most else heappushpop)(hottest, candidate)
        return [(key, entry) for _, key, entry in sorted(hottest, reverse=True)]

    async def _named(
        self, selectors: Sequence[Selector], *, seconds: float = inf
    ) -> AsyncIterator[tuple[bytes, Held, StoredResponse]]:
        everything = len(selectors)
        wanted: Selected[float] = Selected(self._keyed(), Bounds(narrow=everything, broad=everything))
        for selector in selectors:
            wanted.add(selector, 1.0)
        began_at = turn_at = self._monotonic()
        for key, held in self._entries():
            entry = held.entry
            if isinstance(entry, StoredResponse) and wanted.selects(entry, keys_of(entry), None):
                yield key, held, entry
            now = self._monotonic()
            if now - began_at >= seconds:
                return
            if now - turn_at >= SLICE_SECONDS:
                await asyncio.sleep(0)
                turn_at = self._monotonic()
