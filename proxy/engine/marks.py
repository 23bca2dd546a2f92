"""Short memories of keys: "uncacheable lately", "failing lately". Bounded; each mark ends by itself."""

from __future__ import annotations

from collections import OrderedDict


class Marks:
    """Keys marked for a while. At most `limit` are kept; the oldest go first."""

    __slots__ = ("_limit", "_seconds", "_until")

    def __init__(self, *, seconds: float, limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, key: bytes, *, at: float) -> None:
        """Mark `key` from the monotonic instant `at` on."""
        self._until[key] = at + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > self._limit:
            self._until.popitem(last=False)

    def has(self, key: bytes, *, at: float) -> bool:
        """Is the key marked at the monotonic instant `at`? A mark that has ended is forgotten."""
        until = self._until.get(key)
        if until is None:
            return False
        if at < until:
            return True
        del self._until[key]
        return False

    def remove(self, key: bytes) -> None:
        """Forget the key."""
        self._until.pop(key, None)
