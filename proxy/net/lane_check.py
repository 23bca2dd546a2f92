"""Do both lanes read alike? Asked once at start: a few plain heads through a pattern and aiohttp's parser.

The tests ask the same of many more heads, but of the aiohttp that they ran with.
"""

from __future__ import annotations

import asyncio

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.model import Request
from proxy.net.head_reading import MAX_FIELDS
from proxy.net.plain_head import names_in, read_plain, shape_of
from proxy.net.request_reading import normal_host, read_request

_BUFFER_BYTES = 64 * 1024

HEADS = (
    b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
    b"GET /a-z_A.Z~0/9%2F?a=1&b=2+3,4;5:6@7!8$9'(*) HTTP/1.1\r\nhost: SHOP:8080\r\naccept: */*\r\n\r\n",
    b'HEAD //x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nIf-None-Match: W/"1", "2"\r\n\r\n',
    b"GET /b HTTP/1.1\r\nX_Y:  padded  \r\nHost: a\r\nCookie: a=b; c=d\r\nEmpty: \r\n\r\n",
    b"GET /c HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\nHost: a\r\nAuthorization: Basic eA==\r\n\r\n",
)


def disagreement(loop: asyncio.AbstractEventLoop) -> bytes | None:
    """A head that the two read differently, or that one does not take; None: there is none."""
    for head in HEADS:
        parsed = _parsed(head, loop)
        if parsed is None or parsed != _matched(head):
            return head
    return None


def _matched(head: bytes) -> Request | None:
    """What the plain lane reads."""
    shape = shape_of(names_in(head), frozenset())
    found = None if shape is None else shape.match(head)
    if shape is None or found is None:
        return None
    host = normal_host(found[shape.host].strip(b" "))
    return None if host is None else read_plain(head, host=host)


def _parsed(head: bytes, loop: asyncio.AbstractEventLoop) -> Request | None:
    """What the whole lane reads, where it is one request without a body and the connection goes on."""
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, _BUFFER_BYTES, max_headers=MAX_FIELDS)
        ((message, payload),), is_upgraded, tail = parser.feed_data(head)
        if payload is not EMPTY_PAYLOAD or is_upgraded or tail or message.should_close or message.upgrade:
            return None
        request = read_request(message, body=None, peer="")
    except Exception:  # noqa: BLE001 - whatever an unknown aiohttp does, it must not keep us from starting
        return None
    return request if isinstance(request, Request) else None
