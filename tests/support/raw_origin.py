"""An origin on a real socket whose every byte the test decides: scripted answers, gates, resets.

Each connection runs the test's script with its own `OriginEnd`; what it received is kept exactly.
Origin and client share one loop, so `settle` is enough for sent bytes to have been read.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import cast

from proxy.observe.tasks import spawn

HEAD_END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:01 GMT\r\nContent-Length: 2\r\n\r\nok"
_PATIENCE_SECONDS = 10.0
_TURNS = 8
"""Turns of the loop in which bytes that were written on loopback have reached a reader in this process."""


async def settle() -> None:
    """Let everything that is already under way on loopback arrive."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class OriginEnd(asyncio.Protocol):
    """The origin's end of one connection."""

    def __init__(self, on_made: Callable[[OriginEnd], None]) -> None:
        self.received = bytearray()
        self.closed = asyncio.Event()
        """The client has closed its side or reset the connection."""
        self.transport: asyncio.Transport
        self._on_made = on_made
        self._taken = 0
        self._news = asyncio.Event()

    async def head(self) -> bytes:
        """The next request head, the empty line included; ConnectionError when the client went away."""
        return await self.until(HEAD_END)

    async def until(self, marker: bytes) -> bytes:
        """All up to and with the marker."""
        while (found := self.received.find(marker, self._taken)) < 0:
            await self._more()
        return self._take(found + len(marker))

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self.received) < self._taken + size:
            await self._more()
        return self._take(self._taken + size)

    async def send(self, data: bytes, *, cut_at: int | None = None) -> None:
        """In one write, or in two that the client reads one by one."""
        pieces = [data] if cut_at is None else [data[:cut_at], data[cut_at:]]
        for piece in pieces:
            if piece:
                self.transport.write(piece)
            await settle()

    async def wait_closed(self) -> None:
        """Until the client has closed its side or reset the connection."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self.closed.wait()

    def stop_reading(self) -> None:
        """Let the client's bytes pile up."""
        self.transport.pause_reading()

    def read_on(self) -> None:
        """Take the client's bytes again."""
        self.transport.resume_reading()

    def close(self) -> None:
        """An orderly close, once all is sent."""
        self.transport.close()

    def close_sending_side(self) -> None:
        """FIN, while reading goes on."""
        self.transport.write_eof()

    def reset(self) -> None:
        """RST instead of FIN."""
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._news.set()

    def eof_received(self) -> bool:
        self.closed.set()
        self._news.set()
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._news.set()

    def _take(self, end: int) -> bytes:
        taken = bytes(self.received[self._taken : end])
        self._taken = end
        return taken

    async def _more(self) -> None:
        if self.closed.is_set():
            raise ConnectionResetError("the client closed")
        self._news.clear()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._news.wait()


Script = Callable[[OriginEnd], Awaitable[None]]


class RawOrigin:
    """`async with RawOrigin(script) as origin`: every accepted connection runs the script."""

    def __init__(
        self, script: Script, *, tls: ssl.SSLContext | None = None, path: Path | None = None
    ) -> None:
        self.connections: list[OriginEnd] = []
        self._script = script
        self._tls = tls
        self._path = path
        self._server: asyncio.Server
        self._scripts: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """For `origin.url`."""
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def connected(self, count: int = 1) -> OriginEnd:
        """The connection that makes `count` of them, once it is there."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while len(self.connections) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.connections[count - 1]

    async def __aenter__(self) -> RawOrigin:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            self._server = await loop.create_unix_server(lambda: OriginEnd(self._on_made), self._path)
        else:
            self._server = await loop.create_server(
                lambda: OriginEnd(self._on_made), "127.0.0.1", 0, ssl=self._tls
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for script in self._scripts:
            script.cancel()
        ends = await asyncio.gather(*self._scripts, return_exceptions=True)
        for connection in self.connections:
            connection.transport.abort()
        await settle()
        if error is None:
            for end in ends:
                if isinstance(end, Exception):
                    raise end

    def _on_made(self, end: OriginEnd) -> None:
        self.connections.append(end)
        self._arrived.set()
        self._scripts.append(spawn("origin script", self._run(end)))

    async def _run(self, end: OriginEnd) -> None:
        try:
            await self._script(end)
        except ConnectionError:  # the client went away in the middle: often what the test wants
            return


def answering(*answers: bytes) -> Script:
    """For each request head on a connection the next answer; then wait for the client to close."""

    async def script(end: OriginEnd) -> None:
        for answer in answers:
            await end.head()
            await end.send(answer)
        await end.wait_closed()

    return script


def always(answer: bytes) -> Script:
    """The same answer to every request on every connection."""

    async def script(end: OriginEnd) -> None:
        while True:
            await end.head()
            await end.send(answer)

    return script


async def silent(end: OriginEnd) -> None:
    """Hears everything and says nothing."""
    await end.wait_closed()


async def held_open(end: OriginEnd) -> None:
    """Answers /held without the end of the body, anything else at once."""
    while True:
        head = await end.head()
        await end.send(OK if b"/held" not in head else OK[:-2])
