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
from typing import NamedTuple

from proxy.config.schema import Forwarded, Limits, Origin
from proxy.model import FailureKind, OriginFailure, OriginResponse, Request
from proxy.net.admission import Admission, Place
from proxy.net.dialing import Dialer
from proxy.net.exchange import Exchange, Patience
from proxy.net.forwarding import RequestForwarding, response_head
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.origin_record import OriginRecord
from proxy.net.origin_tunnel import OriginTunnel
from proxy.net.pool import Pool
from proxy.net.request_head import encode_request_head
from proxy.net.response_head import ReceivedHead
from proxy.observe.metrics import Metrics

IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})
"""RFC 9110 §9.2.2: only these may be sent again without being asked."""
SMALLEST_MAX_HEAD = 32 * 1024
"""Heads of this size are always taken from the origin, however small `limits.head` is for clients."""
_EVENT_STREAM = b"text/event-stream"
_TUNNELS_FULL = OriginFailure(FailureKind.TUNNELS_FULL, "limits.tunnels are open")


class _Attempt(NamedTuple):
    """One sending of a request and how it went up to the head."""

    exchange: Exchange
    outcome: ReceivedHead | OriginFailure
    requested_at: float
    received_at: float


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
        self._has_via = forwarded.via
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
        for exchange in tuple(self._exchanges):
            exchange.shut_down()

    async def fetch(self, request: Request, *, route: str) -> OriginResponse | OriginFailure:
        """Send the request and wait for the response's head; its body must be read or abandoned."""
        outcome: OriginResponse | OriginFailure | None = None
        try:
            outcome = await self._admitted(request, route)
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
            outcome = await self._sent(request, head, place, route=route, patience=patience)
        finally:
            if not isinstance(outcome, OriginResponse):
                place.leave()
        return outcome

    async def _sent(
        self, request: Request, head: bytes, place: Place, *, route: str, patience: float
    ) -> OriginResponse | OriginFailure:
        attempt = await self._attempt(
            request, head, place, route=route, patience=patience, fresh=request.upgrade
        )
        if isinstance(attempt, _Attempt) and _may_send_again(request, attempt):
            self._record.retry()
            patience = self._config.pool.acquire_timeout
            attempt = await self._attempt(request, head, place, route=route, patience=patience, fresh=True)
        if isinstance(attempt, OriginFailure):
            return attempt
        if isinstance(attempt.outcome, OriginFailure):
            return attempt.outcome
        return self._response(attempt, attempt.outcome, place)

    async def _attempt(
        self, request: Request, head: bytes, place: Place, *, route: str, patience: float, fresh: bool
    ) -> _Attempt | OriginFailure:
        connection: OriginConnection | OriginFailure | None = None if fresh else self._pool.take_idle()
        if connection is None:
            connection = await self._pool.acquire(fresh=fresh, timeout=max(patience, 0))
        if isinstance(connection, OriginFailure):
            return connection
        exchange = Exchange(
            request,
            connection,
            patience=self._patience,
            max_head=self._max_head,
            relays_codings=self._relays_codings,
            on_end=self._on_end,
        )
        self._exchanges[exchange] = place
        requested_at, sent_at = self._clock(), self._monotonic()
        try:
            exchange.begin(head)
            outcome = await exchange.final_head()
        except BaseException:
            exchange.stop()
            raise
        self._record.waited(request, outcome, route=route, seconds=self._monotonic() - sent_at)
        return _Attempt(exchange, outcome, requested_at, self._clock())

    def _response(
        self, attempt: _Attempt, received: ReceivedHead, place: Place
    ) -> OriginResponse | OriginFailure:
        exchange = attempt.exchange
        # What has ended is back in the pool already.
        leaves_slot = not exchange.has_ended and (received.status == 101 or _is_event_stream(received))
        if leaves_slot and not self._keep_open(exchange, place):
            return _TUNNELS_FULL
        return OriginResponse(
            head=response_head(received, via=self._has_via, now=attempt.received_at),
            body=exchange.body,
            framing=exchange.delimiter.framing,
            requested_at=attempt.requested_at,
            received_at=attempt.received_at,
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


def _may_send_again(request: Request, attempt: _Attempt) -> bool:
    """Only what cannot have been answered, on a connection that the origin may have closed before it."""
    exchange, outcome = attempt.exchange, attempt.outcome
    was_closed = isinstance(outcome, OriginFailure) and outcome.kind is FailureKind.RESET
    is_unanswered = was_closed and not exchange.has_response_byte and exchange.connection.is_reused
    return is_unanswered and request.body is None and request.method in IDEMPOTENT


def _is_event_stream(head: ReceivedHead) -> bool:
    media_type = (head.fields.first(b"content-type") or b"").partition(b";")[0]
    return media_type.strip(b" \t").lower() == _EVENT_STREAM
