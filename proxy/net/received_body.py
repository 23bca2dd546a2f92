"""The origin's body between the connection that fills it and the one reader that empties it.

Bounded: above HIGH_WATER unread bytes the connection is told to stop reading. Knows no sockets and
no framing: it is told when it is complete or broken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from msgspec import Struct

from proxy.model import BodyBroken, FailureKind, OriginFailure

HIGH_WATER = 64 * 1024
"""Unread bytes above which the origin has to wait."""
LOW_WATER = 16 * 1024
"""Unread bytes below which it may go on."""


class Source(Protocol):
    """What fills a body."""

    def pause(self) -> None:
        """Enough for now."""

    def resume(self) -> None:
        """More, please."""

    def stop(self) -> None:
        """Nobody will read the rest."""


class WholeBody(Struct, gc=False, eq=False):
    """A `Body` that has arrived to its end; `length` is what its head stated."""

    length: int | None
    unread: bytes

    async def read(self) -> bytes:
        """All of it, then b""."""
        return self.take_rest()

    def take_rest(self) -> bytes:
        """All of it, unless it was taken before."""
        rest, self.unread = self.unread, b""
        return rest

    def abandon(self) -> None:
        """Drop what is unread."""
        self.unread = b""


class ReceivedBody:
    """A `Body` (see model.py) that is filled piece by piece."""

    __slots__ = (
        "_failure",
        "_is_paused",
        "_pieces",
        "_source",
        "_unread",
        "_waiter",
        "is_complete",
        "length",
    )

    def __init__(self, length: int | None, source: Source | None) -> None:
        self.length = length
        self.is_complete = False
        """Its end has arrived, though pieces may be unread."""
        self._source = source
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._is_paused = False
        self._failure: OriginFailure | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next piece as it arrived; b"" at the end. What arrived before a failure comes before it."""
        while not self._pieces:
            if self._failure is not None:
                raise BodyBroken(self._failure)
            if self.is_complete:
                return b""
            await self._wait()
        piece = self._pieces.popleft()
        self._unread -= len(piece)
        if self._is_paused and self._unread <= LOW_WATER and self._source is not None:
            self._is_paused = False
            self._source.resume()
        return piece

    def take_rest(self) -> bytes | None:
        """All unread pieces as one, if the last of them has arrived."""
        if not self.is_complete:
            return None
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        return rest

    def abandon(self) -> None:
        """Drop what is unread and stop the source unless the body is complete."""
        self._pieces.clear()
        self._unread = 0
        source = self._source
        if source is not None:
            self.fail(OriginFailure(FailureKind.CLOSED, "abandoned"))
            source.stop()

    def put(self, piece: bytes) -> None:
        """A piece has arrived."""
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._unread > HIGH_WATER and not self._is_paused and self._source is not None:
            self._is_paused = True
            self._source.pause()
        self._wake()

    def finish(self) -> None:
        """The end has arrived."""
        self.is_complete = True
        self._source = None
        self._wake()

    def fail(self, failure: OriginFailure) -> None:
        """The rest will never arrive."""
        self._failure = failure
        self._source = None
        self._wake()

    async def _wait(self) -> None:
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
