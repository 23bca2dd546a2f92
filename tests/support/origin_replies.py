"""What an origin may say to one request: whole answers, and others."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.responses import date

Reply = Sequence[bytes | str]
"""Pieces that arrive one by one; the words `eof` and `reset` end the connection."""


def reply(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = b"hello") -> bytes:
    """A whole answer with a Date; the lines say how long it is, unless they are none."""
    said = lines or (b"Content-Length: %d" % len(body),)
    return b"\r\n".join((status, b"Date: " + date(), *said, b"", body))


LENGTH = b"Content-Length: 5"
RELAYED = {
    "plain": reply(),
    "empty body": reply(body=b""),
    "not found": reply(status=b"HTTP/1.1 404 Not Found"),
    "server error": reply(status=b"HTTP/1.1 500 Oh 100%"),
    "created": reply(LENGTH, status=b"HTTP/1.1 201 Created"),
    "no reason": reply(status=b"HTTP/1.1 200 "),
    "no space behind the status": reply(status=b"HTTP/1.1 200"),
    "unknown status": reply(status=b"HTTP/1.1 299 Odd"),
    "part": reply(LENGTH, b"Content-Range: bytes 0-4/9", status=b"HTTP/1.1 206 Partial Content"),
    "kept alive": reply(LENGTH, b"Connection: Keep-Alive"),
    "hop by hop": reply(LENGTH, b"Keep-Alive: timeout=5", b"Proxy-Authenticate: x", b"Server: s"),
    "tags": reply(LENGTH, b"Surrogate-Key: a b", b"Cache-Tag: c", b"X-Other: %s %d %%"),
    "ours already": reply(LENGTH, b"Via: 1.1 a", b"Age: 7", b'Cache-Status: other; hit; detail="%"'),
    "repeated": reply(LENGTH, b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"set-cookie: c"),
    "bytes": reply(LENGTH, b"X-A: caf\xe9\xff", b"X-Empty:", b"X-Tight:x"),
    "zero bytes in the body": reply(body=b"\x00\r\n\r\nHTTP/1.1 200 OK\r\n\r\n%b"),
}
HANDED_OVER = {
    "chunked": reply(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "no content": reply(b"Server: s", status=b"HTTP/1.1 204 No Content", body=b""),
    "no content of no length": reply(b"Content-Length: 0", status=b"HTTP/1.1 204 None", body=b""),
    "not modified of no length": reply(b"Content-Length: 0", status=b"HTTP/1.1 304 None", body=b""),
    "not modified": reply(b'ETag: "a"', status=b"HTTP/1.1 304 Not Modified", body=b""),
    "no date": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "an older version": reply(LENGTH, status=b"HTTP/1.0 200 OK"),
    "closes": reply(LENGTH, b"Connection: close"),
    "names a field": reply(LENGTH, b"Connection: x-hop", b"X-Hop: 1"),
    "two connection lines": reply(LENGTH, b"Connection: keep-alive", b"Connection: x-hop", b"X-Hop: 1"),
    "two lengths": reply(LENGTH, LENGTH),
    "both framings": reply(LENGTH, b"Transfer-Encoding: chunked"),
    "length with a zero": reply(b"Content-Length: 05"),
    "length with a sign": reply(b"Content-Length: +5"),
    "surplus": reply(LENGTH, body=b"hello!"),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + reply(),
    "garbage": b"SSH-2.0-x\r\n\r\n",
    "a faulty line": reply(LENGTH, b"X Y: 1"),
    "long reason": reply(status=b"HTTP/1.1 200 " + b"r" * 100),
    "large": reply(body=b"x" * 100_000),
}
ENDINGS: dict[str, Reply] = {
    "nothing, and the end": ["eof"],
    "nothing, and a reset": ["reset"],
    "half a head": [b"HTTP/1.1 200 OK\r\nDate: Thu", "eof"],
    "half a body": [reply(b"Content-Length: 10"), "eof"],
    "half a body, reset": [reply(b"Content-Length: 10"), "reset"],
    "until the end": [reply(b"Server: s"), "eof"],
    "whole, and the end": [reply(), "eof"],
    "an interim head of no length": [
        reply(b"Content-Length: 0", status=b"HTTP/1.1 103 Early Hints", body=b""),
        reply(),
    ],
}
