"""The invalidation log of one of several workers without a shared server: its own, and a word to the others.

Entries are never shared between their L1s, so each orders for itself what it applies; a purge is the same in
any order. What is applied here is told before an answer depends on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from proxy.fleet.local_log import LocalLog
from proxy.fleet.log import Appended
from proxy.model import Capture, StoredResponse, Succession
from proxy.policy.invalidation import Selector


class Others(Protocol):
    """The other workers of this sidecar."""

    async def tell(self, selectors: Sequence[Selector], *, soft: bool) -> bool:
        """Whether all have applied it in time; if not, it is told again until they have."""


class SiblingsLog:
    """What the engine of a worker asks."""

    def __init__(self, local: LocalLog, others: Others) -> None:
        self._local = local
        self._others = others
        # The methods themselves, not ones around them: a hit asks the first of them.
        self.judge_held = local.judge_held
        self.is_current = local.is_current
        self.judge = local.judge
        self.capture = local.capture

    @property
    def is_synced(self) -> bool:
        """Always: whoever misses a purge is killed."""
        return self._local.is_synced

    async def append(
        self, selectors: Sequence[Selector], *, soft: bool, wait: float | None = None
    ) -> Appended:
        """Apply here, then in the others."""
        appended = await self._local.append(selectors, soft=soft, wait=wait)
        await self._others.tell(selectors, soft=soft)
        return appended

    def purge_soon(self, selectors: Sequence[Selector]) -> Awaitable[object]:
        """Apply here at once; to be awaited until the others have."""
        self._local.purge_soon(selectors)
        return self._others.tell(selectors, soft=False)

    def supersede(self, selectors: Sequence[Selector], *, heir: StoredResponse, since: Capture) -> Succession:
        """As the log of one process; it ends once the others have purged what the heir takes the place of."""
        succession = self._local.supersede(selectors, heir=heir, since=since)
        return self._after_others(selectors, succession)

    async def _after_others(self, selectors: Sequence[Selector], succession: Succession) -> Capture | None:
        await self._others.tell(selectors, soft=False)
        return await succession
