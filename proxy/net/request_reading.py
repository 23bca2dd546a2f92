"""From what aiohttp's parser made of a head to `model.Request`, or to the refusal.

The rules that llhttp does not have (pitfalls of its leniency), the Host field's grammar, and the one
normalisation of a request: its host. Pure: no sockets, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache

from aiohttp.http_exceptions import BadHttpMethod
from aiohttp.http_parser import RawRequestMessage

from proxy.model import Fields, InboundBody, Request, ResponseHead
from proxy.net.fields import list_members
from proxy.net.refusals import Refusal

OnInterim = Callable[[ResponseHead], Awaitable[None]]

HTTP_10 = (1, 0)
CONTINUE = b"100-continue"

_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}
_LARGEST_PORT = 65535
MOST_HOST_BYTES = 128
"""Longer ones are read anew each time, so that nobody fills the memory with them."""
_HOST = re.compile(
    rb"(\[[0-9A-Fa-f:.]{2,45}\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})++)"
    rb"(?::([0-9]{0,5}))?"
)
_OTHER_HTTP = frozenset({b"h2c", b"h2", b"http", b"tls"})
"""Protocols behind which requests would pass that this proxy never sees; declined by ignoring them."""


def read_request(
    message: RawRequestMessage,
    *,
    body: InboundBody | None,
    peer: str,
    on_interim: OnInterim | None = None,
    scheme: bytes = b"http",
) -> Request | Refusal:
    """The request, fields as received; its host normalised, its target untouched."""
    fields = Fields(message.raw_headers)
    refusal = _first_refusal(message, fields, body)
    if refusal is not None:
        return refusal
    host = _host_of(message, fields, scheme)
    if host is None:
        return Refusal.HOST
    return Request(
        method=message.method,
        target=message.path.encode("ascii"),
        fields=fields,
        scheme=scheme,
        host=host,
        version=message.version,
        peer=peer,
        body=body,
        upgrade=_is_upgrade(message, fields),
        on_interim=on_interim if message.version > HTTP_10 else None,
    )


def refusal_of(error: BaseException) -> Refusal:
    """What aiohttp's parser found wrong."""
    if isinstance(error, BadHttpMethod):
        return Refusal.METHOD
    return Refusal.HOST if "'Host'" in str(error) else Refusal.MALFORMED


def normal_host(value: bytes, *, scheme: bytes = b"http") -> bytes | None:
    """Host in lower case without default port and trailing dot; None: no `uri-host [":" port]`."""
    return _usual_host(value, scheme) if len(value) <= MOST_HOST_BYTES else _normal_host(value, scheme)


def _normal_host(value: bytes, scheme: bytes) -> bytes | None:
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    host, port = match.groups()
    host = host.lower().removesuffix(b".")
    if not host or (port and int(port) > _LARGEST_PORT):
        return None
    if not port or port == _DEFAULT_PORTS[scheme]:
        return host
    return host + b":" + port


# Few hosts are asked for: a quarter of the time.
_usual_host = lru_cache(maxsize=256)(_normal_host)


def expects_continue(message: RawRequestMessage) -> bool:
    """Does the client wait for 100 (Continue) before it sends the body? HTTP/1.0 clients cannot."""
    return "Expect" in message.headers and message.version > HTTP_10


def _first_refusal(message: RawRequestMessage, fields: Fields, body: InboundBody | None) -> Refusal | None:
    refusals = (rule(message, fields, body) for rule in _RULES)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _target_rule(message: RawRequestMessage, _fields: Fields, _body: InboundBody | None) -> Refusal | None:
    path = message.path
    is_asterisk = path == "*" and message.method == "OPTIONS"
    return None if is_asterisk or (path.startswith("/") and "#" not in path) else Refusal.TARGET


def _transfer_coding_rule(
    message: RawRequestMessage, fields: Fields, _body: InboundBody | None
) -> Refusal | None:
    if b"transfer-encoding" not in fields:
        return None
    if message.version <= HTTP_10:  # RFC 9112 §6.1: a faulty framing, never to be believed
        return Refusal.FRAMING
    codings = [value.lower() for value in fields.values(b"transfer-encoding")]
    return None if codings == [b"chunked"] and message.chunked else Refusal.TRANSFER_CODING


def _expectation_rule(
    message: RawRequestMessage, fields: Fields, _body: InboundBody | None
) -> Refusal | None:
    if not expects_continue(message):
        return None
    is_known = [value.lower() for value in fields.values(b"expect")] == [CONTINUE]
    return None if is_known else Refusal.EXPECTATION


def _upgrade_rule(message: RawRequestMessage, fields: Fields, body: InboundBody | None) -> Refusal | None:
    # CVE-2026-69243: servers differ on where the body ends and the new protocol begins.
    return Refusal.UPGRADE_WITH_BODY if body is not None and _is_upgrade(message, fields) else None


_RULES = (_target_rule, _transfer_coding_rule, _expectation_rule, _upgrade_rule)


def _is_upgrade(message: RawRequestMessage, fields: Fields) -> bool:
    """May the connection leave HTTP? RFC 9110 §7.8: not with HTTP/1.0, where Upgrade is ignored."""
    if not message.upgrade or message.version <= HTTP_10:
        return False
    protocols = {member.partition(b"/")[0] for member in list_members(fields.values(b"upgrade"))}
    return bool(protocols) and not protocols & _OTHER_HTTP


def _host_of(message: RawRequestMessage, fields: Fields, scheme: bytes) -> bytes | None:
    values = fields.values(b"host")
    if not values and message.version <= HTTP_10:
        return b""
    return normal_host(values[0], scheme=scheme) if len(values) == 1 else None
