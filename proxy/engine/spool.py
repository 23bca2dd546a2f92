"""The body of one fetch on its way to a store, with one client reading along.

The fill runs at the origin's pace: a slow client does not hold it up. Only when the body turns out
too large to be stored does the spool become a pipe, and then the client's pace rules.
"""

from __future__ import annotations

import asyncio
from collections import deque

from proxy.model import BodyBroken, OriginFailure

PIPE_BYTES = 32 * 1024
"""What a pipe holds before the origin has to wait. `origin.max_in_flight` pipes may wait for slow clients."""


class SpoolBudget:
    """The bytes that all fetches under way may hold together (`limits.spool`)."""

    __slots__ = ("held_bytes", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def try_take(self, size: int) -> bool:
        """Reserve `size` bytes; False when they would exceed the limit."""
        if self.held_bytes + size > self.limit_bytes:
            return False
        self.held_bytes += size
        return True

    def release(self, size: int) -> None:
        """Give reserved bytes back."""
        self.held_bytes -= size


class Spool:
    """Collects a body; one reader may follow. Written by one task, read by another."""

    def __init__(self, *, length: int | None, max_bytes: int, budget: SpoolBudget) -> None:
        self.length = length
        self._max_bytes = max_bytes
        self._budget = budget
        self._reserved_bytes = 0
        self._is_over = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._pipe: deque[bytes] = deque()
        self._pipe_bytes = 0
        self._reader: SpoolReader | None = None
        self._is_pipe = False
        self._is_complete = False
        self._failure: OriginFailure | None = None
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()

    def __repr__(self) -> str:
        state = "pipe" if self._is_pipe else "collecting"
        return f"<Spool {state} size={self._size} complete={self._is_complete} failure={self._failure}>"

    def reader(self) -> SpoolReader:
        """The one reader; it starts at the body's first byte."""
        if self._reader is not None:
            raise RuntimeError("a spool has one reader, and it was already taken")
        self._reader = SpoolReader(self)
        return self._reader

    @property
    def has_reader(self) -> bool:
        """Somebody reads along, or did."""
        return self._reader is not None

    def try_add(self, piece: bytes) -> bool:
        """Keep one more piece; False when the body is too large to be kept (the piece is not taken)."""
        if self._size + len(piece) > self._max_bytes or not self._budget.try_take(len(piece)):
            return False
        self._reserved_bytes += len(piece)
        self._size += len(piece)
        self._pieces.append(piece)
        self._changed.set()
        return True

    def complete(self) -> bytes:
        """The origin has sent all; the whole body. What the reader has yet to read shares its memory."""
        body = b"".join(self._pieces)
        self._is_complete = True
        self._changed.set()
        return body

    def become_pipe(self) -> None:
        """Keep nothing but what the reader has yet to read; from now on `push` waits for it."""
        self._is_pipe = True
        unread = self._pieces[self._reader.pieces_read :] if self._reader else []
        self._pipe.extend(unread)
        self._pipe_bytes = sum(map(len, unread))
        self._pieces = []

    async def push(self, piece: bytes) -> bool:
        """Hand one piece through the pipe; False when nobody reads (any more).

        The wait needs no deadline of its own: the reader's writes have one, and it abandons when that ends.
        """
        reader = self._reader
        if reader is None or reader.is_abandoned:
            return False
        self._pipe.append(piece)
        self._pipe_bytes += len(piece)
        self._changed.set()
        while self._pipe_bytes > PIPE_BYTES and not reader.is_abandoned:
            self._has_room.clear()
            await self._has_room.wait()
        return not reader.is_abandoned

    def end_pipe(self) -> None:
        """All of a piped body was pushed."""
        self._is_complete = True
        self._changed.set()

    def fail(self, failure: OriginFailure) -> None:
        """The body will never be complete: the reader gets BodyBroken after what was collected."""
        self._failure = failure
        self._changed.set()

    def release(self) -> None:
        """The fetch is over: its bytes are a store's now, or nobody's.

        But what a slow client has yet to read stays in memory, and so in the budget, until it has.
        """
        self._is_over = True
        self._give_back()

    def reader_left(self) -> None:
        """The reader is through, or has abandoned: a waiting `push` must not wait for it."""
        self._has_room.set()
        self._give_back()

    def _give_back(self) -> None:
        """Keep reserved what is still held for the reader."""
        if not self._is_over:
            return
        is_read = self._reader is not None and not self._reader.has_left
        if not is_read:
            # An idle connection may still know its last answer, and so this spool.
            self._pieces, self._pipe = [], deque()
        held = self._pipe_bytes if self._is_pipe else self._size
        excess = self._reserved_bytes - (held if is_read else 0)
        if excess > 0:
            self._reserved_bytes -= excess
            self._budget.release(excess)

    async def next_piece(self, index: int) -> bytes:
        """The piece for a reader that has read `index` of them; b"" at the end. Raises BodyBroken."""
        while True:
            piece = self._take(index)
            if piece is not None:
                return piece
            if self._failure is not None:
                raise BodyBroken(self._failure)
            if self._is_complete:
                return b""
            # The fetch that fills the spool has deadlines on each of its waits and always ends it.
            self._changed.clear()
            await self._changed.wait()

    def _take(self, index: int) -> bytes | None:
        if not self._is_pipe:
            return self._pieces[index] if index < len(self._pieces) else None
        if not self._pipe:
            return None
        piece = self._pipe.popleft()
        self._pipe_bytes -= len(piece)
        self._has_room.set()
        self._give_back()
        return piece


class SpoolReader:
    """A client's view of a spool: a Body."""

    __slots__ = ("_spool", "has_left", "is_abandoned", "pieces_read")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.pieces_read = 0
        self.has_left = False
        """It will not read on: at the end, or abandoned."""
        self.is_abandoned = False

    @property
    def length(self) -> int | None:
        """What the origin's head stated; None: not stated."""
        return self._spool.length

    async def read(self) -> bytes:
        """The next piece; b"" at the complete end. Raises BodyBroken."""
        piece = b""
        try:
            piece = await self._spool.next_piece(self.pieces_read)
        finally:
            if not piece:
                self._leave()
        self.pieces_read += bool(piece)
        return piece

    def abandon(self) -> None:
        """The client wants no more. The fill goes on; a pipe ends."""
        self.is_abandoned = True
        self._leave()

    def _leave(self) -> None:
        self.has_left = True
        self._spool.reader_left()
