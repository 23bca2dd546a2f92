"""One request's turn on its connection: its body, and what may be said before the answer's head."""

from __future__ import annotations

from contextlib import suppress

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.model import Answer, Request, ResponseHead
from proxy.net import wire
from proxy.net.aiohttp_shapes import Incoming
from proxy.net.client_body import ClientBody
from proxy.net.request_reading import HTTP_10, expects_continue
from proxy.net.wire import BodyFraming, End, Persistence

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Turn:
    """From a parsed head to the answer's head."""

    __slots__ = ("_message", "_payload", "body", "connection", "has_answer")

    def __init__(self, incoming: Incoming, message: RawRequestMessage, *, body_idle_seconds: float) -> None:
        self.connection = incoming.connection
        self.has_answer = False
        """The final head is being sent: nothing may come before it any more."""
        self._message = message
        self._payload = incoming.payload
        self.body = None if incoming.payload is EMPTY_PAYLOAD else self._make_body(body_idle_seconds)

    def may_persist(self, request: Request, answer: Answer, framing: BodyFraming) -> bool:
        """May another request follow this answer on the connection?"""
        is_last = self._message.should_close or answer.close or framing.end is End.CLOSE
        # What the client meant by a protocol that we ignored is uncertain; so is where unread bodies end.
        is_unclear = self._message.upgrade and not request.upgrade
        return not is_last and not is_unclear and self._payload.is_eof()

    def persistence(self, request: Request, answer: Answer, *, persists: bool) -> Persistence:
        """What the head says of it."""
        if answer.tunnel is not None:
            return Persistence.UPGRADE
        if not persists:
            return Persistence.CLOSE
        return Persistence.DEFAULT if request.version > HTTP_10 else Persistence.KEEP_ALIVE

    async def send_interim(self, head: ResponseHead) -> None:
        """Pass on a 1xx head; dropped once the answer has begun or the client has left."""
        if self.has_answer:
            return
        with suppress(ConnectionError):
            self.connection.output.write(wire.interim_head(head))
            await self.connection.output.drained()

    def _make_body(self, idle_seconds: float) -> ClientBody:
        message = self._message
        return ClientBody(
            self._payload,
            length=None if message.chunked else int(message.headers["Content-Length"]),
            idle_seconds=idle_seconds,
            on_first_read=self._send_continue if expects_continue(message) else None,
        )

    def _send_continue(self) -> None:
        if not self.has_answer:
            self.connection.output.write(_CONTINUE)
