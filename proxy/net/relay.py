"""Plain requests that pass, and their answers, in the steps that read them: no task, and no message is made.

For a request that has come whole, while a place and a connection are free, and an answer that is whole in the
first read and of a form that was learned, as nearly all of an API are. What else comes is the whole flow's,
which takes the request over where it is. Which fields pass says `forwarding.py`, and `wire.py` how heads are
written, as for all. A pass takes 35 us of CPU instead of 57, and one with a body of 2 KiB half as much.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import structlog
from lru import LRU
from msgspec import Struct
from msgspec.structs import replace

from proxy.model import Answer, FieldNames, PassTerms, Values
from proxy.net import response_head, wire
from proxy.net.client_connection import ClientConnection
from proxy.net.client_service import ClientService
from proxy.net.exchange import Exchange
from proxy.net.forwarding import response_lines
from proxy.net.head_reading import HEAD_END
from proxy.net.origin import OriginClient
from proxy.net.plain_head import read_plain, values_in
from proxy.net.planned import Planned
from proxy.net.sent_plain import SentPlain

MOST_FORMS = 1024
"""Of answers, by status, names and terms."""
MOST_REASON_BYTES = 64
"""Longer ones are the whole flow's, so that nobody fills the memory with them."""
_FIRST_FINAL_STATUS = 200
_KEEP_ALIVE = b"keep-alive"
_HTTP_10 = b"0"

_log = structlog.get_logger("sidecache.requests")


class _Form(Struct, gc=False, eq=False):
    """How answers of one status, with one list of names, go to clients."""

    head: bytes
    """A format for the lines, the body's length and the body."""
    lines: Callable[[Values], bytes]
    length: int
    """Where Content-Length stands."""
    options: int | None
    """Where Connection stands."""


class Relay:
    """Shared by all connections of the process."""

    def __init__(self, origin: OriginClient, service: ClientService) -> None:
        self.origin = origin
        self.service = service
        self._under_way: set[_Relayed] = set()
        service.relayed = self._under_way
        self.forget()

    def forget(self) -> None:
        """Other settings are in force: by these the whole flow looks at the answers to what is under way."""
        self.hand_over()
        self._forms: LRU[object, _Form | None] = LRU(MOST_FORMS)

    def begin(
        self, client: ClientConnection, head: bytes, planned: Planned, names: FieldNames, content: bytes
    ) -> bool:
        """Send it to the origin. False: it would have to wait, and nothing was done."""
        relayed = _Relayed(self, client, head, planned, names, content)
        values = values_in(head)
        if not self.origin.try_send(relayed, planned.line, names, values, peer=client.peer, content=content):
            return False
        client.begin_plain()
        self._under_way.add(relayed)
        return True

    def hand_over(self) -> None:
        """To the whole flow, all that is under way."""
        for relayed in tuple(self._under_way):
            relayed.hand_over()

    def ended(self, relayed: _Relayed) -> None:
        """It was answered, or is the whole flow's."""
        self._under_way.discard(relayed)

    def form_of(self, status: bytes, reason: bytes, names: FieldNames, terms: PassTerms) -> _Form | None:
        """None: such answers are the whole flow's."""
        if len(reason) > MOST_REASON_BYTES:
            return None
        key = status, reason, names, terms
        if key in self._forms:
            return self._forms[key]
        form = self._form(int(status), reason, names, terms)
        if not names.is_long:
            self._forms[key] = form
        return form

    def _form(self, status: int, reason: bytes, names: FieldNames, terms: PassTerms) -> _Form | None:
        places = names.places
        lengths, options = places.get(b"content-length", ()), places.get(b"connection", ())
        lines = response_lines(names, via=self.origin.has_via)
        has_body = status >= _FIRST_FINAL_STATUS and status not in response_head.NO_BODY_STATUSES
        is_counted = len(lengths) == 1 and b"transfer-encoding" not in places
        if not (has_body and is_counted) or lines is None or len(options) > 1:
            return None
        if not terms.watched.isdisjoint(places):
            return None
        said = replace(terms.cache_status, forward_status=status)
        word = terms.outcome.nginx_word if self.service.with_x_cache_status else ""
        head = wire.passed_form(status, reason, said, word)
        return _Form(head, lines, lengths[0], options[0] if options else None)


class _Relayed(SentPlain):
    """One request on its way; receives what its connection to the origin gets."""

    __slots__ = ("_client", "_content", "_head", "_names", "_planned", "_relay")

    def __init__(  # noqa: PLR0917 - the slots
        self,
        relay: Relay,
        client: ClientConnection,
        head: bytes,
        planned: Planned,
        names: FieldNames,
        content: bytes,
    ) -> None:
        super().__init__()
        self._relay = relay
        self._client = client
        self._head = head
        self._planned = planned
        self._names = names
        self._content = content

    def hand_over(self) -> Exchange:
        """The whole flow goes on with it."""
        self._relay.ended(self)
        planned, names, content = self._planned, self._names, self._content
        request = self._relay.service.begin_plain(
            self._client, self._head, planned.host, planned.plan, names=names, content=content, sent=self
        )
        return self._relay.origin.take_over(self, request)

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

    def _answer(self, data: bytes) -> bool:
        """False: this is no whole answer of a form that is known, and nothing was done."""
        relay, client, terms = self._relay, self._client, self._planned.terms
        size = data.find(HEAD_END) + len(HEAD_END)
        known = response_head.forms.read(data[:size])
        # While draining, every answer has to say that it is the last. And who is slow is waited for.
        if known is None or terms is None or relay.service.is_draining or client.output.is_behind:
            return False
        names, (minor, status, reason), values = known
        form, length = relay.form_of(status, reason or b"", names, terms), len(data) - size
        if form is None or minor == _HTTP_10 or values[form.length] != b"%d" % length:
            return False
        if form.options is not None and values[form.options].lower() != _KEEP_ALIVE:
            return False
        answer = form.head % (form.lines(values), length, data[size:])
        if not relay.origin.end(self, int(status), route=terms.route):
            return False
        relay.ended(self)
        may_go_on = False
        try:
            may_go_on = self._send(answer, int(status), length, terms)
        except Exception:  # noqa: BLE001 - a defect of ours is not the origin's: its connection serves others by now
            _log.exception("a relayed answer crashed")
        finally:
            client.end_plain(may_go_on=may_go_on)
        return True

    def _send(self, answer: bytes, status: int, length: int, terms: PassTerms) -> bool:
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
