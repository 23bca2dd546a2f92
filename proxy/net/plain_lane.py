"""The plain lane: answers hits in the step in which their bytes arrive, and spares other plain requests the
parser: misses, what passes, and bodies that have come whole with their head.

What it does not take it leaves untouched to the whole lane, which parses with aiohttp. Both ask the same flow
and write heads with the same `wire.py`: a lane never changes an answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aiohttp.web_protocol import RequestHandler
from lru import LRU

from proxy.model import FieldLine, Fields, Hit, Request
from proxy.net import wire
from proxy.net.answering import COPIED_BYTES
from proxy.net.head_reading import HEAD_END
from proxy.net.plain_head import Shape, names_in, read_plain, shape_of
from proxy.net.request_reading import normal_host

if TYPE_CHECKING:
    from proxy.net.client_connection import ClientConnection
    from proxy.net.client_service import ClientService

_H = b"HEAD"[0]
_BEGINNINGS = (b"GET /", b"HEAD /", b"POST /", b"PUT /", b"PATCH /", b"DELETE /")
MOST_CONTENT_BYTES = 64 * 1024
"""Of a request's body that has come with its head; the whole lane lets the client wait from there on."""
MOST_SHAPES = 256
MOST_NAME_BYTES = 1024
"""Of the names in one list: a pattern for all that fits into a head would take 70 ms to make."""
LEARNING_SECONDS = 0.02
"""At most one new list of names in this time: making its pattern takes up to 2 ms."""
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

    def is_not_modified(self, request: Request, hit: Hit) -> bool:
        """May the client keep what it has, by this request's conditions?"""


class Planned(NamedTuple):
    """A plan, and the normal host that it was made for."""

    plan: object
    host: bytes


class Ready(NamedTuple):
    """An answer, and the bytes that it is."""

    answer: Hit
    first: bytes
    """The head, and a short body."""
    rest: bytes
    """A long body: written as it is, so that slow clients of one entry share its memory."""
    size: int
    """Of the body."""


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

    def take(self, connection: ClientConnection, data: bytes) -> bool:
        """Answer, or begin to. False: nothing was done, the whole lane has to look at it.

        The connection is between two requests, and `data` all that has come since the last one.
        """
        head, content = data, b""
        if not data.endswith(HEAD_END):
            head, content = _cut(data)
        # While draining, every answer has to say that it is the last.
        if self._service.is_draining or len(head) > self._max_head or len(content) > MOST_CONTENT_BYTES:
            return False
        started_at = time.monotonic()
        shape = connection.shape
        found = None if shape is None else shape.match(head)
        if found is None:
            shape = connection.shape = self._shape_of(head, started_at)
            found = None if shape is None else shape.match(head)
        if shape is None or found is None:
            return False
        if len(content) != (int(found[shape.length]) if shape.length else 0):
            return False
        try:
            planned = self._planned_for(shape, found, head)
            if planned is None:
                return False
            hit = self._flow.plain_hit(planned.plan)
            ready = None if hit is None else self._ready(hit, shape, found, planned.host)
        except Exception:  # noqa: BLE001 - nothing is sent: the whole lane meets the defect again, and tells it
            return False
        if ready is None:
            self._service.begin_plain(
                connection, head, planned.host, planned.plan, names=shape.names, content=content
            )
        else:
            self._send(ready, connection, head, planned.host, started_at)
        return True

    def _shape_of(self, head: bytes, now: float) -> Shape | None:
        if not head.startswith(_BEGINNINGS):
            return None
        names = names_in(head)
        if sum(map(len, names)) > MOST_NAME_BYTES:
            return None
        if names in self._shapes or now < self._learns_at:
            return self._shapes.get(names)
        self._learns_at = now + LEARNING_SECONDS
        shape = self._shapes[names] = shape_of(names, self._telling)
        return shape

    def _planned_for(self, shape: Shape, found: re.Match[bytes], head: bytes) -> Planned | None:
        """None: there is no host to plan for."""
        key = found.group(1, shape.host)
        known = None if shape.tells else self._planned.get(key)
        return known or self._plan(key, shape, head)

    def _plan(self, key: tuple[bytes, ...], shape: Shape, head: bytes) -> Planned | None:
        line, value = key
        host = normal_host(value.strip(b" "))
        if host is None:
            return None
        if shape.tells:
            return Planned(self._flow.plan(read_plain(head, shape.names, host=host)), host)
        planned = Planned(self._flow.plan(_request(line, host)), host)
        if len(line) + len(value) <= MOST_PLAN_BYTES:
            self._planned[key] = planned
        return planned

    def _ready(self, hit: Hit, shape: Shape, found: re.Match[bytes], host: bytes) -> Ready:
        if shape.conditions:
            conditions = [(name, found[group].strip(b" ")) for group, name in shape.conditions]
            if self._flow.is_not_modified(_request(found[1], host, conditions), hit):
                hit = hit._replace(is_not_modified=True)
        has_body = found[1][0] != _H and not hit.is_not_modified
        body = hit.stored.body if has_body else b""
        with_x = self._service.with_x_cache_status
        if len(body) > COPIED_BYTES:
            return Ready(hit, wire.hit_head(hit, b"", with_x_cache_status=with_x), body, len(body))
        return Ready(hit, wire.hit_head(hit, body, with_x_cache_status=with_x), b"", len(body))

    def _send(
        self, ready: Ready, connection: ClientConnection, head: bytes, host: bytes, started_at: float
    ) -> None:
        answer, first, rest, size = ready
        output, is_complete = connection.output, True
        try:
            output.write(first)
            if rest:
                output.write(rest)
        except ConnectionError:
            is_complete = False
        if output.is_full:
            self._service.begin_draining(connection)
        connection.used_at = ended_at = time.monotonic()
        seconds = ended_at - started_at
        if self._record.count(answer.route, answer.outcome, seconds):
            request = read_plain(head, host=host, peer=connection.peer)
            sent = size if is_complete else 0
            self._record.write_access(request, answer, seconds=seconds, sent=sent, complete=is_complete)


def missing_internals() -> list[str]:
    """What the lane and its connection touch of aiohttp's connection object, and this aiohttp lacks."""
    return [name for name in _TOUCHED if not hasattr(RequestHandler, name)]


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """The head, if its end is there, and what has come behind it."""
    end = data.find(HEAD_END) + len(HEAD_END)
    return (data[:end], data[end:]) if end >= len(HEAD_END) else (data, b"")


def _request(line: bytes, host: bytes, fields: Iterable[FieldLine] = ()) -> Request:
    """What all that is asked for depends on; the fields on which nothing does are left out."""
    method, _, target = line.partition(b" ")
    return Request(method.decode(), target, Fields(fields), host=host)
