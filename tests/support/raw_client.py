"""A client that decides every byte: sends whole, cut or dripped, and reads answers exactly.

It reads with the strictest possible eye: framing by the head only, and every byte after an answer
belongs to the next one, so that a byte too many or too few fails the test that follows it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PATIENCE_SECONDS = 10.0
NO_BODY = frozenset({101, 204, 304})
_TURNS = 6

Where = tuple[str, int] | Path


class RawAnswer(NamedTuple):
    """One answer as it stood on the wire."""

    status: int
    reason: bytes
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def values(self, name: str) -> list[bytes]:
        """The values of all lines with this name, whatever its case."""
        return [value for given, value in self.lines if given.lower() == name.lower().encode()]

    def first(self, name: str) -> bytes | None:
        """The first of them."""
        return next(iter(self.values(name)), None)


class BrokenOff(Exception):
    """The connection ended before the answer was complete; `received` is what came of its body."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self.received = received


async def settle() -> None:
    """Let everything that is already under way on loopback arrive."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unread = b""

    async def send(self, data: bytes) -> None:
        """In one piece."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_cut(self, data: bytes, *cuts: int) -> None:
        """In pieces that end at these offsets, each read by the server before the next is sent."""
        for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
            await self.send(data[start:end])
            await settle()

    async def send_dripped(self, data: bytes) -> None:
        """Byte by byte."""
        await self.send_cut(data, *range(1, len(data)))

    def send_eof(self) -> None:
        """Close our side; the server may still answer."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Vanish: the server sees ECONNRESET."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def answer(self, method: str = "GET") -> RawAnswer:
        """The next answer, its body unframed. Raises BrokenOff."""
        head = await self._until(b"\r\n\r\n")
        status_line, *field_lines = head[:-4].split(b"\r\n")
        version, status, reason = status_line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        lines = tuple(line.split(b": ", 1) for line in field_lines)
        answer = RawAnswer(int(status), reason, tuple((name, value) for name, value in lines), b"")
        if method == "HEAD" or answer.status < 200 or answer.status in NO_BODY:
            return answer
        return answer._replace(body=await self._body(answer))

    async def head(self) -> bytes:
        """The next head, its body left unread."""
        return await self._until(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._unread) < size:
            await self._read()
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    async def rest(self) -> bytes:
        """All that comes until the server closes in good order."""
        with suppress(BrokenOff):
            while True:
                await self._read()
        taken, self._unread = self._unread, b""
        return taken

    async def is_closed(self) -> bool:
        """The server closes, and sends nothing before it."""
        try:
            return await self.rest() == b""
        except ConnectionError:
            return True

    async def has_silence(self) -> bool:
        """Nothing is on its way: neither bytes nor an end."""
        await settle()
        return not self._unread and not self._reader._buffer and not self._reader.at_eof()  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Close in good order."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _body(self, answer: RawAnswer) -> bytes:
        if answer.values("transfer-encoding") == [b"chunked"]:
            assert not answer.values("content-length")
            return await self._chunks()
        length = answer.first("content-length")
        if length is None:
            return await self.rest()
        try:
            return await self.exactly(int(length))
        except (BrokenOff, ConnectionError):
            raise BrokenOff(self._unread) from None

    async def _chunks(self) -> bytes:
        pieces = []
        try:
            while size := int(await self._until(b"\r\n"), 16):
                pieces.append(await self.exactly(size))
                assert await self.exactly(2) == b"\r\n"
            assert await self.exactly(2) == b"\r\n"
        except (BrokenOff, ConnectionError):
            raise BrokenOff(b"".join(pieces)) from None
        return b"".join(pieces)

    async def _until(self, marker: bytes) -> bytes:
        while marker not in self._unread:
            await self._read()
        end = self._unread.index(marker) + len(marker)
        taken, self._unread = self._unread[:end], self._unread[end:]
        return taken

    async def _read(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            data = await self._reader.read(1 << 16)
        if not data:
            raise BrokenOff(self._unread)
        self._unread += data


@asynccontextmanager
async def connected(where: Where, *, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """A connection, closed afterwards; `receive_buffer` makes the kernel hold little for a slow reader."""
    client = await connect(where, receive_buffer=receive_buffer)
    try:
        yield client
    finally:
        await client.close()


async def connect(where: Where, *, receive_buffer: int | None = None) -> RawClient:
    """A connection that the test closes, or not."""
    if isinstance(where, Path):
        return RawClient(*await asyncio.open_unix_connection(where))
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, where)
    except OSError:
        sock.close()
        raise
    return RawClient(*await asyncio.open_connection(sock=sock, limit=receive_buffer or 1 << 16))


def request(
    target: str = "/",
    *fields: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | None = "shop",
    body: bytes = b"",
) -> bytes:
    """A request's bytes; Content-Length is stated where there is a body and no field says otherwise."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += fields
    if body and not _is_framed(fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """A chunked body of these pieces."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def _is_framed(fields: Sequence[str]) -> bool:
    return any(field.lower().startswith(("content-length", "transfer-encoding")) for field in fields)
