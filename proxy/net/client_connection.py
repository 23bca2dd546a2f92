"""One client connection: aiohttp's protocol object, given one head at a time, with our limits.

The parser gets the next head only once the previous request is answered, so one request is in the
making at most, and what follows an upgrade or a `Connection: close` is never parsed as HTTP by mistake.
Knows when bytes come and go; what a request means and what is answered is the service's.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from proxy.config.schema import Limits
from proxy.net.aiohttp_shapes import fresh_parser
from proxy.net.arriving_body import ArrivingBody
from proxy.net.client_output import ClientOutput
from proxy.net.head_reading import MAX_FIELDS
from proxy.net.intake import Intake
from proxy.net.plain_head import Shape
from proxy.net.plain_lane import PlainLane
from proxy.net.refusals import Refusal
from proxy.net.request_reading import refusal_of
from proxy.net.tunnels import ClientTunnel
from proxy.observe.metrics import Metrics

KEEP_ALIVE_SECONDS = 75.0
"""How long a connection may be idle between requests; longer than the usual load balancer's 60 s."""
LINGER_SECONDS = 2.0
"""How long a client that is being refused may go on sending; closing at once could cost it the answer."""
READ_BUFFER_BYTES = 64 * 1024
"""Unread body bytes above which the client has to wait (aiohttp's reader: twice that)."""


class ClientConnection(RequestHandler):
    """Bytes to the parser and parsed messages to the service, in order, within `limits`."""

    __slots__ = (
        "_body",
        "_has_ended",
        "_head_timer",
        "_intake",
        "_is_deaf",
        "_is_leaving",
        "_is_quiet",
        "_lane",
        "_limits",
        "_metrics",
        "_tunnel",
        "asked_at",
        "is_answering",
        "loop",
        "output",
        "peer",
        "shape",
        "trust",
        "used_at",
    )

    def __init__(
        self,
        connections: web.Server,
        limits: Limits,
        metrics: Metrics,
        lane: PlainLane | None,
        output: ClientOutput,
    ) -> None:
        self.loop = loop = asyncio.get_running_loop()
        super().__init__(
            connections,
            loop=loop,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to switch it off
            max_line_size=limits.head,
            max_field_size=limits.head,
            max_headers=MAX_FIELDS,
            lingering_time=0,
            read_bufsize=READ_BUFFER_BYTES,
            auto_decompress=False,
        )
        # for the connection's life
        self.output = output
        self.peer = ""
        self._limits = limits
        self._metrics = metrics
        self._intake = Intake(limits.head)
        self._has_ended = False
        """The client sends no more; it may still read."""
        self._is_deaf = False
        """Nothing that arrives matters any more."""
        self._is_leaving = False
        self._tunnel: ClientTunnel | None = None
        self._lane = lane
        self.shape: Shape | None = None
        """Of the last plain head: a client's next one has most likely the same."""
        self.trust = 0
        """How far its heads are expected to be such as came before (`head_memo.py`)."""
        self.asked_at = 0.0
        """When the head came that the plain lane has taken last, on the loop's clock."""
        self.used_at = 0.0
        """When the plain lane has answered last, on the loop's clock."""
        # for one request
        self._is_quiet = True
        """Between two requests of which another may come; no byte of it has."""
        self.is_answering = False
        self._body: ArrivingBody | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Between requests, and no byte of the next one has come."""
        return not self.is_answering and not self._intake

    @property
    def is_spent(self) -> bool:
        """No further request can come or is wanted."""
        return (self._has_ended and not self._messages) or self._is_leaving

    @property
    def has_more_input(self) -> bool:
        """The client has sent or may be sending what nobody will read."""
        return self._body is not None or bool(self._intake)

    def open_tunnel(self) -> ClientTunnel:
        """From now on the bytes are no HTTP: they go to the tunnel, those behind the request first."""
        tunnel = self._tunnel = ClientTunnel(self.output, self._set_reading)
        tunnel.feed(self._intake.take_all())
        if self._has_ended:
            tunnel.feed_eof()
        if self.transport is None:
            tunnel.lose()
        self._hold_or_release()
        return tunnel

    async def linger(self) -> None:
        """After a last answer that the client may not expect: end our side, wait for its end for a moment.

        Closed with unread bytes in the kernel, the connection would be reset, and the answer lost with it.
        """
        self._become_deaf()
        self.is_answering = False
        self._resume_transport_reading()
        self.output.write_eof()
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self.output.until_lost()
        except TimeoutError:
            return

    def begin_plain(self) -> None:
        """The plain lane's answer takes a while: what comes meanwhile has to wait. May be said again."""
        self.is_answering = True
        self._is_quiet = False

    def end_plain(self, *, may_go_on: bool) -> None:
        """The plain lane's answer is on the wire, or has failed."""
        self.is_answering = False
        if may_go_on:
            self._go_on()
        if not may_go_on or self.is_spent:  # what the client sent before its end is answered
            self._become_deaf()
            self.force_close()
            return
        self._next_keepalive_close_time = self._loop.time() + KEEP_ALIVE_SECONDS
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )

    def resume(self, data: bytes) -> None:
        """The turn has come of what the plain lane let wait."""
        if self.transport is None or self.transport.is_closing() or self._lane is None:
            return  # nobody waits for the answer any more
        self.is_answering = False
        if not self._lane.take_now(self, data, monotonic()):
            later = self._intake.take_all()
            self._intake.add(data)
            self._intake.add(later)
            self._advance()
            self._heed_end()
        elif not self.is_answering:
            self.end_plain(may_go_on=True)

    def leave(self) -> None:
        """Close now if idle, else after the answer under way."""
        self._is_leaving = True
        self._is_quiet = False
        if self.is_idle:
            self.force_close()

    def abort(self) -> None:
        """Cut it off."""
        self.output.abort()
        self.force_close()

    # What follows is called by the loop and by aiohttp.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.output.connect(cast(asyncio.Transport, transport))
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        if self._tunnel is not None:
            self._tunnel.lose()
        super().connection_lost(exc)
        self.output.disconnect()

    def data_received(self, data: bytes) -> None:
        if self._is_quiet:
            if self._lane is not None and self._lane.take(self, data):
                return
            self._is_quiet = False
        if self._is_deaf or self._force_close:
            return
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if data:
            self._intake.add(data)
        elif self._body is not None:  # aiohttp's reader has room again for what the parser holds
            self._feed_body(self._body, b"")
        self._advance()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's meaning: True keeps our side open
        if self._tunnel is not None:
            self._tunnel.feed_eof()
            return True
        if not self.is_answering or self.output.ends_at_eof:
            self.output.client_left()
            self.output.watch_flush()
            return False
        self._has_ended = True
        self._heed_end()
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self.output.pause()
        self._drain_between_requests()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.output.resume()

    def force_close(self) -> None:
        self._is_quiet = False
        self.output.watch_flush()
        super().force_close()

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> tuple[Any, bool]:
        """The answer is on the wire: nothing to write here, but the next head may be parsed now."""
        if self._upgraded and self._parser is not None:  # the upgrade was declined
            self._parser.set_upgraded(False)
            self._upgraded = False
        self.is_answering = False
        if resp.may_go_on:
            self._go_on()
        else:
            self._become_deaf()
        if not resp.keep_alive:
            self.output.watch_flush()
        return resp, False

    def _process_keepalive(self) -> None:
        # A head that is arriving has a deadline of its own; of plain answers aiohttp knows nothing.
        if self._head_timer is not None or self.is_answering:
            self._keepalive_handle = None
            return
        used_until = self.used_at + KEEP_ALIVE_SECONDS
        self._next_keepalive_close_time = max(self._next_keepalive_close_time, used_until)
        super()._process_keepalive()

    def _resume_reading_if_drained(self) -> None:
        self._hold_or_release()

    # The way of the bytes: intake, parser, messages.

    def _go_on(self) -> None:
        """With what has come already, or wait for the next request."""
        intake = self._intake
        if intake or self._buffer_paused:
            self._advance()
        is_held_up = self.is_answering or self._has_ended or self._is_leaving
        self._is_quiet = not (is_held_up or intake.has_skipped or intake)
        self._drain_between_requests()

    def _drain_between_requests(self) -> None:
        """A client that is slow to take the last answer: the next request waits for that."""
        if self._is_quiet and self.output.is_full and self._lane is not None:
            self._lane.begin_draining(self)

    def _advance(self) -> None:
        """Give the parser all that it may have now."""
        while self._intake and not self._reading_paused:
            if self._body is not None:
                self._feed_body(self._body, self._body.take_from(self._intake))
            elif self.is_answering or not self._feed_head():
                break
        self._hold_or_release()

    def _feed_head(self) -> bool:
        """Parse the next request. False: its head has not fully arrived, or it was refused."""
        head = self._intake.take_head()
        if head is None:
            self._start_head_timer()
            return False
        self._stop_head_timer()
        if isinstance(head, Refusal):
            self._refuse(head)
            return False
        self.is_answering = True
        super().data_received(head)
        message, payload = self._messages[-1]
        if not isinstance(message, RawRequestMessage):
            self._messages.clear()
            self._refuse(refusal_of(message.exc))
            return False
        if not payload.is_eof():
            self._body = ArrivingBody(message, payload, max_framing=self._limits.head)
        return True

    def _feed_body(self, body: ArrivingBody, piece: bytes) -> None:
        super().data_received(piece)
        is_excessive = body.is_excessive(len(piece))
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            self._messages.pop()
            self._break_body(body, "malformed chunked body")
        elif body.has_ended:
            self._end_body(body)
        elif is_excessive:
            self._break_body(body, "too many bytes of chunk extensions or trailers")

    def _heed_end(self) -> None:
        """The client sends no more, or we want no more, maybe since before what has come was looked at."""
        if self._has_ended and self._body is not None:
            self._break_body(self._body, "the client ended the request's body early")
        elif self.is_spent and not self.is_answering:
            self.force_close()

    def _end_body(self, body: ArrivingBody) -> None:
        self._body = None
        if body.is_chunked:
            # aiohttp 3.14.5 puts the last trailer of a body into the head of the next request.
            self._parser = fresh_parser(self, READ_BUFFER_BYTES)

    def _break_body(self, body: ArrivingBody, detail: str) -> None:
        """It stays the body that is arriving: the connection cannot go on behind it."""
        body.fail(detail)
        self._become_deaf()

    def _refuse(self, refusal: Refusal) -> None:
        """Queue the refusal as aiohttp queues requests; it is the connection's last answer."""
        self.is_answering = True
        self._messages.append((cast(RawRequestMessage, refusal), EMPTY_PAYLOAD))
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _become_deaf(self) -> None:
        self._is_deaf = True
        self._intake.clear()
        self._stop_head_timer()
        self._hold_or_release()

    def _start_head_timer(self) -> None:
        if self._head_timer is None and self._intake:
            self._head_timer = self._loop.call_later(self._limits.head_time, self._on_head_overdue)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_overdue(self) -> None:
        self._head_timer = None
        self._metrics.client_timeouts.add("head")
        self._refuse(Refusal.HEAD_TIMEOUT)

    def _hold_or_release(self) -> None:
        """Stop reading what cannot be used yet; not before it is much, for that hides disconnects too."""
        must_hold = len(self._intake) > READ_BUFFER_BYTES and self.is_answering and self._body is None
        if must_hold and not self._buffer_paused:
            self._pause_reading_for_buffer()
        elif self._buffer_paused and not must_hold:
            self._resume_reading_for_buffer()

    def _set_reading(self, wanted: bool) -> None:
        """For the tunnel."""
        if wanted:
            self._resume_transport_reading()
        else:
            self._pause_transport_reading()
