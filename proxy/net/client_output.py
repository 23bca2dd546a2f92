"""The sending half of a client connection: backpressure, its deadline, and the hard end.

Every byte to a client goes through here. Knows the transport, not HTTP.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from proxy.net.departures import Departures, Outgoing
from proxy.observe.metrics import Metrics

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""


class ClientOutput(Outgoing):
    """Writes to one client; `drained` is where a client that does not read holds up its own answer only."""

    __slots__ = (
        "_flush_timer",
        "_has_room",
        "_idle_seconds",
        "_loop",
        "_lost",
        "_metrics",
        "_stay",
        "ends_at_eof",
        "is_full",
    )

    def __init__(
        self,
        *,
        idle_seconds: float,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        departures: Departures,
    ) -> None:
        super().__init__(departures)
        self._idle_seconds = idle_seconds
        self._metrics = metrics
        self._loop = loop
        self._has_room: asyncio.Future[None] | None = None
        """Not None while the transport wants no more."""
        self._flush_timer: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._stay: asyncio.Timeout | None = None
        self.is_full = False
        """The client is slow: the transport wants no more for now."""
        self.ends_at_eof = False
        """An answer without a known end is under way: a client that closes its side has left."""

    @property
    def is_behind(self) -> bool:
        """The client has not taken all of what was said before."""
        return self._unsent() > 0

    def connect(self, transport: asyncio.Transport) -> None:
        """The connection is made."""
        self.transport = transport

    def write(self, data: bytes) -> None:
        """Send, by the end of this pass; the transport buffers what the kernel does not take.

        Raises ConnectionError.
        """
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has left")
        self.hold(data)

    async def drained(self) -> None:
        """Wait until the transport takes more. Raises ConnectionError.

        A client that takes nothing for `limits.write_idle` is cut off; a slow one is not.
        """
        while self._has_room is not None:
            unsent = self._unsent()
            try:
                async with asyncio.timeout(self._idle_seconds):
                    await asyncio.shield(self._has_room)
            except TimeoutError:
                if self._unsent() >= unsent:
                    self._cut_off_idle()
                    raise ConnectionAbortedError("the client takes no bytes") from None
        if self.transport is None:
            raise ConnectionResetError("the client has left")

    @asynccontextmanager
    async def until_client_leaves(self, *, ends_at_eof: bool) -> AsyncIterator[None]:
        """End what is done inside, by ConnectionError, once the connection is lost.

        Else an answer that waits for its origin's next event would outlive its client for as long.
        """
        self.ends_at_eof = ends_at_eof
        try:
            async with asyncio.timeout(None) as self._stay:
                yield
        except TimeoutError:
            raise ConnectionResetError("the client has left") from None
        finally:
            self._stay = None
            self.ends_at_eof = False

    async def until_lost(self) -> None:
        """Return when the connection is gone; the caller sets the deadline."""
        await self._lost.wait()

    def client_left(self) -> None:
        """Nobody takes what is sent from now on."""
        stay, self._stay = self._stay, None
        if stay is not None:  # once: an end of the client's side is followed by the connection's
            stay.reschedule(self._loop.time())

    def write_eof(self) -> None:
        """Nothing more will be written; the client may still send."""
        self.depart()
        if self.transport is not None and not self.transport.is_closing():
            with suppress(OSError):  # the client may have reset the connection this instant
                self.transport.write_eof()

    def abort(self) -> None:
        """Cut the client off so that it sees an error: what it has got must not look complete."""
        self.forget()
        transport = self.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        # A plain close would end an answer that is delimited by the connection's end in good order.
        if sock is not None and sock.family != socket.AF_UNIX:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()

    def watch_flush(self) -> None:
        """The connection is being closed: what is unsent must leave at the client's pace, or be dropped.

        A transport closes only after its last byte; a client that does not read would keep it for ever.
        """
        self.depart()
        if self._flush_timer is None and self._unsent():
            self._flush_timer = self._loop.call_later(self._idle_seconds, self._check_flush, self._unsent())

    def pause(self) -> None:
        """The transport's buffer is full."""
        self.is_full = True
        if self._has_room is None:
            self._has_room = self._loop.create_future()

    def resume(self) -> None:
        """The transport's buffer has room."""
        self.is_full = False
        room, self._has_room = self._has_room, None
        if room is not None and not room.done():
            room.set_result(None)

    def disconnect(self) -> None:
        """The connection is gone."""
        self.forget()
        self.transport = None
        self._lost.set()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        self.resume()
        self.client_left()

    def _unsent(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def _check_flush(self, unsent_before: int) -> None:
        self._flush_timer = None
        if self._unsent() >= unsent_before:
            self._cut_off_idle()
        else:
            self.watch_flush()

    def _cut_off_idle(self) -> None:
        self._metrics.client_timeouts.add("write")
        self.abort()
