"""A body on its way from the intake through the parser to whoever reads it.

Bounds what arrives beside its content: chunk extensions and trailers, which nobody reads and the
parser keeps or skips without end.
"""

from __future__ import annotations

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from proxy.net.intake import BodyCut, ChunkedCut, CountedCut, Intake


class ArrivingBody:
    """Which of the next bytes are its own, and how it stands."""

    __slots__ = ("_cut", "_framing_bytes", "_max_framing", "_payload", "_size", "is_chunked")

    def __init__(self, message: RawRequestMessage, payload: StreamReader, *, max_framing: int) -> None:
        """`max_framing`: the most bytes of chunk extensions or trailers in a row."""
        self.is_chunked = bool(message.chunked)
        self._payload = payload
        self._cut: BodyCut = (
            ChunkedCut() if self.is_chunked else CountedCut(int(message.headers["Content-Length"]))
        )
        self._max_framing = max_framing
        self._framing_bytes = 0
        """Parsed since the content last grew."""
        self._size = 0

    @property
    def has_ended(self) -> bool:
        """All of it has been parsed."""
        return self._payload.is_eof()

    def take_from(self, intake: Intake) -> bytes:
        """The next piece for the parser."""
        return intake.take_body(self._cut)

    def is_excessive(self, parsed: int) -> bool:
        """After `parsed` more bytes: was there too much without content?"""
        size, self._size = self._size, self._payload.total_bytes
        self._framing_bytes = self._framing_bytes + parsed if size == self._size else 0
        return self._framing_bytes > self._max_framing

    def fail(self, detail: str) -> None:
        """The rest will never come. The parser does not tell: who reads would wait for ever."""
        self._payload.set_exception(RequestPayloadError(detail))
