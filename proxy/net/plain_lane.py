"""The plain lane: answers hits in the step in which their bytes arrive, and spares other plain requests the
parser: misses, what passes, and bodies that have come whole with their head.

What it does not take it leaves untouched to the whole lane, which parses with aiohttp. Both ask the same flow
and write heads with the same `wire.py`: a lane never changes an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiohttp.web_protocol import RequestHandler
from lru import LRU

from proxy.model import (
    NO_FIELDS,
    NOT_ASKED,
    Entry,
    FieldLine,
    FieldNames,
    Fields,
    Found,
    Hit,
    Request,
)
from proxy.net.head_memo import HeadMemo
from proxy.net.head_reading import HEAD_END
from proxy.net.plain_head import IF_NONE_MATCH, Shape, names_in, read_plain, shape_of
from proxy.net.planned import Planned
from proxy.net.protocols import PlainFlow
from proxy.net.request_reading import normal_host
from proxy.net.standing_hit import AGAIN_SECONDS, MOST_BYTES, Said, Standing, pieces_of
from proxy.net.turns import Turns
from proxy.policy.preconditions import has_tag

if TYPE_CHECKING:
    from proxy.net.client_connection import ClientConnection
    from proxy.net.client_service import ClientService
    from proxy.net.relay import Relay

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


Asked = tuple[Planned, Sequence[FieldLine], FieldNames]
"""What a head asks for, under which conditions, and its names. No class: made for each request."""


class PlainLane:
    """Shared by all connections of the process."""

    def __init__(self, flow: PlainFlow, service: ClientService, *, relay: Relay, max_head: int) -> None:
        self._relay = relay
        self._flow = flow
        self._service = service
        self._record = service.record
        self._max_head = max_head
        self._turns = Turns()
        self._asking = 0
        """Look-ups in L2 under way."""
        self.forget()

    def forget(self) -> None:
        """Other routes are in force: nothing that was learned holds."""
        self._planned: LRU[tuple[bytes, ...], Planned] = LRU(MOST_PLANS)
        self._shapes: LRU[tuple[bytes, ...], Shape | None] = LRU(MOST_SHAPES)
        self._heads: HeadMemo[Asked] = HeadMemo()
        self._telling = self._flow.telling_fields
        self._learns_at = 0.0

    def take(self, connection: ClientConnection, data: bytes) -> bool:
        """Answer, begin to, or let it wait. False: nothing was done, the whole lane has to look at it.

        The connection is between two requests, and `data` all that has come since the last one.
        """
        connection.asked_at = now = monotonic()
        if (self._asking or self._service.under_way or self._service.relayed) and self._turns.is_over(now):
            connection.begin_plain()
            self._turns.add(connection, data)
            return True
        return self.take_now(connection, data, now)

    def begin_draining(self, connection: ClientConnection) -> None:
        """Let it take no request before its client has taken the last answer."""
        self._service.begin_draining(connection)

    def take_now(self, connection: ClientConnection, data: bytes, started_at: float) -> bool:
        """The same, once its turn has come."""
        # While draining, every answer has to say that it is the last.
        if self._service.is_draining:
            return False
        head, content = data, b""
        try:
            # What is known is a head, whole, and nothing behind it: nothing else was ever remembered.
            asked = self._heads.recall(connection, data) if connection.trust >= 0 else None
            if asked is None:
                head, content = _cut(data)
                asked = self._asked(connection, head, content, started_at)
                if asked is None:
                    return False
            planned, held = asked[0], None
            standing = planned.standing
            if standing is not None and self._flow.still_lasts(planned.plan, standing.lasting):
                said = self._said_again(standing, asked)
            else:
                planned.standing, held = None, self._flow.held(planned.plan)
                said = None if held is None else self._said_first(held, asked, started_at)
        except Exception:  # noqa: BLE001 - nothing is sent: the whole lane meets the defect again, and tells it
            return False
        if said is not None:
            self._answer(connection, head, planned, said)
        elif content or not self._ask_l2(connection, head, asked, held):
            self._ask_origin(connection, head, asked, content, is_held=held is not None)
        return True

    def _ask_l2(self, connection: ClientConnection, head: bytes, asked: Asked, held: Any | None) -> bool:
        """False: it has no say."""
        try:
            then = partial(self._answer_from_l2, connection, head, asked)
            is_asked = self._flow.ask_l2(asked[0].plan, held, then)
        except Exception:  # noqa: BLE001 - what is served by the whole flow meets the defect again, and tells it
            return False
        if is_asked:
            self._asking += 1
            connection.begin_plain()
        return is_asked

    def _ask_origin(
        self,
        connection: ClientConnection,
        head: bytes,
        asked: Asked,
        content: bytes = b"",
        *,
        is_held: bool = False,
        found: Found = NOT_ASKED,
    ) -> None:
        """What passes, or what no tier has, in one step; all else by the whole flow."""
        planned, _, names = asked
        if planned.terms is not None:
            if self._relay.pass_on(connection, head, planned, names, content):
                return
        elif not is_held and self._fill(connection, head, asked, found):
            return
        serve = partial(self._flow.serve, plan=planned.plan, found=found)
        self._service.begin_plain(connection, head, planned.host, serve, names=names, content=content)

    def _fill(self, connection: ClientConnection, head: bytes, asked: Asked, found: Found) -> bool:
        """False: nothing is begun."""
        planned, conditions, names = asked
        if conditions or not planned.wants_body:
            return False
        try:
            request = read_plain(head, names, host=planned.host, peer=connection.peer)
            fill = self._flow.begin_fill(planned.plan, request, found)
        except Exception:  # noqa: BLE001 - what is served by the whole flow meets the defect again, and tells it
            return False
        if fill is not None:
            self._relay.fill(connection, head, planned, request, fill)
        return fill is not None

    def _said_first(self, held: Any, asked: Asked, now: float) -> Said | None:
        """Of what L1 holds; None: that does not answer."""
        planned = asked[0]
        hit = self._flow.plain_hit(planned.plan, held)
        standing = planned.standing = None if hit is None else self._stand(planned, hit, now)
        if standing is None:
            return None if hit is None else self._said(hit, asked)
        return self._said_again(standing, asked)

    def _said_again(self, standing: Standing, asked: Asked) -> Said | None:
        """Of a hit that stands."""
        planned, conditions, _ = asked
        if conditions:
            if conditions == standing.kept_by:
                return standing.kept
            if self._may_keep(planned, conditions, standing.hit):
                return standing.keep(conditions, with_x=self._service.with_x_cache_status)
        return standing.whole or self._write(standing, planned)

    def _write(self, standing: Standing, planned: Planned) -> Said:
        with_x = self._service.with_x_cache_status
        return standing.write(wants_body=planned.wants_body, with_x=with_x)

    def _stand(self, planned: Planned, hit: Hit, now: float) -> Standing | None:
        """None: it is asked for too seldom, or too large, to keep its bytes."""
        stored = hit.stored
        if now >= planned.again_until or len(stored.lines) + len(stored.body) > MOST_BYTES:
            planned.again_until = now + AGAIN_SECONDS
            return None
        lasting = self._flow.lasting(planned.plan, hit)
        return None if lasting is None else Standing(hit, lasting, self._record.tally(hit.route, hit.outcome))

    def _answer_from_l2(
        self, connection: ClientConnection, head: bytes, asked: Asked, found: Entry | None
    ) -> None:
        self._asking -= 1
        planned, said = asked[0], None
        # While draining, every answer has to say that it is the last.
        if not self._service.is_draining:
            with suppress(Exception):  # what is served by the whole flow meets the defect again, and tells it
                hit = self._flow.plain_hit_l2(planned.plan, found)
                said = None if hit is None else self._said(hit, asked)
        if said is None:
            self._ask_origin(connection, head, asked, found=found)
            return
        is_complete = self._answer(connection, head, planned, said)
        connection.end_plain(may_go_on=is_complete)

    def _answer(self, connection: ClientConnection, head: bytes, planned: Planned, said: Said) -> bool:
        """False: the client has left."""
        hit, tally, (first, rest, size) = said
        output, is_complete = connection.output, True
        try:
            output.write(first)
            if rest:
                output.write(rest)
        except ConnectionError:
            is_complete, size = False, 0
        connection.used_at = ended_at = monotonic()
        seconds = ended_at - connection.asked_at
        if tally.count(seconds):
            request = read_plain(head, host=planned.host, peer=connection.peer)
            self._record.write_access(request, hit, seconds=seconds, sent=size, complete=is_complete)
        return is_complete

    def _asked(self, connection: ClientConnection, head: bytes, content: bytes, now: float) -> Asked | None:
        """None: the head is not plain, too much has come, or there is no host to plan for."""
        if len(head) > self._max_head or len(content) > MOST_CONTENT_BYTES:
            return None
        shape = connection.shape
        found = None if shape is None else shape.match(head)
        if found is None:
            shape = connection.shape = self._shape_of(head, now)
            found = None if shape is None else shape.match(head)
        if shape is None or found is None:
            return None
        if len(content) != (int(found[shape.length]) if shape.length else 0):
            return None
        key = found.group(1, shape.host)
        planned = (None if shape.tells else self._planned.get(key)) or self._plan(key, shape, head)
        if planned is None:
            return None
        conditions: Sequence[FieldLine] = ()
        if shape.conditions:
            conditions = [(name, found[group].strip(b" ")) for group, name in shape.conditions]
        asked = planned, conditions, shape.names
        if connection.trust >= 0:
            self._heads.consider(connection, head, None if shape.tells or shape.length else asked)
        else:
            connection.trust += 1
        return asked

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

    def _plan(self, key: tuple[bytes, ...], shape: Shape, head: bytes) -> Planned | None:
        """None: there is no host to plan for."""
        line, value = key
        host = normal_host(value.strip(b" "))
        if host is None:
            return None
        request = read_plain(head, shape.names, host=host) if shape.tells else _request(line, host)
        plan, wants_body = self._flow.plan(request), line[0] != _H
        terms = self._flow.pass_terms(plan, request) if wants_body else None
        planned = Planned(plan, host, line, wants_body, terms)
        if not shape.tells and len(line) + len(value) <= MOST_PLAN_BYTES:
            self._planned[key] = planned
        return planned

    def _may_keep(self, planned: Planned, conditions: Sequence[FieldLine], hit: Hit) -> bool:
        # The usual case first: the client names the very tag that is stored, and no request need be built.
        for name, value in conditions:
            if name == IF_NONE_MATCH and has_tag(hit.stored, value):
                return True
        request = _request(planned.line, planned.host, Fields(conditions))
        return self._flow.is_not_modified(request, hit)

    def _said(self, hit: Hit, asked: Asked) -> Said:
        """Of a hit that does not stand."""
        planned, conditions, _ = asked
        if conditions:
            hit.is_not_modified = self._may_keep(planned, conditions, hit)
        with_x = self._service.with_x_cache_status
        pieces = pieces_of(hit, wants_body=planned.wants_body, with_x=with_x)
        return hit, self._record.tally(hit.route, hit.outcome), pieces


def missing_internals() -> list[str]:
    """What the lane and its connection touch of aiohttp's connection object, and this aiohttp lacks."""
    return [name for name in _TOUCHED if not hasattr(RequestHandler, name)]


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """The head, if its end is there, and what has come behind it."""
    if data.endswith(HEAD_END):
        return data, b""  # as mostly; where two heads have come, no shape takes them
    end = data.find(HEAD_END) + len(HEAD_END)
    return (data[:end], data[end:]) if end >= len(HEAD_END) else (data, b"")


def _request(line: bytes, host: bytes, fields: Fields = NO_FIELDS) -> Request:
    """What all that is asked for depends on; the fields on which nothing does are left out."""
    method, _, target = line.partition(b" ")
    return Request(method.decode(), target, fields, host=host)
