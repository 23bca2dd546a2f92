"""Which fields pass to the origin and back, and what we add. Pure: fields in, fields out.

Bytes, order, case and duplicates are kept. What belongs to one connection only is removed in both
directions (RFC 9110 §7.6.1); the framing fields are written anew by whoever writes the body.

Which fields pass follows from their names and from Connection, and most heads have names that came before:
it is found out once for those. What is left for each head is to take values from where they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from email.utils import formatdate
from typing import Any, TypeVar

from lru import LRU

from proxy.config.origin import PRESERVE_HOST
from proxy.config.schema import Forwarded
from proxy.model import Cut, FieldNames, Fields, Placed, Request, ResponseHead, Values, cut_of
from proxy.net.fields import list_members
from proxy.net.line_form import LineForm, line_form
from proxy.net.response_head import ReceivedHead
from proxy.policy.tags import OUR_FIELDS

T = TypeVar("T")

PSEUDONYM = b"sidecache"
"""Our name in Via (RFC 9110 §7.6.3)."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""For one connection only, whether Connection says so or not. We keep no trailers, so we announce none."""

END_TO_END = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"age",
        b"authorization",
        b"cache-control",
        b"cdn-cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"etag",
        b"expires",
        b"forwarded",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-modified",
        b"location",
        b"origin",
        b"pragma",
        b"range",
        b"set-cookie",
        b"surrogate-control",
        b"user-agent",
        b"vary",
        b"via",
        b"www-authenticate",
        b"x-host",
        b"x-http-method-override",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
    }
)
"""Never removed because Connection nominates them: that would be a way to hide from the origin what the key
holds, or from us what the origin forbids."""
_END_TO_END_PREFIX = b"x-forwarded-"

_DROPPED_IN_RESPONSES = HOP_BY_HOP | {b"content-length"}
_NOTHING = frozenset[bytes]()
MOST_CUTS = 256
MOST_OPTION_BYTES = 64
"""Longer values of Connection are read anew each time, so that nobody fills the memory with them."""
_VIA = (b"1.0 " + PSEUDONYM, b"1.1 " + PSEUDONYM)
"""By the minor version that a message came with."""
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
_NO_LINE = (b"", b"")
_HTTP = b"http"
_SWITCHED = 101
_FOR, _HOST, _PROTO = b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"

_Circumstances = tuple[FieldNames, bytes | None, bytes, bool, bool]
"""All that decides which lines the origin gets: names and Connection of the request, the name of the field
that frames its body, whether it asks for an upgrade, and whether a client's address is known."""
_OfResponse = tuple[FieldNames, bytes | None, bool, bool]
"""The same for clients: names and Connection of the response, whether it is a 101, whether Via is added."""
_cuts_of_responses: LRU[_OfResponse, Cut] = LRU(MOST_CUTS)


def nominated(options: bytes | None, keyed: AbstractSet[bytes] = frozenset()) -> frozenset[bytes]:
    """The further fields that Connection, with this value, makes hop-by-hop; `keyed` names cannot be."""
    return _NOTHING if options is None else _nominated(options) - keyed


def _nominated(options: bytes) -> frozenset[bytes]:
    # What is dropped anyhow needs no set of its own: with `keep-alive` that would be one for each message.
    return frozenset(name for name in list_members([options]) if not _is_end_to_end(name)) - HOP_BY_HOP


class RequestForwarding:
    """What the configuration makes of a request's fields; built once."""

    __slots__ = (
        "_appends_peer",
        "_config",
        "_cuts",
        "_dropped",
        "_forms",
        "_host",
        "_keyed",
        "_names_peer",
        "_own_host",
    )

    def __init__(
        self,
        config: Forwarded,
        *,
        host: str,
        authority: bytes,
        keyed: AbstractSet[bytes] = frozenset(),
    ) -> None:
        """`host`: `preserve` or a fixed name; `authority`: the Host for clients that sent none (HTTP/1.0)."""
        rewritten = {_FOR: config.for_, _HOST: config.host, _PROTO: config.proto}
        self._config = config
        self._names_peer = config.for_ in ("append", "set")
        self._appends_peer = config.for_ == "append"
        self._keyed = keyed
        self._host = None if host == PRESERVE_HOST else host.encode()
        self._own_host = self._host or authority
        dropped = HOP_BY_HOP | {b"expect", b"content-length"}
        dropped |= {name for name, mode in rewritten.items() if mode != "pass"}
        self._dropped = dropped if self._host is None else dropped | {b"host"}
        self._cuts: LRU[_Circumstances, Cut] = LRU(MOST_CUTS)
        self._forms: LRU[_Circumstances, LineForm] = LRU(MOST_CUTS)

    def fields(self, request: Request) -> Fields:
        """The fields that the origin gets, framing included."""
        fields = request.fields
        names, (framing, size) = fields.layout, _framing(request)
        addresses = self._addresses(request.peer, fields.combined(_FOR))
        options, upgrade = fields.combined(b"connection"), request.upgrade
        circumstances = names, options, framing, upgrade, bool(addresses)
        cut = self._cuts.get(circumstances) or self._cut(circumstances)
        # In the order of `_lines`.
        values = (
            *fields.sent_values,
            addresses,
            size,
            self._own_host,
            request.scheme,
            _VIA[request.version[1]],
        )
        if upgrade:
            values += (b"Upgrade", fields.combined(b"upgrade") or b"")
        return Fields.of(cut.names, cut.pick(values))

    def plain_lines(self, names: FieldNames, values: Values, *, peer: str, length: int) -> bytes:
        """The same, encoded, of a plain head (`plain_head.py`) with these names and values.

        `length` is that of the body; 0: there is none.
        """
        places = names.places
        given = places.get(_FOR) if self._appends_peer else None
        options = places.get(b"connection")
        addresses = self._addresses(peer, None if given is None else values[given[0]])
        framing, size = (b"Content-Length", b"%d" % length) if length else _NO_LINE
        said = None if options is None else values[options[0]]
        circumstances = names, said, framing, False, bool(addresses)
        lines, pick = self._forms.get(circumstances) or self._form(circumstances)
        return lines % pick((*values, addresses, size))

    def _form(self, circumstances: _Circumstances) -> LineForm:
        _, _, host, scheme, via = _places_behind(circumstances[0], 5)
        known = {host: self._own_host, scheme: _HTTP, via: _VIA[1]}
        return _remember(self._forms, circumstances, line_form(self._lines(*circumstances), known))

    def _cut(self, circumstances: _Circumstances) -> Cut:
        return _remember(self._cuts, circumstances, cut_of(self._lines(*circumstances)))

    def _lines(
        self, names: FieldNames, options: bytes | None, framing: bytes, upgrade: bool, has_addresses: bool
    ) -> list[Placed]:
        addresses, size, host, scheme, via, connection, protocol = _places_behind(names, 7)
        lines = names.placed(self._dropped | nominated(options, self._keyed))
        client_host = names.places.get(b"host")
        if self._host is not None or client_host is None:
            lines.insert(0, (b"Host", host))
        if has_addresses:
            lines.append((b"X-Forwarded-For", addresses))
        if self._config.host == "set" and client_host is not None:
            lines.append((b"X-Forwarded-Host", client_host[0]))
        if self._config.proto == "set":
            lines.append((b"X-Forwarded-Proto", scheme))
        if framing:
            lines.append((framing, size))
        if self._config.via:
            lines.append((b"Via", via))
        if upgrade:
            lines += [(b"Connection", connection), (b"Upgrade", protocol)]
        return lines

    def _addresses(self, peer: str, given: bytes | None) -> bytes:
        """One line, not two: many origins read only the first or the last of several."""
        if not self._names_peer:
            return b""
        if given is None or not self._appends_peer:
            return peer.encode()
        return given + b", " + peer.encode() if peer else given


def response_head(received: ReceivedHead, *, via: bool, now: float) -> ResponseHead:
    """The final head as the rest of the house knows it. `now`: epoch seconds, for a missing Date."""
    fields = received.fields
    names, status = fields.layout, received.status
    circumstances = names, fields.combined(b"connection"), status == _SWITCHED, via
    cut = _cuts_of_responses.get(circumstances) or _cut_of_response(circumstances)
    date = b"" if b"date" in names.places else formatdate(now, usegmt=True).encode()
    values = cut.pick((*fields.sent_values, date, _VIA[not received.is_http_10]))
    return ResponseHead(status, Fields.of(cut.names, values), received.reason)


def response_lines(names: FieldNames, *, via: bool) -> Callable[[Values], bytes] | None:
    """What clients get of the lines of responses with these names, whose Connection says nothing; encoded.

    None: a line is added that depends on the time.
    """
    if b"date" not in names.places:
        return None
    placed = _lines_of_response((names, None, False, via))
    _, via_place = _places_behind(names, 2)
    shown = [line for line in placed if line[0].lower() not in OUR_FIELDS]
    lines, pick = line_form(shown, {via_place: _VIA[1]})
    return lambda values: lines % pick(values)


def response_fields(names: FieldNames, *, via: bool) -> Callable[[Values], Fields] | None:
    """The same, as the rest of the house knows them."""
    if b"date" not in names.places:
        return None
    cut = _cut_of_response((names, None, False, via))
    return lambda values: Fields.of(cut.names, cut.pick((*values, b"", _VIA[1])))


def _cut_of_response(circumstances: _OfResponse) -> Cut:
    return _remember(_cuts_of_responses, circumstances, cut_of(_lines_of_response(circumstances)))


def _lines_of_response(circumstances: _OfResponse) -> list[Placed]:
    names, options, is_switched, has_via = circumstances
    date, via = _places_behind(names, 2)
    dropped = _DROPPED_IN_RESPONSES | nominated(options)
    if is_switched:  # what was switched to: the client must be told
        dropped -= {b"upgrade"}
    lines = names.placed(dropped)
    if b"date" not in names.places:  # RFC 9110 §6.6.1
        lines.append((b"Date", date))
    if has_via:
        lines.append((b"Via", via))
    return lines


def interim_head(received: ReceivedHead) -> ResponseHead:
    """A 1xx head to pass on: nothing is added to it."""
    options = received.fields.combined(b"connection")
    fields = received.fields.without(_DROPPED_IN_RESPONSES | nominated(options))
    return ResponseHead(received.status, fields, received.reason)


def _remember(memory: LRU[Any, T], circumstances: tuple[Any, ...], found: T) -> T:
    names, options, *_ = circumstances
    if not names.is_long and len(options or b"") <= MOST_OPTION_BYTES:
        memory[circumstances] = found
    return found


def _places_behind(names: FieldNames, count: int) -> range:
    """Where values stand that are put behind those of the names."""
    return range(len(names.listed), len(names.listed) + count)


def _is_end_to_end(name: bytes) -> bool:
    return name in END_TO_END or name.startswith(_END_TO_END_PREFIX)


def _framing(request: Request) -> tuple[bytes, bytes]:
    """How long the body is. An empty one is stated where an origin may ask for it (RFC 9110 §8.6)."""
    if request.body is None:
        is_stated = request.method in _WITH_BODY or b"content-length" in request.fields
        return (b"Content-Length", b"0") if is_stated else _NO_LINE
    if request.body.length is None:
        return b"Transfer-Encoding", b"chunked"
    return b"Content-Length", b"%d" % request.body.length
