"""L1 in front of L2: which tier is asked, filled and emptied by what.

Owns no rule of reuse: whether an entry may answer is decided where it is asked for. Without an L2 every
look-up in it is a miss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from proxy.model import Entry, Held
from proxy.store.memory import MemoryStore

if TYPE_CHECKING:
    from proxy.store.redis import RedisStore


class TieredStore:
    """Both tiers as one. `on_error` is the operator's word for the loss of L2."""

    def __init__(
        self, memory: MemoryStore, shared: RedisStore | None, *, on_error: Literal["open", "shed"]
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._sheds = on_error == "shed"
        # The method itself, not one around it: a hit asks nothing else of the stores.
        self.peek = memory.peek

    def __repr__(self) -> str:
        return f"<TieredStore {self._memory!r} {self._shared!r}>"

    @property
    def is_present(self) -> bool:
        """An L2 is configured."""
        return self._shared is not None

    @property
    def must_shed(self) -> bool:
        """L2 cannot be asked and the operator said: rather 503 than expose the origin."""
        return self._sheds and self._shared is not None and self._shared.is_open

    @property
    def can_ask(self) -> bool:
        """All of L2 can be asked now."""
        return self._shared is not None and not self._shared.is_open

    @property
    def has_room(self) -> bool:
        """L1 can take more without anything giving way."""
        return self._memory.has_room

    async def look_up(self, key: bytes) -> Entry | None:
        """L2 only; batched with all look-ups of this loop tick. A failure of L2 is None."""
        return None if self._shared is None else await self._shared.look_up(key)

    def ask(self, key: bytes, then: Callable[[Entry | None], None]) -> bool:
        """The same without a wait: `then` is called with it in a later step. False: nothing was asked."""
        return self._shared is not None and self._shared.ask(key, then)

    def back_fill(self, key: bytes, entry: Entry, now: float, *, idle: float | None) -> Held:
        """Into L1 what L2 answered, with its writer's `born`."""
        return self._memory.put(key, entry, now, idle)

    def keep(self, key: bytes, entry: Entry, now: float, *, idle: float | None, began_at: float) -> Held:
        """Into L1 at once and into L2 through the write-behind queue; `began_at` is monotonic."""
        held = self._memory.put(key, entry, now, idle)
        if self._shared is not None:
            # Only a log that others write to gets out of step: without L2 nobody asks, and it takes 32 bytes.
            held.began_at = began_at
            self._shared.put(key, entry)
        return held

    def when_written(self, then: Callable[[bool], None]) -> None:
        """Tell `then` once, within a second, that L2 has what was kept so far; False: it may not have it."""
        if self._shared is None:
            then(False)
        else:
            self._shared.when_written(then)

    def drop(self, key: bytes, *, cause: str) -> None:
        """Out of L1; `cause` counts the eviction. L2 keeps what nobody may use: it ends by itself."""
        self._memory.drop(key, cause)
