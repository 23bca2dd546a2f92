"""One request's turn on its connection: its body, and what may be said before the answer's head."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.model import Answer, Request, ResponseHead
from proxy.net import wire
from proxy.net.client_body import ClientBody
from proxy.net.request_reading import HTTP_10, expects_continue
from proxy.net.wire import BodyFraming, End, Persistence

if TYPE_CHECKING:
    from proxy.net.client_connection import ClientConnection

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Turn:
    """From a head that was read to the answer's head."""

    __slots__ = ("_asks_upgrade", "_is_last", "_payload", "body", "connection", "has_answer")

    def __init__(
        self,
        connection: ClientConnection,
        payload: StreamReader = EMPTY_PAYLOAD,
        *,
        is_last: bool = False,
        asks_upgrade: bool = False,
    ) -> None:
        """By default that of a plain request. `is_last`: the client wants the connection closed behind it."""
        self.connection = connection
        self.has_answer = False
        """The final head is being sent: nothing may come before it any more."""
        self.body: ClientBody | None = None
        self._payload = payload
        self._is_last = is_last
        self._asks_upgrade = asks_upgrade

    @classmethod
    def of(
        cls,
        connection: ClientConnection,
        message: RawRequestMessage,
        payload: StreamReader,
        *,
        body_idle_seconds: float,
    ) -> Turn:
        """That of a request which aiohttp's parser has read."""
        turn = cls(connection, payload, is_last=message.should_close, asks_upgrade=message.upgrade)
        if payload is not EMPTY_PAYLOAD:
            turn.body = turn._make_body(message, body_idle_seconds)
        return turn

    def may_persist(self, request: Request, answer: Answer, framing: BodyFraming) -> bool:
        """May another request follow this answer on the connection?"""
        is_last = self._is_last or answer.close or framing.end is End.CLOSE
        # What the client meant by a protocol that we ignored is uncertain; so is where unread bodies end.
        is_unclear = self._asks_upgrade and not request.upgrade
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

    def _make_body(self, message: RawRequestMessage, idle_seconds: float) -> ClientBody:
        return ClientBody(
            self._payload,
            length=None if message.chunked else int(message.headers["Content-Length"]),
            idle_seconds=idle_seconds,
            on_first_read=self._send_continue if expects_continue(message) else None,
        )

    def _send_continue(self) -> None:
        if not self.has_answer:
            self.connection.output.write(_CONTINUE)
