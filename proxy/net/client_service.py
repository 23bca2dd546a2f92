"""Serves one request at a time per connection: read, ask the flow, send, record.

Owns the order of these steps and whether the connection goes on; shared by all connections of the
process. Knows no policy: what the answer is the flow decides, how it looks on the wire `wire.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, Protocol, cast

import structlog
from msgspec.structs import replace

from proxy.config.schema import Config
from proxy.model import Answer, FailureKind, FieldNames, Hit, Outcome, Request, Tunnel
from proxy.net import wire
from proxy.net.aiohttp_shapes import Finished, Incoming
from proxy.net.answering import NOTHING_SENT, Sent, send
from proxy.net.client_connection import ClientConnection
from proxy.net.client_turn import Turn
from proxy.net.plain_head import read_plain
from proxy.net.protocols import PlainFlow
from proxy.net.received_body import WholeBody
from proxy.net.refusals import Refusal, problem_answer
from proxy.net.request_reading import read_request
from proxy.net.standing_hit import Tally
from proxy.net.tunnels import pump
from proxy.net.wire import Persistence
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn

_log = structlog.get_logger("sidecache.clients")


class Flow(PlainFlow, Protocol):
    """What the listener wants of the engine."""

    def try_hit(self, request: Request, plan: Any) -> Answer | None:
        """The answer, if it takes no waiting."""


Serve = Callable[[Request], Coroutine[Any, Any, Answer]]
"""Gives the answer to a request, whatever it takes."""


class Record(Protocol):
    """What the listener tells of each answered request, once."""

    def record(self, request: Request, answer: Answer, *, seconds: float, sent: int, complete: bool) -> None:
        """Count it and write its lines."""

    def tally(self, route: str, outcome: Outcome) -> Tally:
        """For one that is about to be counted only; and for those like it that follow."""

    def write_access(
        self, request: Request, answer: Answer | Hit, *, seconds: float, sent: int, complete: bool
    ) -> None:
        """That line."""


class ClientService:
    """Answers what the connections receive."""

    def __init__(self, flow: Flow, config: Config, metrics: Metrics, record: Record) -> None:
        self.is_draining = False
        """Every answer is its connection's last."""
        self.under_way: set[asyncio.Task[Any]] = set()
        """Tasks with a request, also those whose client has left."""
        self.relayed: AbstractSet[object] = frozenset()
        """Requests without a task that wait for the origin (`relay.py`)."""
        self.with_x_cache_status = config.x_cache_status
        self._flow = flow
        self._limits = config.limits
        self._metrics = metrics
        self.record = record

    async def serve(self, incoming: Incoming) -> Finished:
        """What aiohttp calls the handler; runs in a task of its own."""
        task = cast(asyncio.Task[object], asyncio.current_task())
        self.under_way.add(task)
        try:
            return await self._serve(incoming)
        finally:
            self.under_way.discard(task)

    async def _serve(self, incoming: Incoming) -> Finished:
        message = incoming.message
        if isinstance(message, Refusal):
            return await self._refuse(incoming.connection, message, method="")
        connection, idle = incoming.connection, self._limits.body_idle
        turn = Turn.of(connection, message, incoming.payload, body_idle_seconds=idle)
        request = read_request(
            message, body=turn.body, peer=turn.connection.peer, on_interim=turn.send_interim
        )
        if isinstance(request, Refusal):
            return await self._refuse(turn.connection, request, method=message.method)
        asking = self._ask(request)
        may_go_on = await self._answer(turn, request, asking, started_at=time.monotonic())
        return Finished(connection, may_go_on=may_go_on)

    def begin_plain(
        self,
        connection: ClientConnection,
        head: bytes,
        host: bytes,
        serve: Serve,
        *,
        names: FieldNames,
        content: bytes = b"",
        sent: object | None = None,
    ) -> Request:
        """Answer a head that the plain lane has taken: in a task of its own, without aiohttp's request.

        `sent`: it was sent to the origin already, by whom.
        """
        turn = Turn(connection)
        request = read_plain(
            head,
            names,
            host=host,
            peer=connection.peer,
            body=WholeBody(len(content), content) if content else None,
            on_interim=turn.send_interim,
            sent=sent,
        )
        self._begin(connection, self._answer_plain(turn, request, serve))
        return request

    def begin_draining(self, connection: ClientConnection) -> None:
        """The plain lane has answered, but the client is slow to take it."""
        self._begin(connection, self._drain(connection))

    def _begin(self, connection: ClientConnection, answering: Coroutine[Any, Any, None]) -> None:
        connection.begin_plain()
        spawn("plain request", answering, within=self.under_way, loop=connection.loop)

    async def _answer_plain(self, turn: Turn, request: Request, serve: Serve) -> None:
        may_go_on = False
        try:
            asking = self._ask(request, serve)
            may_go_on = await self._answer(turn, request, asking, started_at=turn.connection.asked_at)
        finally:
            turn.connection.end_plain(may_go_on=may_go_on)

    async def _drain(self, connection: ClientConnection) -> None:
        may_go_on = False
        try:
            with suppress(ConnectionError):
                await connection.output.drained()
                may_go_on = True
        finally:
            connection.end_plain(may_go_on=may_go_on)

    async def _answer(
        self, turn: Turn, request: Request, asking: Coroutine[Any, Any, Answer], *, started_at: float
    ) -> bool:
        """Whether another request may follow on the connection."""
        answer = await asking
        if turn.body is not None and turn.body.is_overdue:
            answer = self._blame_slow_client(answer)
        sent, persists = NOTHING_SENT, False
        try:
            sent, persists = await self._send(turn, request, answer)
        finally:
            seconds = time.monotonic() - started_at
            self.record.record(request, answer, seconds=seconds, sent=sent.size, complete=sent.is_complete)
        if answer.tunnel is not None:
            await self._pump(turn.connection, answer.tunnel)
        elif sent.is_complete and not persists and turn.connection.has_more_input:
            await turn.connection.linger()
        return persists

    async def _ask(self, request: Request, serve: Serve | None = None) -> Answer:
        """By `serve`, where it is known that this takes waiting."""
        try:
            if serve is not None:
                return await serve(request)
            plan = self._flow.plan(request)
            return self._flow.try_hit(request, plan) or await self._flow.serve(request, plan)
        except asyncio.CancelledError:
            # Not ours: what the flow waited for was cancelled. This client need not suffer in silence.
            if cast(asyncio.Task[object], asyncio.current_task()).cancelling():
                raise
        except Exception:  # noqa: BLE001 - a defect of ours must cost one answer, not the connection's silence
            _log.exception("request crashed", method=request.method, target=request.target)
        return problem_answer(500, "This request failed; the log says why.", now=time.time())

    def _blame_slow_client(self, answer: Answer) -> Answer:
        """408 instead of the failure that a client caused which stopped sending its body."""
        if answer.failure is None or answer.failure.kind is not FailureKind.CLIENT_BODY:
            return answer
        self._metrics.client_timeouts.add("body")
        return replace(
            Refusal.BODY_TIMEOUT.answer(now=time.time()), route=answer.route, failure=answer.failure
        )

    async def _send(self, turn: Turn, request: Request, answer: Answer) -> tuple[Sent, bool]:
        """What was sent, and whether the connection goes on."""
        turn.has_answer = True
        framing = wire.frame(answer, method=request.method, version=request.version)
        persists = turn.may_persist(request, answer, framing) and not self.is_draining
        head = wire.response_head(
            answer,
            framing,
            turn.persistence(request, answer, persists=persists),
            with_x_cache_status=self.with_x_cache_status,
        )
        # A tunnel's body is the tunnel: to abandon it would be to close it.
        body = answer.body if answer.tunnel is None else b""
        sent = await send(head, body, framing, turn.connection.output)
        return sent, persists and sent.is_complete and answer.tunnel is None

    async def _refuse(self, connection: ClientConnection, refusal: Refusal, *, method: str) -> Finished:
        self._metrics.refused_requests.add(refusal.word)
        answer = refusal.answer(now=time.time())
        framing = wire.frame(answer, method=method, version=(1, 1))
        head = wire.response_head(answer, framing, Persistence.CLOSE, with_x_cache_status=False)
        sent = await send(head, answer.body, framing, connection.output)
        if sent.is_complete:
            await connection.linger()
        return Finished(connection, may_go_on=False)

    async def _pump(self, connection: ClientConnection, origin: Tunnel) -> None:
        await pump(connection.open_tunnel(), origin, idle_seconds=self._limits.tunnel_idle)
