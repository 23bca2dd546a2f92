"""One request that is relayed: sent without a task, answered in the step that reads the origin's answer."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from proxy.model import Answer, FieldNames, Fields, RelayTerms, Request, ResponseHead, Values
from proxy.net import response_head, wire
from proxy.net.client_connection import ClientConnection
from proxy.net.client_service import Serve
from proxy.net.exchange import Exchange
from proxy.net.head_reading import HEAD_END
from proxy.net.plain_head import read_plain, values_in
from proxy.net.planned import Planned
from proxy.net.protocols import Fill
from proxy.net.relay_forms import Form
from proxy.net.sent_plain import SentPlain

if TYPE_CHECKING:
    from proxy.net.relay import Relay

_KEEP_ALIVE = b"keep-alive"
_HTTP_10 = b"0"

_log = structlog.get_logger("sidecache.requests")


class Relayed(SentPlain):
    """Receives what its connection to the origin gets."""

    __slots__ = ("_client", "_content", "_head", "_names", "_planned", "_relay", "_terms")

    def __init__(  # noqa: PLR0917 - the slots
        self,
        relay: Relay,
        client: ClientConnection,
        head: bytes,
        planned: Planned,
        names: FieldNames,
        content: bytes,
        terms: RelayTerms | None,
    ) -> None:
        self.is_sent = False
        self._relay = relay
        self._client = client
        self._head = head
        self._planned = planned
        self._names = names
        self._content = content
        self._terms = terms

    @abstractmethod
    def try_send(self) -> bool:
        """Now. False: it would have to wait, and nothing was done."""

    @property
    @abstractmethod
    def _serve(self) -> Serve:
        """How the whole flow goes on with it."""

    @abstractmethod
    def _lines(
        self, form: Form, status: bytes, reason: bytes, values: Values, content: bytes
    ) -> tuple[bytes, bytes] | None:
        """What the client gets of the lines, and that of the age. None: more is to be looked at."""

    def hand_over(self) -> Exchange:
        """The whole flow goes on with it, where it is."""
        return self._relay.origin.take_over(self, self._begin_whole())

    def on_bytes(self, data: bytes) -> None:
        """From the connection, as all below."""
        if not self._answer(data):
            self.hand_over().on_bytes(data)

    def on_eof(self) -> bool:
        """No answer will come."""
        return self.hand_over().on_eof()

    def on_lost(self, error: Exception | None) -> None:
        """The same, in disorder."""
        self.hand_over().on_lost(error)

    def on_deadline(self) -> None:
        """Nothing has come in time."""
        self.hand_over().on_deadline()

    def shut_down(self) -> None:
        """For the origin client: the process is going away."""
        self.hand_over().shut_down()

    def _begin_whole(self) -> Request:
        self._relay.under_way.discard(self)
        host, names, content = self._planned.host, self._names, self._content
        sent = self if self.is_sent else None
        return self._relay.service.begin_plain(
            self._client, self._head, host, self._serve, names=names, content=content, sent=sent
        )

    def _answer(self, data: bytes) -> bool:
        """False: this is no whole answer of a form that is known, and nothing was done."""
        relay, client, terms = self._relay, self._client, self._terms
        size = data.find(HEAD_END) + len(HEAD_END)
        known = response_head.forms.read(data[:size])
        # While draining, every answer has to say that it is the last. And who is slow is waited for.
        if known is None or terms is None or relay.service.is_draining or client.output.is_behind:
            return False
        names, (minor, status, reason), values = known
        form, length = relay.forms.of(status, reason or b"", names, terms), len(data) - size
        if form is None or minor == _HTTP_10 or values[form.length] != b"%d" % length:
            return False
        if form.options is not None and values[form.options].lower() != _KEEP_ALIVE:
            return False
        # What is stored is stored first: until then the whole flow can still take over all of it.
        seconds, content = relay.origin.seconds_waited(self), data[size:]
        lines = None if seconds is None else self._lines(form, status, reason or b"", values, content)
        if seconds is None or lines is None:
            return False
        relay.origin.end(self, int(status), route=terms.route, seconds=seconds)
        relay.under_way.discard(self)
        self._tell(form.head % (*lines, length, content), int(status), length, terms)
        return True

    def _tell(self, answer: bytes, status: int, length: int, terms: RelayTerms) -> None:
        may_go_on = False
        try:
            may_go_on = self._send(answer, status, length, terms)
        except Exception:  # noqa: BLE001 - a defect of ours is not the origin's: its connection serves others by now
            _log.exception("a relayed answer crashed")
        finally:
            self._client.end_plain(may_go_on=may_go_on)

    def _send(self, answer: bytes, status: int, length: int, terms: RelayTerms) -> bool:
        """Whether the client is still there."""
        client, is_complete = self._client, True
        try:
            client.output.write(answer)
        except ConnectionError:
            is_complete = False
        record, seconds = self._relay.service.record, monotonic() - client.asked_at
        if record.tally(terms.route, terms.outcome).count(seconds):
            request = read_plain(self._head, self._names, host=self._planned.host, peer=client.peer)
            told = Answer(status, b"", b"", b"", terms.outcome, terms.cache_status, route=terms.route)
            sent = length if is_complete else 0
            record.write_access(request, told, seconds=seconds, sent=sent, complete=is_complete)
        return is_complete


class Passed(Relayed):
    """One whose answer goes to its client as it is, and nowhere else."""

    __slots__ = ()

    def try_send(self) -> bool:
        """Now. False: it would have to wait, and nothing was done."""
        values, peer = values_in(self._head), self._client.peer
        return self._relay.origin.try_send(
            self, self._planned.line, self._names, values, peer=peer, content=self._content
        )

    @property
    def _serve(self) -> Serve:
        return partial(self._relay.flow.serve, plan=self._planned.plan)

    def _lines(
        self, form: Form, status: bytes, reason: bytes, values: Values, content: bytes
    ) -> tuple[bytes, bytes]:
        return form.lines(values), b""


class Filled(Relayed):
    """One whose answer is stored."""

    __slots__ = ("_fill", "_values")

    def __init__(  # noqa: PLR0917 - the slots
        self,
        relay: Relay,
        client: ClientConnection,
        head: bytes,
        planned: Planned,
        fields: Fields,
        fill: Fill,
    ) -> None:
        super().__init__(relay, client, head, planned, fields.layout, b"", fill.terms)
        self._values = fields.sent_values
        self._fill = fill

    def begin(self) -> None:
        """Send it as soon as it may be, or the whole flow does."""
        if self._fill.is_ready:
            self._send_or_serve()
            return
        try:
            self._fill.claim(self._send_or_serve)
        except Exception:  # noqa: BLE001 - a defect of ours: others may wait for its end
            _log.exception("asking for a lease crashed")
            if self in self._relay.under_way:
                self._begin_whole()

    def _send_or_serve(self) -> None:
        is_sent = False
        try:
            is_sent = self._fill.is_ready and self.try_send()
        except Exception:  # noqa: BLE001 - a defect of ours: others may wait for its end
            _log.exception("sending a miss crashed")
        if not is_sent:
            self._begin_whole()

    def try_send(self) -> bool:
        """Now. False: it would have to wait, and nothing was done."""
        line, peer = b"GET %b" % self._fill.target, self._client.peer
        return self._relay.origin.try_send(self, line, self._names, self._values, peer=peer, content=b"")

    @property
    def _serve(self) -> Serve:
        return self._fill.serve

    def _begin_whole(self) -> Request:
        request = super()._begin_whole()
        self._fill.go_on(request)  # now: the task that answers may be cancelled before its first step
        return request

    def _lines(
        self, form: Form, status: bytes, reason: bytes, values: Values, content: bytes
    ) -> tuple[bytes, bytes] | None:
        head = ResponseHead(int(status), form.fields(values), reason)
        try:
            taken = self._fill.take(self._relay.origin.received(self, head, content))
        except Exception:  # noqa: BLE001 - a defect of ours: others may wait for its end
            _log.exception("storing an answer crashed")
            return None
        if taken is None:
            return None
        lines, age = taken
        return lines, b"" if age is None else wire.age_line(age)
