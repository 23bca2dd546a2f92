"""Bytes of one origin connection, however they are cut, to what they mean for one response.

Interim heads, the final head, pieces of the body, its end; or the failure that ends it. Pure: no
sockets, no clock, no policy. What follows the response on the connection is the caller's to refuse.
"""

from __future__ import annotations

import re
from typing import Protocol

from msgspec import Struct

from proxy.model import FailureKind, Framing, OriginFailure
from proxy.net.body_decoders import BodyDecoder, ChunkedDecoder, CountedDecoder, UntilCloseDecoder
from proxy.net.response_head import Delimiter, ReceivedHead, delimit, invalid, parse_head

MAX_INTERIM_HEADS = 32
"""Heads with status 1xx before the final one; each is held until its client has taken it."""

FIRST_FINAL_STATUS = 200
_END = b"\r\n\r\n"
_START = b"HTTP/1."
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Sink(Protocol):
    """Takes what the bytes mean, in order; `on_end` and `on_fault` are the last."""

    def on_interim_head(self, head: ReceivedHead) -> None:
        """A head with status 1xx that is not 101."""

    def on_final_head(self, head: ReceivedHead, delimiter: Delimiter) -> None:
        """The final head; after a 101 all bytes are pieces, to the end of the connection."""

    def on_piece(self, data: bytes) -> None:
        """Bytes of the body, never empty."""

    def on_end(self, *, has_surplus: bool) -> None:
        """The body's end is proven; `has_surplus` when bytes followed it at once."""

    def on_fault(self, failure: OriginFailure) -> None:
        """This is no response, or not all of one."""


class Begun(Struct, frozen=True):
    """A final head, how the end of its body is known, and what came with it of that."""

    head: ReceivedHead
    delimiter: Delimiter
    rest: bytes

    @property
    def is_whole(self) -> bool:
        """The body is there to its end, and nothing behind it."""
        framing = self.delimiter.framing
        if framing is Framing.LENGTH:
            return len(self.rest) == self.delimiter.length
        return framing is Framing.NONE and not self.rest


def read_begun(data: bytes, method: str, *, max_head: int, relays_codings: bool) -> Begun | None:
    """What the first bytes of a connection are, if they begin with a final head; None: a parser has to see.

    Nearly all answers of an API are whole in the first read: for them no parser is made.
    """
    size = data.find(_END) + len(_END)
    head = parse_head(data[:size]) if len(_END) <= size <= max_head else None
    if not isinstance(head, ReceivedHead) or head.status < FIRST_FINAL_STATUS:
        return None
    delimiter = delimit(head, method, relays_codings=relays_codings)
    return None if isinstance(delimiter, OriginFailure) else Begun(head, delimiter, data[size:])


class ResponseParser:
    """Parses one response. After its end or a fault it must not be fed again."""

    __slots__ = (
        "_decoder",
        "_interim_heads",
        "_max_head",
        "_may_switch",
        "_method",
        "_partial",
        "_relays_codings",
        "_scanned",
    )

    def __init__(self, method: str, *, max_head: int, may_switch: bool, relays_codings: bool = False) -> None:
        """`max_head` bytes for a head; `may_switch`: the request asked for an upgrade."""
        self._relays_codings = relays_codings
        self._method = method
        self._max_head = max_head
        self._may_switch = may_switch
        self._interim_heads = 0
        self._partial = b""
        self._scanned = 0
        """How much of `_partial` is known to hold no end of a head."""
        self._decoder: BodyDecoder | None = None
        """None until the final head is complete."""

    @property
    def is_within_head(self) -> bool:
        """A head has begun and is not complete."""
        return bool(self._partial)

    def feed(self, data: bytes, sink: Sink) -> None:
        """Tell what the connection's next bytes mean."""
        if self._decoder is not None:
            _feed_body(self._decoder, data, sink)
            return
        received = self._partial + data if self._partial else data
        while (size := self._head_size(received)) > 0:
            head = self._parsed(received[:size])
            received = received[size:]
            self._scanned = 0
            if isinstance(head, OriginFailure):
                sink.on_fault(head)
                return
            if head.status >= 200 or head.status == 101:
                self._partial = b""
                self._feed_final(head, received, sink)
                return
            sink.on_interim_head(head)
        self._keep(received, sink)

    def feed_eof(self, sink: Sink) -> None:
        """Tell what it means that the origin closed its side in an orderly way."""
        if self._decoder is None:
            sink.on_fault(OriginFailure(FailureKind.RESET, "closed before the end of a head"))
        elif self._decoder.missing is not None:
            sink.on_fault(OriginFailure(FailureKind.BROKEN_BODY, f"closed before {self._decoder.missing}"))
        else:
            sink.on_end(has_surplus=False)

    def _keep(self, received: bytes, sink: Sink) -> None:
        """It is not yet a whole head."""
        fault = self._partial_fault(received)
        self._partial = received
        self._scanned = len(received)
        if fault is not None:
            sink.on_fault(fault)

    def _head_size(self, received: bytes) -> int:
        """Bytes up to the end of the first head; 0 if it has not arrived."""
        end = received.find(_END, max(0, self._scanned - len(_END) + 1))
        return 0 if end < 0 else end + len(_END)

    def _parsed(self, raw: bytes) -> ReceivedHead | OriginFailure:
        if len(raw) > self._max_head:
            return self._too_large()
        head = parse_head(raw)
        if isinstance(head, OriginFailure) or head.status >= 200:
            return head
        if head.status == 101:
            return head if self._may_switch else invalid("101 without a request to upgrade")
        self._interim_heads += 1
        if self._interim_heads > MAX_INTERIM_HEADS:
            return invalid(f"more than {MAX_INTERIM_HEADS} interim responses")
        return head

    def _partial_fault(self, received: bytes) -> OriginFailure | None:
        """Refuse at once what can never become a head: its end might never come."""
        if received[: len(_START)] != _START[: len(received)]:
            return invalid("not a status line of HTTP/1.0 or HTTP/1.1")
        if len(received) > self._max_head:
            return self._too_large()
        if _BARE_LF.search(received, self._scanned):
            return invalid("a line of the head ends without CR")
        return None

    def _too_large(self) -> OriginFailure:
        return invalid(f"a head of more than {self._max_head} bytes")

    def _feed_final(self, head: ReceivedHead, rest: bytes, sink: Sink) -> None:
        delimiter = Delimiter(Framing.CLOSE) if head.status == 101 else self._delimiter_of(head)
        if isinstance(delimiter, OriginFailure):
            sink.on_fault(delimiter)
            return
        self.go_on(Begun(head, delimiter, rest), sink)

    def go_on(self, begun: Begun, sink: Sink) -> None:
        """Tell what the head and the bytes behind it mean, and go on behind these."""
        head, delimiter, rest = begun.head, begun.delimiter, begun.rest
        self._decoder = decoder = self._decoder_for(delimiter)
        sink.on_final_head(head, delimiter)
        if rest or decoder.is_complete:
            _feed_body(decoder, rest, sink)

    def _delimiter_of(self, head: ReceivedHead) -> Delimiter | OriginFailure:
        return delimit(head, self._method, relays_codings=self._relays_codings)

    def _decoder_for(self, delimiter: Delimiter) -> BodyDecoder:
        framing = delimiter.framing
        if framing is Framing.LENGTH:
            return CountedDecoder(delimiter.length or 0)
        if framing is Framing.CHUNKED:
            return ChunkedDecoder(max_overhead=self._max_head)
        return UntilCloseDecoder() if framing is Framing.CLOSE else CountedDecoder(0)


def _feed_body(decoder: BodyDecoder, data: bytes, sink: Sink) -> None:
    piece = decoder.feed(data)
    if piece:
        sink.on_piece(piece)
    if decoder.is_complete:
        sink.on_end(has_surplus=decoder.has_surplus)
    elif decoder.fault is not None:
        sink.on_fault(OriginFailure(FailureKind.BROKEN_BODY, decoder.fault))
