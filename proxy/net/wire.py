"""Writes response heads, the one place that does: status line, stored lines, our fields, framing.

Bytes only: no sockets, no clock. Field bytes go out as they came in (aiohttp's own serializer drops
bytes that are not UTF-8); the origin client has validated them.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from http import HTTPStatus

from msgspec import Struct

from proxy.model import Answer, CacheStatus, Hit, ResponseHead
from proxy.policy.cache_status import HIT_FORMAT, detail_parameter, format_cache_status
from proxy.policy.preconditions import not_modified_lines

LAST_CHUNK = b"0\r\n\r\n"

# Formatted once: a status line is a dictionary look-up per answer. An empty reason gets the usual one.
_STATUS_LINES = {
    (status.value, reason): b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    for reason in (b"", status.phrase.encode())
}


_BODILESS = (204, 304)
_MOST_HIT_FORMS = 1024


class End(Enum):
    """How the client learns where the answer's body ends (RFC 9112 §6.3)."""

    NO_BODY = "no-body"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class BodyFraming(Struct, frozen=True):
    """How the body ends and the length that the head states; None: it states none."""

    end: End
    length: int | None = None


class Persistence(Enum):
    """What the head says of the connection's future; the value is the line that says it."""

    DEFAULT = b""
    """It stays open, as HTTP/1.1 clients expect."""
    KEEP_ALIVE = b"Connection: keep-alive\r\n"
    """It stays open, and an HTTP/1.0 client needs to be told."""
    CLOSE = b"Connection: close\r\n"
    UPGRADE = b"Connection: upgrade\r\n"

    def __init__(self, line: bytes) -> None:
        self.line = line


def frame(answer: Answer, *, method: str, version: tuple[int, int]) -> BodyFraming:
    """How to send the answer's body to a client of this version that asked with this method."""
    if answer.status < 200 or answer.status in _BODILESS:
        return BodyFraming(End.NO_BODY)
    if method == "HEAD":
        return BodyFraming(End.NO_BODY, _length_for_head(answer))
    length = len(answer.body) if isinstance(answer.body, bytes) else answer.length
    if length is not None:
        return BodyFraming(End.LENGTH, length)
    return BodyFraming(End.CHUNKED if version >= (1, 1) else End.CLOSE)


def response_head(
    answer: Answer, framing: BodyFraming, persistence: Persistence, *, with_x_cache_status: bool
) -> bytes:
    """The whole head, the empty line included."""
    parts = [_status_line(answer.status, answer.reason), answer.lines, answer.extra]
    if answer.age is not None:
        parts.append(age_line(answer.age))
    if answer.cache_status is not None:
        parts.append(b"Cache-Status: %b\r\n" % format_cache_status(answer.cache_status))
        if with_x_cache_status:
            parts.append(b"X-Cache-Status: %b\r\n" % answer.outcome.nginx_word.encode())
    parts += (_framing_line(framing), persistence.line, b"\r\n")
    return b"".join(parts)


def hit_head(hit: Hit, body: bytes, *, with_x_cache_status: bool) -> bytes:
    """What `response_head` writes for a hit that is sent whole, or to HEAD, on a connection that stays open.

    `body` follows at once. One format, made once for all hits of a kind, not an Answer and nine pieces.
    """
    stored = hit.stored
    status, reason, lines = stored.status, stored.reason, stored.lines
    if hit.is_not_modified:
        status, reason, lines = 304, b"", not_modified_lines(lines)
    form = _hit_form(status, reason, hit.detail, hit.outcome.nginx_word if with_x_cache_status else "")
    if status in _BODILESS:
        return form % (lines, hit.age, hit.ttl, body)
    return form % (lines, hit.age, hit.ttl, len(stored.body), body)


def relayed_form(status: int, reason: bytes, cache_status: CacheStatus, word: str) -> bytes:
    """What `response_head` writes before a body of stated length if the connection stays open, as a format.

    To be filled with its lines, the line of its age, its length and the body. `word`: of X-Cache-Status;
    empty: it is not sent.
    """
    return b"".join(
        (
            _escaped(_status_line(status, reason)),
            b"%b%b",
            b"Cache-Status: %b\r\n" % _escaped(format_cache_status(cache_status)),
            b"X-Cache-Status: %b\r\n" % word.encode() if word else b"",
            b"Content-Length: %d\r\n\r\n%b",
        )
    )


def age_line(age: int) -> bytes:
    """How old the answer is."""
    return b"Age: %d\r\n" % age


def interim_head(head: ResponseHead) -> bytes:
    """A 1xx head: it has no body, no framing and none of our fields."""
    return b"%b%b\r\n" % (_status_line(head.status, head.reason), head.fields.encode())


def chunk(piece: bytes) -> bytes:
    """One chunk of a chunked body; `piece` is not empty, for an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _status_line(status: int, reason: bytes) -> bytes:
    return _STATUS_LINES.get((status, reason)) or b"HTTP/1.1 %d %b\r\n" % (status, reason)


@lru_cache(maxsize=_MOST_HIT_FORMS)
def _hit_form(status: int, reason: bytes, detail: str, word: str) -> bytes:
    """Where `hit_head` puts the lines, age, ttl, length (if the status has a body) and body of its answer."""
    cache_status = HIT_FORMAT.replace(b"%b", _escaped(detail_parameter(detail)))
    return b"".join(
        (
            _escaped(_status_line(status, reason)),
            b"%b",
            b"Age: %d\r\n",
            b"Cache-Status: %b\r\n" % cache_status,
            b"X-Cache-Status: %b\r\n" % word.encode() if word else b"",
            b"" if status in _BODILESS else b"Content-Length: %d\r\n",
            b"\r\n",
            b"%b",
        )
    )


def _escaped(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def _length_for_head(answer: Answer) -> int | None:
    """What GET would have stated. An empty body says nothing of it: HEAD's always is."""
    if answer.length is None and isinstance(answer.body, bytes):
        return len(answer.body) or None
    return answer.length


def _framing_line(framing: BodyFraming) -> bytes:
    if framing.length is not None:
        return b"Content-Length: %d\r\n" % framing.length
    return b"Transfer-Encoding: chunked\r\n" if framing.end is End.CHUNKED else b""
