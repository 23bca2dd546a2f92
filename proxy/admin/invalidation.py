"""What `/purge` and `/invalidate` do: one append to the log, or a count of what it would name here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from proxy.admin.protocols import PurgeReport
from proxy.model import Held, StoredResponse
from proxy.policy.invalidation import Selector
from proxy.policy.selected import Bounds, Keyed, Selected, keys_of

SLICE = 1000
"""Entries that a dry run looks at before other work gets its turn: about a millisecond."""


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


class LogInvalidation:
    """Purges through the log."""

    def __init__(
        self,
        log: PurgeLog,
        *,
        entries: Callable[[], Iterable[tuple[bytes, Held]]],
        keyed: Callable[[], Keyed],
    ) -> None:
        self._log = log
        self._entries = entries
        self._keyed = keyed

    async def purge(
        self, selectors: Sequence[Selector], *, soft: bool, wait_seconds: float | None
    ) -> PurgeReport:
        """Apply here, publish, and wait at most `wait_seconds` (None: not at all) for the others."""
        reach = await self._log.append(selectors, soft=soft, wait=wait_seconds)
        return PurgeReport(
            reach.id,
            reach.published,
            reach.known,
            reach.acknowledged,
            tuple(reach.missing),
            reach.complete,
        )

    async def count(self, selectors: Sequence[Selector]) -> int:
        """How many entries of this replica's L1 the selectors match; changes nothing."""
        everything = len(selectors)
        wanted: Selected[float] = Selected(self._keyed(), Bounds(narrow=everything, broad=everything))
        for selector in selectors:
            wanted.add(selector, 1.0)
        count = 0
        for number, (_, held) in enumerate(self._entries()):
            entry = held.entry
            count += isinstance(entry, StoredResponse) and wanted.selects(entry, keys_of(entry), None)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        return count
