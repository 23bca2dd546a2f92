"""The plain lane: answers hits in the step in which their bytes arrive, and spares plain misses the parser.

What it does not take it leaves untouched to the whole lane, which parses with aiohttp. Both ask the same flow
and write heads with the same `wire.py`: a lane never changes an answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from aiohttp.web_protocol import RequestHandler
from lru import LRU

from proxy.model import Answer, FieldLine, Fields, Hit, Request
from proxy.net import wire
from proxy.net.answering import COPIED_BYTES
from proxy.net.plain_head import Shape, names_in, read_plain, shape_of
from proxy.net.request_reading import normal_host
from proxy.net.wire import End, Persistence

if TYPE_CHECKING:
    from proxy.net.client_connection import ClientConnection
    from proxy.net.client_service import ClientService

_H = b"HEAD"[0]
MOST_SHAPES = 256
LEARNING_SECONDS = 0.02
"""At most one new list of names in this time: making its pattern takes up to a millisecond."""
MOST_PLANS = 4096
MOST_PLAN_BYTES = 512
"""Longer targets are planned anew each time: together this bounds what is remembered to some megabytes."""

_TOUCHED = (
    "_force_close",
    "_keepalive_handle",
    "_keepalive_timeout",
    "_messages",
    "_next_keepalive_close_time",
    "_process_keepalive",
    "_waiter",
    "transport",
)


class PlainFlow(Protocol):
    """What the lane wants of the engine."""

    @property
    def telling_fields(self) -> AbstractSet[bytes]:
        """The request fields (lower case) that a plan may depend on, beside method, target and host."""

    def plan(self, request: Request) -> Any:
        """What the request asks for, as far as it depends neither on the time nor on what is stored."""

    def plain_hit(self, plan: Any) -> Hit | None:
        """What is stored for it, if the whole of that answers it now."""

    def answer_hit(self, request: Request, hit: Hit) -> Answer:
        """The same as this request's conditions want it."""


class Planned(NamedTuple):
    """A plan, and the normal host that it was made for."""

    plan: object
    host: bytes


class PlainLane:
    """Shared by all connections of the process."""

    def __init__(self, flow: PlainFlow, service: ClientService, *, max_head: int) -> None:
        self._flow = flow
        self._service = service
        self._record = service.record
        self._max_head = max_head
        self.forget()

    def forget(self) -> None:
        """Other routes are in force: nothing that was learned holds."""
        self._planned: LRU[tuple[bytes, ...], Planned] = LRU(MOST_PLANS)
        self._shapes: LRU[tuple[bytes, ...], Shape | None] = LRU(MOST_SHAPES)
        self._telling = self._flow.telling_fields
        self._learns_at = 0.0

    def take(self, connection: ClientConnection, head: bytes) -> bool:
        """Answer, or begin to. False: nothing was done, the whole lane has to look at it.

        The connection is between two requests, and `head` all that has come since the last one.
        """
        if self._service.is_draining:  # every answer has to say that it is the last
            return False
        started_at = time.monotonic()
        shape = connection.shape
        found = None if shape is None else shape.match(head)
        if found is None:
            shape = connection.shape = self._shape_of(head, started_at)
            found = None if shape is None else shape.match(head)
        if shape is None or found is None:
            return False
        key = found.group(1, shape.host)
        planned = self._planned.get(key) or self._plan(key, shape, head)
        if planned is None:
            return False
        hit = self._flow.plain_hit(planned.plan)
        if hit is None:
            self._service.begin_plain(connection, head, planned.host, planned.plan)
        elif shape.conditions:
            conditions = [(name, found[group].strip(b" ")) for group, name in shape.conditions]
            request = _request(key[0], planned.host, conditions)
            self._answer_conditionally(connection, head, request, hit, started_at)
        else:
            self._answer(connection, head, hit, started_at)
        return True

    def _shape_of(self, head: bytes, now: float) -> Shape | None:
        if len(head) > self._max_head or not head.startswith((b"GET /", b"HEAD /")):
            return None
        names = names_in(head)
        if names in self._shapes or now < self._learns_at:
            return self._shapes.get(names)
        self._learns_at = now + LEARNING_SECONDS
        shape = self._shapes[names] = shape_of(names, self._telling)
        return shape

    def _plan(self, key: tuple[bytes, ...], shape: Shape, head: bytes) -> Planned | None:
        line, value = key
        host = normal_host(value.strip(b" "))
        if host is None:
            return None
        if shape.tells:
            return Planned(self._flow.plan(read_plain(head, host=host)), host)
        planned = Planned(self._flow.plan(_request(line, host)), host)
        if len(line) + len(value) <= MOST_PLAN_BYTES:
            self._planned[key] = planned
        return planned

    def _answer(self, connection: ClientConnection, head: bytes, hit: Hit, started_at: float) -> None:
        body = b"" if head[0] == _H else hit.stored.body
        with_x = self._service.with_x_cache_status
        is_long = len(body) > COPIED_BYTES
        first = wire.hit_head(hit, b"" if is_long else body, with_x_cache_status=with_x)
        is_sent = _write(connection, first, body if is_long else b"")
        self._record_answer(connection, head, hit, len(body) if is_sent else -1, started_at)

    def _answer_conditionally(
        self, connection: ClientConnection, head: bytes, request: Request, hit: Hit, started_at: float
    ) -> None:
        answer = self._flow.answer_hit(request, hit)
        framing = wire.frame(answer, method=request.method, version=request.version)
        with_x = self._service.with_x_cache_status
        answer_head = wire.response_head(answer, framing, Persistence.DEFAULT, with_x_cache_status=with_x)
        body = b"" if framing.end is End.NO_BODY else cast(bytes, answer.body)
        is_sent = _write(connection, answer_head + body, b"")
        self._record_answer(connection, head, answer, len(body) if is_sent else -1, started_at)

    def _record_answer(
        self, connection: ClientConnection, head: bytes, answer: Answer | Hit, sent: int, started_at: float
    ) -> None:
        """`sent` body bytes; -1: the client has left."""
        if connection.output.is_full:
            self._service.begin_draining(connection)
        connection.used_at = ended_at = time.monotonic()
        seconds = ended_at - started_at
        if self._record.count(answer.route, answer.outcome, seconds):
            request = read_plain(head, host=b"", peer=connection.peer)
            self._record.write_access(request, answer, seconds=seconds, sent=max(sent, 0), complete=sent >= 0)


def missing_internals() -> list[str]:
    """What the lane and its connection touch of aiohttp's connection object, and this aiohttp lacks."""
    return [name for name in _TOUCHED if not hasattr(RequestHandler, name)]


def _write(connection: ClientConnection, first: bytes, second: bytes) -> bool:
    try:
        connection.output.write(first)
        if second:
            connection.output.write(second)
    except ConnectionError:
        return False
    return True


def _request(line: bytes, host: bytes, fields: Iterable[FieldLine] = ()) -> Request:
    """What all that is asked for depends on; the fields on which nothing does are left out."""
    method, _, target = line.partition(b" ")
    return Request(method.decode(), target, Fields(fields), host=host)
