"""Collects the look-ups of one tick of the event loop, so that they travel together.

Owns who waits for which key, and how many keys travel together. Knows nothing of how keys are fetched. A
waiter always gets an answer: the entry, or None when there is none or the fetch failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice

from proxy.model import Entry
from proxy.observe.tasks import spawn

MOST_KEYS = 1024
"""Keys of one fetch. A single-threaded server answers a thousand in about a millisecond, in which it
answers nobody else."""
MOST_BYTES = 1024 * 1024
"""What one fetch should bring: it passes a 1 Gbit/s link in 8 ms; the default deadline is 50 ms."""

_FORGETTING = 0.9
"""What one fetch of small values leaves of the size that large ones had."""

Fetch = Callable[[Sequence[bytes]], Awaitable[Mapping[bytes, Entry]]]
"""The entries found under these keys. Bounded in time by whoever provides it."""

_Waiters = dict[bytes, list[asyncio.Future[Entry | None]]]


class Batcher:
    """One fetch a tick, however many ask; the same key is fetched once."""

    def __init__(self, fetch: Fetch, *, most_keys: int = MOST_KEYS, most_bytes: int = MOST_BYTES) -> None:
        self._fetch = fetch
        self._most_keys = most_keys
        self._most_bytes = most_bytes
        self._value_bytes = 0.0
        self._waiting: _Waiters = {}

    async def look_up(self, key: bytes) -> Entry | None:
        """What the fetch of this tick finds under `key`."""
        loop = asyncio.get_running_loop()
        # Each caller waits on a future of its own: one that is cancelled takes nobody along.
        answer: asyncio.Future[Entry | None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.setdefault(key, []).append(answer)
        return await answer

    def learn(self, sizes: Sequence[int]) -> None:
        """A fetch brought values of so many bytes; the next ones take fewer keys where values are large.

        How large those will be nobody knows beforehand: the mean rises at once and sinks slowly.
        """
        if sizes:
            self._value_bytes = max(sum(sizes) / len(sizes), self._value_bytes * _FORGETTING)

    @property
    def _keys_together(self) -> int:
        fitting = int(self._most_bytes / max(self._value_bytes, 1.0))
        return max(1, min(fitting, self._most_keys))

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        together = self._keys_together
        if len(waiting) <= together:
            spawn("l2 look-ups", self._answer(waiting))
            return
        keys = iter(waiting)
        while chunk := list(islice(keys, together)):
            spawn("l2 look-ups", self._answer({key: waiting[key] for key in chunk}))

    async def _answer(self, waiting: _Waiters) -> None:
        found: Mapping[bytes, Entry] = {}
        try:
            found = await self._fetch(tuple(waiting))
        finally:
            for key, answers in waiting.items():
                _settle(answers, found.get(key))


def _settle(answers: Sequence[asyncio.Future[Entry | None]], entry: Entry | None) -> None:
    for answer in answers:
        if not answer.done():  # its caller may have gone
            answer.set_result(entry)
