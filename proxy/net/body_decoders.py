"""The three ways in which a body's end is known (RFC 9112 §6.3, §7.1): counted, chunked, until close.

Each decoder takes the bytes behind a head and says what of them is body and when it is proven
complete. Pure: knows no connection and no head.
"""

from __future__ import annotations

from typing import Protocol

import httptools

_OWN_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
"""`Connection: close` makes the parser refuse bytes behind the last chunk instead of beginning a response."""
_OVERHEAD_PER_CHUNK = 256
_END = b"\r\n\r\n"


class BodyDecoder(Protocol):
    """Decodes one body."""

    @property
    def is_complete(self) -> bool:
        """The end is proven; nothing may be fed any more."""

    @property
    def has_surplus(self) -> bool:
        """Of a complete body: bytes followed it at once."""

    @property
    def fault(self) -> str | None:
        """What was wrong with the body; None: nothing so far."""

    @property
    def missing(self) -> str | None:
        """What a close would cut off; None where the close is the proper end."""

    def feed(self, data: bytes) -> bytes:
        """What `data` holds of the body."""


class CountedDecoder:
    """A body of `length` bytes; zero for one that has no body."""

    __slots__ = ("_left", "has_surplus", "is_complete")

    fault: str | None = None

    def __init__(self, length: int) -> None:
        self.has_surplus = False
        self.is_complete = length == 0
        """All bytes have been seen."""
        self._left = length

    @property
    def missing(self) -> str | None:
        """How many bytes are still to come."""
        return f"the last {self._left} bytes"

    def feed(self, data: bytes) -> bytes:
        """As far as the count goes."""
        self._left -= len(data)
        if self._left > 0:
            return data
        piece = data[: len(data) + self._left]
        self.has_surplus = self._left < 0
        self.is_complete = True
        self._left = 0
        return piece


class UntilCloseDecoder:
    """A body, or a tunnel's bytes, that only the connection's end delimits."""

    __slots__ = ()

    is_complete: bool = False
    has_surplus: bool = False
    fault: str | None = None
    missing: str | None = None

    def feed(self, data: bytes) -> bytes:
        """All of it."""
        return data


class _Seen:
    """What the parser reports. Apart from the decoder, which holds the parser: no cycle to collect."""

    __slots__ = ("chunks", "is_complete", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.chunks = 0
        self.is_complete = False

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_chunk_complete(self) -> None:
        self.chunks += 1

    def on_message_complete(self) -> None:
        self.is_complete = True


class ChunkedDecoder:
    """A chunked body, decoded by httptools behind a head of our own; trailers are bounded and dropped.

    The parser is strict with chunks, and it never sees the origin's head: that one is parsed once.
    """

    __slots__ = ("_max_overhead", "_overhead", "_parser", "_seen", "_tail", "fault")

    def __init__(self, *, max_overhead: int) -> None:
        """`max_overhead` bytes may be sizes, extensions and trailers, and 256 more for each chunk."""
        self.fault: str | None = None
        self._max_overhead = max_overhead
        self._overhead = 0
        self._tail = b""
        self._seen = _Seen()
        self._parser = httptools.HttpResponseParser(self._seen)
        self._parser.feed_data(_OWN_HEAD)

    @property
    def is_complete(self) -> bool:
        """The last chunk and the end of the trailers have been seen."""
        return self._seen.is_complete

    @property
    def has_surplus(self) -> bool:
        """The parser skips line ends behind the last chunk, so look at the end itself."""
        return self.fault is not None or self._tail[1:] != _END or self._tail[:1] in (b"\r", b"\n")

    @property
    def missing(self) -> str | None:
        """What no close may stand for."""
        return "the last chunk"

    def feed(self, data: bytes) -> bytes:
        """The chunks' data, without the coding."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fault = str(error)
        body = b"".join(self._seen.pieces)
        self._seen.pieces.clear()
        self._tail = (self._tail + data[-len(_END) - 1 :])[-len(_END) - 1 :]
        self._overhead += len(data) - len(body)
        if self._overhead > self._max_overhead + _OVERHEAD_PER_CHUNK * self._seen.chunks:
            self.fault = "more chunk extensions and trailers than limits.head allows"
        return body
