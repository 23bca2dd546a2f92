"""Sends one answer: its head and body, to the last byte or cut off so that it cannot look complete.

Knows framing and backpressure; must not know what the answer is, nor what follows on the connection.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.model import Body, BodyBroken
from proxy.net import wire
from proxy.net.client_output import ClientOutput
from proxy.net.wire import BodyFraming, End

COPIED_BYTES = 64 * 1024
"""A longer body is written as it is, so that slow clients of one entry share its memory; a shorter one
leaves in one piece with its head."""


class Sent(Struct, frozen=True):
    """What left: bytes of the body, and whether that was all of it."""

    size: int
    is_complete: bool


NOTHING_SENT = Sent(0, is_complete=False)


async def send(head: bytes, body: bytes | Body, framing: BodyFraming, output: ClientOutput) -> Sent:
    """Send the answer at the client's pace; a body that is not read to its end is abandoned."""
    if isinstance(body, bytes):
        sent = write_whole(head, body if framing.end is not End.NO_BODY else b"", output)
        return await _drained(sent, output) if output.is_full else sent
    sending = _Streaming(body, framing, output)
    try:
        return await sending.run(head)
    except (BodyBroken, ConnectionError):
        output.abort()
        return Sent(sending.size, is_complete=False)
    finally:
        if not sending.has_ended:
            body.abandon()


def write_whole(head: bytes, body: bytes, output: ClientOutput) -> Sent:
    """Hand the answer to the transport, which may be full now."""
    try:
        if len(body) > COPIED_BYTES:
            output.write(head)
            output.write(body)
        else:
            output.write(head + body)
    except ConnectionError:
        return NOTHING_SENT
    return Sent(len(body), is_complete=True)


async def _drained(sent: Sent, output: ClientOutput) -> Sent:
    try:
        await output.drained()
    except ConnectionError:
        return NOTHING_SENT
    return sent


class _Streaming:
    """A body that goes out piece by piece as it comes."""

    __slots__ = ("_body", "_framing", "_output", "has_ended", "size")

    def __init__(self, body: Body, framing: BodyFraming, output: ClientOutput) -> None:
        self._body = body
        self._framing = framing
        self._output = output
        self.size = 0
        self.has_ended = False
        """The body was read to its end."""

    async def run(self, head: bytes) -> Sent:
        """Send it. Raises BodyBroken, ConnectionError."""
        self._output.write(head)
        if self._framing.end is End.NO_BODY:
            return Sent(0, is_complete=True)
        async with self._output.until_client_leaves(ends_at_eof=self._framing.end is not End.LENGTH):
            await self._send_pieces()
        if not self._is_whole():
            self._output.abort()
            return Sent(self.size, is_complete=False)
        if self._framing.end is End.CHUNKED:
            self._output.write(wire.LAST_CHUNK)
        return Sent(self.size, is_complete=True)

    async def _send_pieces(self) -> None:
        while not self._has_stated_length():
            piece = await self._body.read()
            if not piece:
                self.has_ended = True
                return
            self._send_piece(piece)
            await self._output.drained()

    def _send_piece(self, piece: bytes) -> None:
        if self._framing.end is End.CHUNKED:
            self._output.write(wire.chunk(piece))
        else:
            piece = self._clip(piece)
            self._output.write(piece)
        self.size += len(piece)

    def _clip(self, piece: bytes) -> bytes:
        """What is beyond the stated length is never written: the client would read it as the next answer."""
        length = self._framing.length
        return piece if length is None else piece[: length - self.size]

    def _has_stated_length(self) -> bool:
        return self._framing.length is not None and self.size >= self._framing.length

    def _is_whole(self) -> bool:
        return self._framing.length is None or self._has_stated_length()
