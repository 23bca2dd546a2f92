"""What aiohttp's server loop takes for a request and a response: the few attributes that it touches.

Its own classes build URLs, header maps and cookies that nobody here asks for, and write heads that
lose bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from proxy.net.refusals import Refusal

if TYPE_CHECKING:
    from proxy.net.client_connection import ClientConnection


def fresh_parser(connection: ClientConnection, buffer_bytes: int) -> HttpRequestParser:
    """Like that which aiohttp has made for the connection, and which knows of no earlier request."""
    return HttpRequestParser(
        connection,
        connection._loop,  # noqa: SLF001 - aiohttp's own, which tells nobody
        buffer_bytes,
        max_line_size=connection.max_line_size,
        max_field_size=connection.max_field_size,
        max_headers=connection.max_headers,
        payload_exception=RequestPayloadError,
        auto_decompress=False,
    )


class Incoming:
    """A request: a parsed head and its body, or the refusal of what is none."""

    __slots__ = ("_task", "connection", "message", "payload")

    def __init__(
        self,
        message: RawRequestMessage | Refusal,
        payload: StreamReader,
        connection: ClientConnection,
        _writer: object,
        task: object,
    ) -> None:
        """With the arguments of aiohttp's request factory."""
        self.message = message
        self.payload = payload
        self.connection = connection
        self._task = task

    def _cancel(self, error: BaseException) -> None:
        """By aiohttp: the connection is lost, and with it the rest of the body."""
        self.payload.set_exception(error)


class Finished:
    """A response: it is on the wire already, only the connection's future is left."""

    __slots__ = ("_connection", "may_go_on")

    def __init__(self, connection: ClientConnection, *, may_go_on: bool) -> None:
        self._connection = connection
        self.may_go_on = may_go_on
        """What the answer's head said."""

    @property
    def keep_alive(self) -> bool:
        """Asked at the last moment, so that a client that ended meanwhile is not waited for."""
        return self.may_go_on and not self._connection.is_spent
