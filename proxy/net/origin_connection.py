"""One connection to the origin: bytes out, bytes in, flow control, one deadline, one end.

Delivers to the exchange that has it; while nobody has it, every byte is one that nobody asked for
and ends it. Knows no HTTP: what the bytes mean is the exchange's, who may have it the pool's.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol, cast

from proxy.net.deadline import Deadline
from proxy.net.departures import Departures, Outgoing

PIECE_BYTES = 32 * 1024
"""The most that is taken from the socket at once. The loop would take 256 KB, and while clients are slow some
pieces of every connection wait for them: all these must fit into a small container."""
_READ_BUFFER = memoryview(bytearray(PIECE_BYTES))
"""One for all connections: it is filled and emptied in one step of the loop."""
_LINGER_SECONDS = 5.0
"""How long what was written to a tunnel may take to leave once it has ended."""


class CloseCause(Enum):
    """Why a connection to the origin ended; the value is the metric's label."""

    IDLE = "idle"
    LIFETIME = "lifetime"
    ORIGIN_CLOSED = "origin-closed"
    """The origin closed it, or said that it would."""
    ERROR = "error"
    """Reset, a deadline, or bytes that are no HTTP."""
    IDLE_DATA = "idle-data"
    """Bytes arrived while nobody had asked for any: the next request must not get them."""
    EXTRA_BYTES = "extra-bytes"
    """Bytes followed the response's end at once."""
    ABANDONED = "abandoned"
    """We wanted no more of the response, or had more of the request to send."""
    TUNNEL = "tunnel"
    """It was a tunnel or an event stream, which are never used again."""
    SHUTDOWN = "shutdown"


class Receiver(Protocol):
    """Has the connection for one exchange."""

    def on_bytes(self, data: bytes) -> None:
        """The next bytes."""

    def on_eof(self) -> bool:
        """The origin closed its side in an orderly way. True: we may go on sending."""

    def on_lost(self, error: Exception | None) -> None:
        """The connection is gone."""

    def on_deadline(self) -> None:
        """What was waited for has not come in time."""


class OriginConnection(Outgoing, asyncio.BufferedProtocol):
    """A connection to the origin; `close` is its only end and reports its cause once."""

    __slots__ = (
        "_is_paused",
        "_poll",
        "_writable",
        "deadline",
        "idle_since",
        "is_closed",
        "is_reused",
        "loop",
        "on_closed",
        "opened_at",
        "receiver",
    )

    def __init__(self, *, opened_at: float, departures: Departures) -> None:
        """`opened_at` in monotonic seconds."""
        super().__init__(departures)
        self.opened_at = opened_at
        self.idle_since = opened_at
        self.is_closed = False
        self.is_reused = False
        """It waited in the pool: the origin may have closed it before our request came."""
        self.on_closed: Callable[[OriginConnection, CloseCause], None] | None = None
        self.loop = asyncio.get_running_loop()
        """Kept: to ask for it takes a system call each time."""
        self.deadline = Deadline(self.loop, self._on_deadline)
        self._is_paused = False
        self._poll = select.poll()
        self.receiver: Receiver | None = None
        """Gets what arrives; None: it is unasked for."""
        self._writable: asyncio.Future[None] | None = None
        """Not None while the transport wants no more."""

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "busy" if self.receiver else "idle"
        return f"<OriginConnection {state}{' reused' if self.is_reused else ''}>"

    def detach(self) -> None:
        """The response is complete: whatever arrives from now on is unasked for."""
        self.receiver = None
        self.deadline.clear()
        if self._is_paused:
            self.resume_reading()

    def is_usable(self) -> bool:
        """Open, and the origin has sent nothing: neither bytes nor its close, also not to the kernel only."""
        if self.is_closed or self.transport is None or self.transport.is_closing():
            return False
        return not self._poll.poll(0)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Send, by the end of this pass; the transport buffers what the kernel does not take."""
        if not self.is_closed:
            self.hold(b"".join(pieces))

    def write_eof(self) -> None:
        """Close our side only, where the transport can."""
        if self.transport is not None and not self.is_closed and self._can_half_close():
            self.depart()
            self.transport.write_eof()

    async def drain(self, timeout: float) -> bool:
        """Wait until the transport takes more. False: not within `timeout` seconds."""
        if self._writable is None:
            return True
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._writable)
        except TimeoutError:
            return False
        return True

    def pause_reading(self) -> None:
        """Let the origin wait."""
        self._is_paused = True
        if self.transport is not None and self.transport.is_reading():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._is_paused = False
        if self.transport is not None and not self.is_closed and not self.transport.is_reading():
            self.transport.resume_reading()

    def close(self, cause: CloseCause, *, gently: bool = False) -> None:
        """End it now and report why; `gently`: what was written may still be sent."""
        if self.is_closed:
            return
        self.is_closed = True
        self.receiver = None
        self.deadline.close()
        self._release_writers()
        if self.transport is not None:
            self._end_transport(self.transport, gently=gently)
        if self.on_closed is not None:
            self.on_closed(self, cause)

    def _end_transport(self, transport: asyncio.Transport, *, gently: bool) -> None:
        if not gently:
            self.forget()
            transport.abort()
            return
        self.depart()
        transport.close()
        self.loop.call_later(_LINGER_SECONDS, transport.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast(asyncio.Transport, transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop before it reads; it calls `buffer_updated` in the same step."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop when it has read."""
        if self.receiver is not None:
            self.receiver.on_bytes(_READ_BUFFER[:nbytes].tobytes())
            return
        self.close(CloseCause.IDLE_DATA)

    def eof_received(self) -> bool:
        """Called by the loop, which closes the transport unless told True."""
        if self.receiver is None:
            self.close(CloseCause.ORIGIN_CLOSED)
            return False
        return self.receiver.on_eof() and self._can_half_close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if self.receiver is not None:
            self.receiver.on_lost(exc)
        self.close(CloseCause.ORIGIN_CLOSED if exc is None else CloseCause.ERROR)
        self.forget()
        self.transport = None

    def pause_writing(self) -> None:
        """Called by the loop: the buffer is full."""
        if self._writable is None:
            self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """Called by the loop: the buffer has room."""
        self._release_writers()

    def _can_half_close(self) -> bool:
        return self.transport is not None and self.transport.can_write_eof()

    def _release_writers(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _on_deadline(self) -> None:
        if self.receiver is not None:
            self.receiver.on_deadline()
