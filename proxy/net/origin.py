"""The client towards the origin: a request in, a response or a failure out; nothing else escapes.

Decides in which order a place, a connection and an answer are waited for, and when a request may be
sent twice. How each is done is in admission.py, pool.py and exchange.py.

Two deadlines bound the wait before a request is sent: `queue.timeout` for a place among
`max_in_flight`, and `pool.acquire_timeout` for that and the connection together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import cast

from proxy.config.schema import Forwarded, Limits, Origin
from proxy.model import (
    FailureKind,
    FieldNames,
    Framing,
    OriginFailure,
    OriginResponse,
    Request,
    ResponseHead,
    Values,
)
from proxy.net.admission import Admission, Place
from proxy.net.dialing import Dialer
from proxy.net.exchange import Exchange, Patience
from proxy.net.forwarding import RequestForwarding, response_head
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.origin_record import OriginRecord
from proxy.net.origin_tunnel import OriginTunnel
from proxy.net.pool import Pool
from proxy.net.received_body import WholeBody
from proxy.net.request_head import encode_request_head
from proxy.net.response_head import ReceivedHead
from proxy.net.sent_plain import SentPlain
from proxy.observe.metrics import Metrics

IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})
"""RFC 9110 §9.2.2: only these may be sent again without being asked."""
SMALLEST_MAX_HEAD = 32 * 1024
"""Heads of this size are always taken from the origin, however small `limits.head` is for clients."""
_EVENT_STREAM = b"text/event-stream"
_TUNNELS_FULL = OriginFailure(FailureKind.TUNNELS_FULL, "limits.tunnels are open")


class OriginClient:
    """The one API behind this sidecar: every wait has a deadline, every place is given back."""

    def __init__(
        self,
        config: Origin,
        *,
        limits: Limits,
        forwarded: Forwarded,
        metrics: Metrics,
        keyed: AbstractSet[bytes] = frozenset(),
        relays_codings: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keyed`: lower-case names of request fields that cache keys hold; Connection cannot remove them.

        `relays_codings`: a body behind an unknown transfer coding is relayed as it comes (profile rfc9111).
        """
        self._config = config
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._record = OriginRecord(metrics, slow_after=config.slow_after, clock=monotonic)
        self._patience = Patience(response=config.response_timeout, idle=config.idle_timeout)
        self._relays_codings = relays_codings
        self._max_head = max(limits.head, SMALLEST_MAX_HEAD)
        dialer = Dialer(config)
        self._authority = dialer.authority
        self.use(forwarded, keyed)
        self._admission = Admission(
            max_in_flight=config.max_in_flight, queue_size=config.queue.size, max_tunnels=limits.tunnels
        )
        self._pool = Pool(config.pool, dialer, metrics, monotonic=monotonic)
        self._exchanges: dict[Exchange, Place] = {}
        self._plain: dict[SentPlain, None] = {}
        """Those that nobody has taken over."""
        metrics.gauges |= {
            "origin_in_flight": lambda: {(): self._admission.in_flight},
            "origin_queue": lambda: {(): self._admission.queued},
            "origin_pool": self._pool.states,
            "tunnels_open": lambda: {(): self._admission.tunnels},
        }

    def __repr__(self) -> str:
        return f"<OriginClient {self._config.url} {self._admission!r} {self._pool!r}>"

    def use(self, forwarded: Forwarded, keyed: AbstractSet[bytes]) -> None:
        """What requests tell the origin of their clients, and what Connection cannot remove, from now on."""
        self.has_via = forwarded.via
        self._forwarding = RequestForwarding(
            forwarded, host=self._config.host, authority=self._authority, keyed=keyed
        )

    async def start(self) -> None:
        """Begin to keep `pool.min_idle` connections open. Works without, also with an origin that is away."""
        self._pool.start()

    async def aclose(self, timeout: float) -> None:
        """Admit no more, let requests finish for `timeout` seconds, then end them and all tunnels."""
        self._admission.close()
        await self._admission.wait_until_empty(timeout)
        self._pool.close()
        under_way: tuple[SentPlain | Exchange, ...] = (*self._plain, *self._exchanges)
        for one in under_way:
            one.shut_down()

    def try_send(
        self, sent: SentPlain, line: bytes, names: FieldNames, values: Values, *, peer: str, content: bytes
    ) -> bool:
        """Send a plain request (`plain_head.py`) now; False: it would have to wait for something.

        `line` has its method and target, `content` its body; what arrives for it is `sent`'s.
        """
        lines = self._forwarding.plain_lines(names, values, peer=peer, length=len(content))
        if not self._admission.try_take():
            return False
        sent.sent_at = now = self._monotonic()
        connection = self._pool.take_idle(now)
        if connection is None:
            self._admission.give_back()
            return False
        sent.connection, sent.requested_at = connection, self._clock()
        self._plain[sent] = None
        connection.receiver = sent
        # As `encode_request_head` writes it, who checks what no byte of a plain head can do: forge a line.
        connection.hold(b"%b HTTP/1.1\r\n%b\r\n%b" % (line, lines, content))
        connection.deadline.set(self._patience.response)
        sent.is_sent = True
        return True

    def seconds_waited(self, sent: SentPlain) -> float | None:
        """For its answer, which is here; None: so long that this is `fetch`'s to tell."""
        seconds = self._monotonic() - sent.sent_at
        return None if seconds > self._record.slow_after else seconds

    def received(self, sent: SentPlain, head: ResponseHead, content: bytes) -> OriginResponse:
        """Its answer, which is here whole, and the length of its body stated."""
        body = WholeBody(len(content), content)
        return OriginResponse(head, body, Framing.LENGTH, sent.requested_at, self._clock())

    def end(self, sent: SentPlain, status: int, *, route: str, seconds: float) -> None:
        """Its answer is here, whole, after so long."""
        self._record.answered(status, route=route, seconds=seconds)
        del self._plain[sent]
        connection = sent.connection
        connection.detach()
        self._pool.give_back(connection, sent.sent_at + seconds)
        self._admission.give_back()

    def take_over(self, sent: SentPlain, request: Request) -> Exchange:
        """The exchange that it goes on as; `fetch` waits for it when it is asked for this request."""
        del self._plain[sent]
        sent.place = Place(self._admission)
        exchange = sent.exchange = self._exchange(request, sent.connection, sent.place)
        exchange.go_on()
        return exchange

    async def fetch(self, request: Request, *, route: str) -> OriginResponse | OriginFailure:
        """Send the request and wait for the response's head; its body must be read or abandoned."""
        outcome: OriginResponse | OriginFailure | None = None
        try:
            sent = cast(SentPlain | None, request.sent)
            outcome = await (
                self._admitted(request, route) if sent is None else self._taken_over(request, sent, route)
            )
        finally:
            self._record.result(outcome, route=route)
        return outcome

    async def _admitted(self, request: Request, route: str) -> OriginResponse | OriginFailure:
        head = encode_request_head(request.method, request.target, self._forwarding.fields(request))
        if isinstance(head, OriginFailure):
            return head
        if request.upgrade and self._admission.is_full_of_tunnels:
            return _TUNNELS_FULL
        place: Place | OriginFailure | None = self._admission.try_enter()
        patience = self._config.pool.acquire_timeout
        if place is None:
            asked_at = self._monotonic()
            place = await self._admission.enter(min(self._config.queue.timeout, patience))
            patience -= self._monotonic() - asked_at
        if isinstance(place, OriginFailure):
            return place
        outcome: OriginResponse | OriginFailure | None = None
        try:
            connection = None if request.upgrade else self._pool.take_idle(self._monotonic())
            if connection is None:
                opened = await self._pool.acquire(fresh=request.upgrade, timeout=max(patience, 0))
                if isinstance(opened, OriginFailure):
                    return opened
                connection = opened
            outcome = await self._sent(request, head, place, connection, route=route)
        finally:
            if outcome.__class__ is not OriginResponse:
                place.leave()
        return outcome

    async def _taken_over(
        self, request: Request, sent: SentPlain, route: str
    ) -> OriginResponse | OriginFailure:
        """What the exchange comes to that `take_over` has made of it."""
        outcome: OriginResponse | OriginFailure | None = None
        head = encode_request_head(request.method, request.target, self._forwarding.fields(request))
        try:
            if isinstance(head, OriginFailure):
                return head
            outcome = await self._sent(request, head, sent.place, sent.connection, route=route, sent=sent)
        finally:
            if outcome.__class__ is not OriginResponse:
                sent.place.leave()
        return outcome

    async def _sent(
        self,
        request: Request,
        head: bytes,
        place: Place,
        connection: OriginConnection,
        *,
        route: str,
        sent: SentPlain | None = None,
    ) -> OriginResponse | OriginFailure:
        """Sent on this connection, and once more on a fresh one where that is allowed."""
        content: bytes | None = None
        while True:
            if sent is None:
                exchange = self._exchange(request, connection, place)
                requested_at, sent_at = self._clock(), self._monotonic()
            else:
                exchange, requested_at, sent_at = sent.exchange, sent.requested_at, sent.sent_at
            try:
                if sent is None:
                    exchange.begin(head, content)
                outcome = await exchange.final_head()
            except BaseException:
                exchange.stop()
                raise
            self._record.waited(request, outcome, route=route, seconds=self._monotonic() - sent_at)
            if isinstance(outcome, ReceivedHead):
                return self._response(exchange, outcome, place, requested_at)
            if not _may_send_again(request, exchange, outcome):
                return outcome
            sent, content = None, exchange.content
            self._record.retry()
            opened = await self._pool.acquire(fresh=True, timeout=self._config.pool.acquire_timeout)
            if isinstance(opened, OriginFailure):
                return opened
            connection = opened

    def _exchange(self, request: Request, connection: OriginConnection, place: Place) -> Exchange:
        exchange = Exchange(
            request,
            connection,
            patience=self._patience,
            max_head=self._max_head,
            relays_codings=self._relays_codings,
            # The origin may have closed it before the request came.
            is_repeatable=connection.is_reused and request.method in IDEMPOTENT,
            on_end=self._on_end,
        )
        self._exchanges[exchange] = place
        return exchange

    def _response(
        self, exchange: Exchange, received: ReceivedHead, place: Place, requested_at: float
    ) -> OriginResponse | OriginFailure:
        # What has ended is back in the pool already.
        leaves_slot = not exchange.has_ended and (received.status == 101 or _is_event_stream(received))
        if leaves_slot and not self._keep_open(exchange, place):
            return _TUNNELS_FULL
        received_at = self._clock()
        return OriginResponse(
            head=response_head(received, via=self.has_via, now=received_at),
            body=exchange.body,
            framing=exchange.delimiter.framing,
            requested_at=requested_at,
            received_at=received_at,
            tunnel=self._tunnel(exchange) if received.status == 101 else None,
        )

    def _keep_open(self, exchange: Exchange, place: Place) -> bool:
        """A tunnel or event stream gives its slot and its room in the pool to others."""
        if not place.move_to_tunnels():
            exchange.stop()
            return False
        self._pool.let_go(exchange.connection)
        exchange.keep_open(self._limits.tunnel_idle)
        return True

    def _tunnel(self, exchange: Exchange) -> OriginTunnel:
        self._record.tunnel()
        return OriginTunnel(exchange)

    def _on_end(self, exchange: Exchange, cause: CloseCause | None) -> None:
        place = self._exchanges.pop(exchange)
        if place.is_tunnel and cause is not CloseCause.SHUTDOWN:
            cause = CloseCause.TUNNEL
        self._pool.release(exchange.connection, cause)
        if exchange.head is not None:  # without one the request may be sent again from the same place
            place.leave()


def _may_send_again(request: Request, exchange: Exchange, failure: OriginFailure) -> bool:
    """Only what cannot have been answered, on a connection that the origin may have closed before it."""
    is_unanswered = failure.kind is FailureKind.RESET and not exchange.has_response_byte
    is_whole = request.body is None or exchange.content is not None
    return is_unanswered and exchange.is_repeatable and is_whole


def _is_event_stream(head: ReceivedHead) -> bool:
    media_type = (head.fields.first(b"content-type") or b"").partition(b";")[0]
    return media_type.strip(b" \t").lower() == _EVENT_STREAM
