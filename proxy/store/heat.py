"""Which keys of L1 are asked for most, estimated from outside: a hit pays nothing for it.

L1 knows when each copy was used last. Of a key that is asked for at some rate, the time since its last use is
at any moment one interval of it on average: looking now and then, and averaging what is seen, gives the rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest
from math import ceil
from typing import Protocol

from proxy.model import Held

NEWCOMER_SECONDS = 60.0
"""A key that was not among the hottest is taken for one that is asked for once a minute, until more looks say
otherwise. So a crawler, who reads all keys once, does not push out those that are asked for all the time."""
WEIGHT = 0.3
"""Of the latest look: what is no longer asked for is forgotten within about ten."""
SPARE = 1.25
"""So many more than asked for are remembered: shards have not all the same share of the hottest."""
SHORTEST_SECONDS = 0.001


class RecentlyUsed(Protocol):
    """L1, as far as it is looked at."""

    @property
    def shard_count(self) -> int:
        """In how many parts it is looked at."""

    def recently_used(self, shard: int, most: int) -> Iterator[tuple[bytes, Held]]:
        """What was used last in one shard."""

    def shard_number(self, key: bytes) -> int:
        """In which of them the key is."""

    def __contains__(self, key: bytes) -> bool:
        """Whether there is a copy."""


class Heat:
    """Remembers about `most_keys` and a quarter more, whatever L1 holds."""

    def __init__(self, memory: RecentlyUsed, *, most_keys: int) -> None:
        self._memory = memory
        self._most = ceil(most_keys * SPARE / memory.shard_count)
        self._idle: list[dict[bytes, float]] = [{} for _ in range(memory.shard_count)]
        """Of each shard: key -> mean seconds since its last use."""
        self._rates: list[dict[bytes, float]] = [{} for _ in range(memory.shard_count)]
        self._next = 0
        self.shard_count = memory.shard_count

    def __repr__(self) -> str:
        return f"<Heat {sum(map(len, self._idle))} keys>"

    def look(self, now: float) -> None:
        """Look at the next shard; `now` in epoch seconds. Takes a millisecond of a full one."""
        shard, self._next = self._next, (self._next + 1) % len(self._idle)
        known = self._idle[shard]
        seen = self._seen(shard, known, now)
        means = {key: _mean(known.get(key, NEWCOMER_SECONDS), seconds) for key, seconds in seen.items()}
        hottest = nsmallest(self._most, means.items(), key=_seconds_of)
        self._idle[shard] = dict(hottest)
        # Here already: all of them at once would hold up the loop for 7 ms, or 70 for 50,000.
        self._rates[shard] = {key: 1 / max(seconds, SHORTEST_SECONDS) for key, seconds in hottest}

    def seconds_idle(self, key: bytes, since_use: float) -> float:
        """Mean seconds since its last use; of a key that is not remembered, by `since_use` alone."""
        known = self._idle[self._memory.shard_number(key)].get(key)
        return _mean(NEWCOMER_SECONDS, since_use) if known is None else known

    def rates(self) -> dict[bytes, float]:
        """The hottest keys in any order, with those to spare, and how often each is used in a second."""
        together: dict[bytes, float] = {}
        for rates in self._rates:
            together.update(rates)
        return together

    def _seen(self, shard: int, known: dict[bytes, float], now: float) -> dict[bytes, float]:
        """Seconds since the last use, of those used lately and those that are known."""
        copies = self._memory.recently_used(shard, 2 * self._most)
        seen = {key: max(0.0, now - held.used_at) for key, held in copies}
        longest = max(seen.values(), default=0.0)
        for key in known:
            if key not in seen and key in self._memory:
                # Not looked at: its last use is longer ago than that of all that were.
                seen[key] = longest
        return seen


def _mean(before: float, seconds: float) -> float:
    return before + WEIGHT * (seconds - before)


def _seconds_of(item: tuple[bytes, float]) -> float:
    return item[1]
