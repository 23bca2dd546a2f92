"""Collects the look-ups of one tick of the event loop, so that they travel together.

Owns who waits for which key, and how many keys travel together. Knows nothing of how keys are fetched. A
waiter always gets an answer: the entry, or None when there is none or the fetch failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice

import structlog

from proxy.model import Entry
from proxy.observe.tasks import spawn

MOST_KEYS = 1024
"""Keys of one fetch. A single-threaded server answers a thousand in about a millisecond, in which it
answers nobody else."""
MOST_FETCHES = 4
"""Fetches under way; who asks meanwhile travels with the next one. What a fetch costs is shared by all that
travel with it, and other commands find connections free."""
MOST_BYTES = 1024 * 1024
"""What one fetch should bring: it passes a 1 Gbit/s link in 8 ms; the default deadline is 50 ms."""

_FORGETTING = 0.9
"""What one fetch of small values leaves of the size that large ones had."""

Fetch = Callable[[Sequence[bytes]], Awaitable[Mapping[bytes, Entry]]]
"""The entries found under these keys. Bounded in time by whoever provides it."""

Then = Callable[[Entry | None], None]
"""Takes what was found."""
_Waiters = dict[bytes, list[Then]]

_log = structlog.get_logger("sidecache.l2")


class Batcher:
    """One fetch a tick, however many ask; the same key is fetched once. At most so many fetches at a time."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        most_keys: int = MOST_KEYS,
        most_bytes: int = MOST_BYTES,
        most_fetches: int = MOST_FETCHES,
    ) -> None:
        self._fetch = fetch
        self._most_keys = most_keys
        self._most_bytes = most_bytes
        self._most_fetches = most_fetches
        self._under_way = 0
        self._is_beginning = False
        """A fetch of all that wait starts with the next step."""
        self._value_bytes = 0.0
        self._waiting: _Waiters = {}

    async def look_up(self, key: bytes) -> Entry | None:
        """What the next fetch finds under `key`."""
        # Each caller waits on a future of its own: one that is cancelled takes nobody along.
        answer: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self.ask(key, partial(_resolve, answer))
        return await answer

    def ask(self, key: bytes, then: Then) -> None:
        """The same without a wait: `then` is called with it, once, in a later step."""
        self._waiting.setdefault(key, []).append(then)
        if not self._is_beginning:  # most join a fetch that is
            self._begin()

    def learn(self, sizes: Sequence[int]) -> None:
        """A fetch brought values of so many bytes; the next ones take fewer keys where values are large.

        How large those will be nobody knows beforehand: the mean rises at once and sinks slowly.
        """
        if sizes:
            self._value_bytes = max(sum(sizes) / len(sizes), self._value_bytes * _FORGETTING)

    @property
    def keys_together(self) -> int:
        """How many keys one fetch takes, as large as values are."""
        fitting = int(self._most_bytes / max(self._value_bytes, 1.0))
        return max(1, min(fitting, self._most_keys))

    def _begin(self) -> None:
        """Start a fetch with the next step, of all that ask until then, unless enough are under way."""
        if self._waiting and not self._is_beginning and self._under_way < self._most_fetches:
            self._is_beginning = True
            self._under_way += 1
            spawn("l2 look-ups", self._answer())

    def _take(self) -> _Waiters:
        """Those that travel together now."""
        self._is_beginning = False
        waiting, self._waiting = self._waiting, {}
        together = self.keys_together
        if len(waiting) > together:
            self._waiting = {key: waiting.pop(key) for key in tuple(islice(waiting, together, None))}
            self._begin()
        return waiting

    async def _answer(self) -> None:
        waiting = self._take()
        found: Mapping[bytes, Entry] = {}
        try:
            found = await self._fetch(tuple(waiting))
        finally:
            self._under_way -= 1
            self._begin()
            for key, thens in waiting.items():
                _tell(thens, found.get(key))


def _tell(thens: Sequence[Then], entry: Entry | None) -> None:
    for then in thens:
        try:
            then(entry)
        except Exception:  # noqa: BLE001 - a defect of ours: it must not leave the others waiting
            _log.exception("an answered look-up crashed")


def _resolve(answer: asyncio.Future[Entry | None], entry: Entry | None) -> None:
    if not answer.done():  # its caller may have gone
        answer.set_result(entry)
