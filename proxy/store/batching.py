"""Collects the look-ups of one tick of the event loop, so that they travel together.

Owns who waits for which key. Knows nothing of how keys are fetched. A waiter always gets an answer: the
entry, or None when there is none or the fetch failed.
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

Fetch = Callable[[Sequence[bytes]], Awaitable[Mapping[bytes, Entry]]]
"""The entries found under these keys. Bounded in time by whoever provides it."""

_Waiters = dict[bytes, list[asyncio.Future[Entry | None]]]


class Batcher:
    """One fetch a tick, however many ask; the same key is fetched once."""

    def __init__(self, fetch: Fetch, *, most_keys: int = MOST_KEYS) -> None:
        self._fetch = fetch
        self._most_keys = most_keys
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

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        keys = iter(waiting)
        while chunk := list(islice(keys, self._most_keys)):
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
