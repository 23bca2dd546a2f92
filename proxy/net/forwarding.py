"""Which fields pass to the origin and back, and what we add. Pure: fields in, fields out.

Bytes, order, case and duplicates are kept. What belongs to one connection only is removed in both
directions (RFC 9110 §7.6.1); the framing fields are written anew by whoever writes the body.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from email.utils import formatdate
from functools import lru_cache

from proxy.config.origin import PRESERVE_HOST
from proxy.config.schema import Forwarded
from proxy.model import FieldLine, Fields, Request, ResponseHead
from proxy.net.fields import list_members
from proxy.net.response_head import ReceivedHead

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
_USUAL_BYTES = 64
"""Longer values of Connection are read anew each time, so that nobody fills the memory with them."""
_VIA = (b"1.0 " + PSEUDONYM, b"1.1 " + PSEUDONYM)
"""By the minor version that a message came with."""
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
_FOR, _HOST, _PROTO = b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"


def nominated(fields: Fields, keyed: AbstractSet[bytes] = frozenset()) -> frozenset[bytes]:
    """The further fields that Connection makes hop-by-hop; `keyed` names cannot be."""
    options = fields.combined(b"connection")
    if options is None:
        return _NOTHING
    names = (_usually_nominated if len(options) <= _USUAL_BYTES else _nominated)(options)
    return names - keyed if names else names


def _nominated(options: bytes) -> frozenset[bytes]:
    # What is dropped anyhow needs no set of its own: with `keep-alive` that would be one for each message.
    return frozenset(name for name in list_members([options]) if not _is_end_to_end(name)) - HOP_BY_HOP


# Nearly always `keep-alive` or `close`.
_usually_nominated = lru_cache(maxsize=256)(_nominated)


class RequestForwarding:
    """What the configuration makes of a request's fields; built once."""

    __slots__ = ("_appends_peer", "_config", "_dropped", "_host", "_keyed", "_names_peer", "_own_host")

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

    def fields(self, request: Request) -> Fields:
        """The fields that the origin gets, framing included."""
        fields = request.fields
        kept = fields.without(self._dropped)
        if hidden := nominated(fields, self._keyed):
            kept = kept.without(hidden)
        if self._host is not None or b"host" not in fields:
            kept = Fields(((b"Host", self._own_host), *kept.lines))
        added = self._about_client(request)
        added += _framing(request)
        if self._config.via:
            added.append((b"Via", _VIA[request.version[1]]))
        if request.upgrade:
            added += [(b"Connection", b"Upgrade"), (b"Upgrade", fields.combined(b"upgrade") or b"")]
        return kept.plus(added)

    def _about_client(self, request: Request) -> list[FieldLine]:
        lines: list[FieldLine] = []
        if addresses := self._addresses(request):
            lines.append((b"X-Forwarded-For", addresses))
        host = request.fields.first(b"host")
        if self._config.host == "set" and host is not None:
            lines.append((b"X-Forwarded-Host", host))
        if self._config.proto == "set":
            lines.append((b"X-Forwarded-Proto", request.scheme))
        return lines

    def _addresses(self, request: Request) -> bytes:
        """One line, not two: many origins read only the first or the last of several."""
        if not self._names_peer:
            return b""
        peer = request.peer.encode()
        given = request.fields.combined(_FOR) if self._appends_peer else None
        if given is None:
            return peer
        return given + b", " + peer if peer else given


def response_head(received: ReceivedHead, *, via: bool, now: float) -> ResponseHead:
    """The final head as the rest of the house knows it. `now`: epoch seconds, for a missing Date."""
    fields = received.fields
    dropped = _DROPPED_IN_RESPONSES
    if hidden := nominated(fields):
        dropped |= hidden
    if received.status == 101:  # what was switched to: the client must be told
        dropped -= {b"upgrade"}
    added: list[FieldLine] = []
    if b"date" not in fields:  # RFC 9110 §6.6.1
        added.append((b"Date", formatdate(now, usegmt=True).encode()))
    if via:
        added.append((b"Via", _VIA[not received.is_http_10]))
    return ResponseHead(received.status, fields.without(dropped).plus(added), received.reason)


def interim_head(received: ReceivedHead) -> ResponseHead:
    """A 1xx head to pass on: nothing is added to it."""
    fields = received.fields.without(_DROPPED_IN_RESPONSES | nominated(received.fields))
    return ResponseHead(received.status, fields, received.reason)


def _is_end_to_end(name: bytes) -> bool:
    return name in END_TO_END or name.startswith(_END_TO_END_PREFIX)


def _framing(request: Request) -> list[FieldLine]:
    """How long the body is. An empty one is stated where an origin may ask for it (RFC 9110 §8.6)."""
    if request.body is None:
        is_stated = request.method in _WITH_BODY or b"content-length" in request.fields
        return [(b"Content-Length", b"0")] if is_stated else []
    if request.body.length is None:
        return [(b"Transfer-Encoding", b"chunked")]
    return [(b"Content-Length", b"%d" % request.body.length)]
