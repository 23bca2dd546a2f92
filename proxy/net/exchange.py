"""One request and its response on one connection: what is waited for, how long, and how it ends.

Ends exactly once, by `on_end`: with None where the connection may serve another request, else with
the cause for closing it. Knows no pool, no queue and no policy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from proxy.model import FailureKind, Framing, InboundBody, OriginFailure, Request
from proxy.net.forwarding import interim_head
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.received_body import ReceivedBody, WholeBody
from proxy.net.response_head import Delimiter, ReceivedHead
from proxy.net.response_parser import Begun, ResponseParser, read_begun
from proxy.net.upload import frame_whole, send_body
from proxy.observe.tasks import spawn


class Patience(NamedTuple):
    """How long the origin may take, in seconds."""

    response: float
    """From the request's end to the first byte of the final head; interim heads do not extend it."""
    idle: float
    """Between later bytes; also for the rest of the head, all of it."""


class Exchange:
    """Begun by `begin`; `final_head` waits for the head, and `body` is what follows it."""

    __slots__ = (
        "_arriving",
        "_has_partial_head",
        "_interim_heads",
        "_is_paused",
        "_is_request_sent",
        "_max_head",
        "_on_end",
        "_parser",
        "_patience",
        "_relays_codings",
        "_request",
        "_upload",
        "_waiter",
        "body",
        "connection",
        "content",
        "delimiter",
        "failure",
        "has_ended",
        "has_response_byte",
        "head",
        "is_repeatable",
    )

    body: InboundBody
    """From the head on."""
    delimiter: Delimiter
    """From the head on."""
    _arriving: ReceivedBody
    """The body, where it did not come whole with its head."""

    def __init__(
        self,
        request: Request,
        connection: OriginConnection,
        *,
        patience: Patience,
        max_head: int,
        relays_codings: bool = False,
        is_repeatable: bool = False,
        on_end: Callable[[Exchange, CloseCause | None], None],
    ) -> None:
        self.connection = connection
        self.content: bytes | None = None
        """The body of a repeatable request, where it had come whole, until the origin answers."""
        self.is_repeatable = is_repeatable
        """If its connection ends unanswered, the request may be sent on another."""
        self.head: ReceivedHead | None = None
        self.failure: OriginFailure | None = None
        self.has_ended = False
        self.has_response_byte = False
        """The origin has answered something, be it the first byte of a head."""
        self._request = request
        self._patience = patience
        self._on_end = on_end
        self._max_head = max_head
        self._relays_codings = relays_codings
        self._parser: ResponseParser | None = None
        """None until bytes have come that are not at once a whole response."""
        self._interim_heads: deque[ReceivedHead] | None = None
        self._has_partial_head = False
        self._is_paused = False
        self._is_request_sent = False
        self._upload: asyncio.Task[OriginFailure | None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def begin(self, head: bytes, content: bytes | None = None) -> None:
        """Send the request's head, and its body while the response may already arrive.

        `content`: its body, where an earlier try has taken it.
        """
        self.connection.receiver = self
        body = self._request.body
        if content is None and body is not None:
            content = body.take_rest()
        self.content = content if self.is_repeatable else None
        if body is not None and content is None:
            self.connection.write((head,))
            upload = send_body(body, self.connection, patience=self._patience.idle)
            self._upload = spawn("origin upload", upload)
            self._upload.add_done_callback(self._on_uploaded)
            return
        whole = () if body is None or content is None else frame_whole(content, body.length)
        if isinstance(whole, OriginFailure):
            self._fail(whole)
            return
        self._is_request_sent = True
        self.connection.write((head, *whole))
        self.connection.deadline.set(self._patience.response)

    def go_on(self) -> None:
        """With a request that has been sent whole, and what comes for it from now on."""
        body = self._request.body
        if self.is_repeatable and body is not None:
            self.content = body.take_rest()
        self._is_request_sent = True
        self.connection.receiver = self

    async def final_head(self) -> ReceivedHead | OriginFailure:
        """Wait for the final head; pass interim heads on, in order, before it."""
        while True:
            if self._interim_heads:
                await self._pass_on(self._interim_heads)
            if self.head is not None:
                return self.head
            if self.failure is not None:
                return self.failure
            self._waiter = self.connection.loop.create_future()
            await self._waiter

    def keep_open(self, idle_seconds: float) -> None:
        """It has become a tunnel or an event stream, which may be silent for longer."""
        self._patience = self._patience._replace(idle=idle_seconds)
        self._await_more()

    async def send(self, data: bytes) -> None:
        """Raw bytes through a tunnel, once the transport takes more."""
        self.connection.write((data,))
        self._await_more()
        if not await self.connection.drain(self._patience.idle):
            self._fail(OriginFailure(FailureKind.IDLE_TIMEOUT, "took no bytes"))

    def send_eof(self) -> None:
        """No more bytes through a tunnel in this direction."""
        self.connection.write_eof()

    def pause(self) -> None:
        """For the body: unread bytes pile up. The origin's silence is then ours."""
        self._is_paused = True
        self.connection.deadline.clear()
        self.connection.pause_reading()

    def resume(self) -> None:
        """For the body: its reader has caught up."""
        self._is_paused = False
        self.connection.resume_reading()
        self._await_more()

    def stop(self) -> None:
        """We want no more of it."""
        self._end(CloseCause.ABANDONED)

    def shut_down(self) -> None:
        """The process is going away."""
        self._fail(OriginFailure(FailureKind.CLOSED, "shutting down"), CloseCause.SHUTDOWN)

    def on_bytes(self, data: bytes) -> None:
        """From the connection."""
        parser = self._parser
        if parser is None:
            self.has_response_byte, self.content = True, None
            begun = read_begun(
                data, self._request.method, max_head=self._max_head, relays_codings=self._relays_codings
            )
            if begun is not None and begun.is_whole:
                self._take_whole(begun)
                return
            parser = self._parser = self._make_parser()
            if begun is None:
                parser.feed(data, self)
            else:
                parser.go_on(begun, self)
        else:
            parser.feed(data, self)
        if self.has_ended:
            return
        if self.head is not None:
            self._await_more()
        elif parser.is_within_head and not self._has_partial_head:
            self._has_partial_head = True
            # Once, and not again for each byte: a dripped head must not live for ever.
            self.connection.deadline.set(self._patience.idle)

    def _take_whole(self, begun: Begun) -> None:
        """All at once: what `on_final_head`, `on_piece` and `on_end` do one after the other."""
        self.head, self.delimiter = begun.head, begun.delimiter
        self.body = WholeBody(begun.delimiter.length, begun.rest)
        self._end(self._cause_after_response(has_surplus=False))
        self._wake()

    def _make_parser(self) -> ResponseParser:
        request = self._request
        return ResponseParser(
            request.method,
            max_head=self._max_head,
            may_switch=request.upgrade,
            relays_codings=self._relays_codings,
        )

    def on_eof(self) -> bool:
        """From the connection. True for a tunnel: the other direction may go on."""
        parser = self._parser or self._make_parser()
        parser.feed_eof(self)
        return not self.has_ended

    def on_lost(self, error: Exception | None) -> None:
        """From the connection: no orderly close, so nothing that only a close delimits is complete."""
        kind = FailureKind.RESET if self.head is None else FailureKind.BROKEN_BODY
        self._fail(OriginFailure(kind, str(error) if error is not None else "connection lost"))

    def on_deadline(self) -> None:
        """From the connection."""
        if self.head is not None and self._upload is not None:
            # The origin may be waiting for our body, which has deadlines of its own.
            self._await_more()
            return
        is_begun = self.head is not None or self._has_partial_head
        seconds = self._patience.idle if is_begun else self._patience.response
        kind = FailureKind.IDLE_TIMEOUT if is_begun else FailureKind.RESPONSE_TIMEOUT
        self._fail(OriginFailure(kind, f"nothing for {seconds:g} s"))

    def on_interim_head(self, head: ReceivedHead) -> None:
        """From the parser."""
        # Our own 100 is the listener's to send (RFC 9110 §10.1.1).
        if head.status == 100 or self._request.on_interim is None:
            return
        if self._interim_heads is None:
            self._interim_heads = deque()
        self._interim_heads.append(head)
        self._wake()

    def on_final_head(self, head: ReceivedHead, delimiter: Delimiter) -> None:
        """From the parser."""
        self.head = head
        self.delimiter = delimiter
        self.body = self._arriving = ReceivedBody(delimiter.length, self)
        if head.status >= 300:
            # RFC 9112 §9.5: cease sending what is refused; a 2xx may answer what we are still sending.
            self._stop_upload()
        self._wake()

    def on_piece(self, data: bytes) -> None:
        """From the parser."""
        self._arriving.put(data)

    def on_end(self, *, has_surplus: bool) -> None:
        """From the parser."""
        self._arriving.finish()
        is_tunnel = self.head is not None and self.head.status == 101
        if not is_tunnel:
            self._end(self._cause_after_response(has_surplus=has_surplus))

    def on_fault(self, failure: OriginFailure) -> None:
        """From the parser."""
        self._fail(failure)

    def _cause_after_response(self, *, has_surplus: bool) -> CloseCause | None:
        if has_surplus:
            return CloseCause.EXTRA_BYTES
        if not self._is_request_sent:
            return CloseCause.ABANDONED
        is_persistent = self.head is not None and self.head.is_persistent
        if not is_persistent or self.delimiter.framing is Framing.CLOSE:
            return CloseCause.ORIGIN_CLOSED
        return None

    def _on_uploaded(self, upload: asyncio.Task[OriginFailure | None]) -> None:
        if self.has_ended or upload.cancelled():
            return
        self._upload = None
        if upload.exception() is not None:
            self._fail(OriginFailure(FailureKind.CLIENT_BODY, "the body could not be read"))
            return
        failure = upload.result()
        if failure is not None:
            self._fail(failure)
            return
        self._is_request_sent = True
        if self.head is None and not self._has_partial_head:
            self.connection.deadline.set(self._patience.response)

    def _await_more(self) -> None:
        if not self.has_ended and not self._is_paused:
            self.connection.deadline.set(self._patience.idle)

    async def _pass_on(self, heads: deque[ReceivedHead]) -> None:
        while heads and self._request.on_interim is not None:
            await self._request.on_interim(interim_head(heads.popleft()))

    def _fail(self, failure: OriginFailure, cause: CloseCause = CloseCause.ERROR) -> None:
        if self.has_ended:
            return
        self.failure = failure
        if self.head is not None:
            self._arriving.fail(failure)
        self._end(cause)
        self._wake()

    def _end(self, cause: CloseCause | None) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        if self._upload is not None:
            self._stop_upload()
        if cause is None:
            self.connection.detach()
        self._on_end(self, cause)

    def _stop_upload(self) -> None:
        if self._upload is None or self._request.body is None:
            return
        self._upload.cancel()
        self._upload = None
        self._request.body.abandon()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
