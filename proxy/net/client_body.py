"""A client's body as `model.Body`, over the reader that aiohttp's parser fills.

Owns the deadline between its bytes and the moment at which the client is told to go on. What happens
to the connection when the body is not read is the connection's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp.streams import StreamReader
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError

from proxy.model import BodyBroken, FailureKind, OriginFailure

_ENDED_EARLY = (RequestPayloadError, PayloadAccessError, OSError, RuntimeError)
"""From aiohttp's reader: malformed chunk, read after the answer, connection lost, connection closed."""


class ClientBody:
    """A request's body; read by one reader, once."""

    __slots__ = ("_idle_seconds", "_on_first_read", "_payload", "is_overdue", "length")

    def __init__(
        self,
        payload: StreamReader,
        *,
        length: int | None,
        idle_seconds: float,
        on_first_read: Callable[[], None] | None = None,
    ) -> None:
        """`on_first_read` tells the client that its body is wanted (100-continue)."""
        self.length = length
        self.is_overdue = False
        """Nothing arrived for `idle_seconds` while somebody waited."""
        self._payload = payload
        self._idle_seconds = idle_seconds
        self._on_first_read = on_first_read

    async def read(self) -> bytes:
        """The next bytes; b"" once the body is complete. Raises BodyBroken."""
        try:
            self._ask_for_it()
            async with asyncio.timeout(self._idle_seconds):
                return await self._payload.readany()
        except TimeoutError:
            self.is_overdue = True
            raise _broken(f"no byte of the body for {self._idle_seconds:g} s") from None
        except _ENDED_EARLY as error:
            raise _broken(str(error) or type(error).__name__) from error

    def take_rest(self) -> bytes | None:
        """What has arrived, if it is all."""
        if not self._payload.is_eof() or self._payload.exception() is not None:
            return None
        self._on_first_read = None  # RFC 9110 §10.1.1: needless now
        return self._payload.read_nowait()

    def abandon(self) -> None:
        """Nothing to do: the connection cuts off what is not read, and its buffer is bounded."""

    def _ask_for_it(self) -> None:
        ask, self._on_first_read = self._on_first_read, None
        # RFC 9110 §10.1.1: needless once some of it has arrived.
        if ask is not None and self._payload.total_bytes == 0:
            ask()


def _broken(detail: str) -> BodyBroken:
    return BodyBroken(OriginFailure(FailureKind.CLIENT_BODY, detail))
