"""Connections that have left HTTP: raw bytes pumped both ways until both sides have ended.

Knows no protocol. Backpressure goes through to the other side, a side that ends is ended on the other
too, and a pump never outlives its idle time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.model import Tunnel
from proxy.net.client_output import ClientOutput
from proxy.net.deadline import Deadline
from proxy.observe.tasks import spawn

MAX_HELD_BYTES = 64 * 1024
"""Unread bytes of the client above which it has to wait."""
HALF_CLOSED_SECONDS = 30.0
"""How long the other side may stay silent once one has ended: most peers that ended will never read again."""


class ClientTunnel:
    """The client's side of a tunnel, a `model.Tunnel` like the origin's; the connection feeds it."""

    __slots__ = (
        "_changed",
        "_has_ended",
        "_held",
        "_held_bytes",
        "_is_lost",
        "_is_paused",
        "_output",
        "_set_reading",
    )

    def __init__(self, output: ClientOutput, set_reading: Callable[[bool], None]) -> None:
        """`set_reading` starts and stops the connection's reading."""
        self._output = output
        self._set_reading = set_reading
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._is_paused = False
        self._has_ended = False
        self._is_lost = False
        self._changed = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Bytes from the client."""
        if not data or self._has_ended:
            return
        self._held.append(data)
        self._held_bytes += len(data)
        self._changed.set()
        if self._held_bytes > MAX_HELD_BYTES and not self._is_paused:
            self._is_paused = True
            self._set_reading(False)

    def feed_eof(self) -> None:
        """The client sends no more."""
        self._has_ended = True
        self._changed.set()

    def lose(self) -> None:
        """The client is gone."""
        self._is_lost = True
        self._changed.set()

    async def read(self) -> bytes:
        """The next bytes; b"" when the client has closed its side. Raises ConnectionError.

        `pump` bounds the wait.
        """
        while not self._held:
            if self._is_lost:
                raise ConnectionResetError("the client has left")
            if self._has_ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._held.popleft()
        self._held_bytes -= len(data)
        if self._is_paused and self._held_bytes <= MAX_HELD_BYTES:
            self._is_paused = False
            self._set_reading(True)
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes to the client; returns when the transport takes more. Raises ConnectionError."""
        self._output.write(data)
        await self._output.drained()

    def write_eof(self) -> None:
        """Nothing more will be written."""
        self._output.write_eof()

    def close(self) -> None:
        """End it; the connection closes itself once the pump has returned."""
        self.feed_eof()


async def pump(client: Tunnel, origin: Tunnel, *, idle_seconds: float) -> None:
    """Copy both ways until both have ended, one has failed, or nothing has moved for `idle_seconds`.

    Both sides are closed then, however it ends.
    """
    await _Pump(client, origin, idle_seconds).run()


class _Pump:
    """Two copies that end together."""

    __slots__ = ("_client", "_deadline", "_has_ended", "_open_ways", "_origin", "_patience_seconds")

    def __init__(self, client: Tunnel, origin: Tunnel, idle_seconds: float) -> None:
        self._client = client
        self._origin = origin
        self._patience_seconds = idle_seconds
        self._open_ways = 2
        self._has_ended = asyncio.Event()
        self._deadline = Deadline(asyncio.get_running_loop(), self._has_ended.set)

    async def run(self) -> None:
        self._deadline.set(self._patience_seconds)
        ways = (
            spawn("tunnel to the origin", self._copy(self._client, self._origin)),
            spawn("tunnel to the client", self._copy(self._origin, self._client)),
        )
        try:
            await self._has_ended.wait()
        finally:
            self._deadline.close()
            for way in ways:
                way.cancel()
            self._client.close()
            self._origin.close()

    async def _copy(self, source: Tunnel, sink: Tunnel) -> None:
        is_clean = False
        try:
            while data := await source.read():
                self._deadline.set(self._patience_seconds)
                await sink.write(data)
            sink.write_eof()
            is_clean = True
        except ConnectionError:
            return
        finally:
            self._end_way(is_clean=is_clean)

    def _end_way(self, *, is_clean: bool) -> None:
        self._open_ways -= 1
        if not is_clean or not self._open_ways:
            self._has_ended.set()
            return
        self._patience_seconds = min(self._patience_seconds, HALF_CLOSED_SECONDS)
        self._deadline.set(self._patience_seconds)
