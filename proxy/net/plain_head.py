"""The strict reading of plain request heads: GET or HEAD, HTTP/1.1, no body, nothing about the connection.

A client sends the same field names with every request. For each such list of names one pattern is made that
takes a whole head: a closed alphabet of targets, `name: value` lines of visible ASCII and spaces, the empty
line, and not a byte more. What no pattern takes goes to aiohttp's parser, untouched. Pure: bytes in, values
out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from proxy.model import FieldLine, Fields, Request
from proxy.net.fields import TOKEN
from proxy.net.head_reading import MAX_FIELDS
from proxy.net.request_reading import OnInterim

IF_NONE_MATCH = b"if-none-match"
CONDITIONS = (IF_NONE_MATCH, b"if-modified-since")
"""Fields that choose between the stored response and a 304, and nothing else."""

_NEVER = frozenset(
    {
        b"expect",
        b"http2-settings",
        b"if-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields whose meaning is the whole lane's: framing, the connection, ranges, other preconditions."""
_NEVER_PREFIXES = (b"content", b"sec-websocket")

_NAMES = re.compile(rb"\r\n([^:\r\n]*+):").findall
_NAME = re.compile(TOKEN + rb"++").fullmatch
_REQUEST_LINE = rb"((?:GET|HEAD) /[A-Za-z0-9\-._~%/?&=+,;:@!$'()*]*+) HTTP/1\.1\r\n"
_VALUE = rb"[ -~]*+"
_KEEP_ALIVE = rb"[Kk]eep-[Aa]live"
_CAPTURED = {b"host": rb"(" + _VALUE + rb")"} | dict.fromkeys(CONDITIONS, rb"(" + _VALUE + rb")")


class Shape(NamedTuple):
    """The heads with one list of field names."""

    match: Callable[[bytes], re.Match[bytes] | None]
    """Groups: method and target, then the values of Host and of the conditions, in the head's order."""
    host: int
    """Which group Host is."""
    conditions: tuple[tuple[int, bytes], ...]
    """Groups of the conditions, and their names as sent."""
    tells: bool
    """Has fields on which more than the target and the host may depend."""


def names_in(head: bytes) -> tuple[bytes, ...]:
    """The field names as they stand in the head, where it is one."""
    return tuple(_NAMES(head))


def shape_of(names: tuple[bytes, ...], telling: AbstractSet[bytes]) -> Shape | None:
    """The pattern of heads with these names; None: they are not plain."""
    lower = [name.lower() for name in names]
    if len(names) > MAX_FIELDS or len(set(lower)) != len(names) or b"host" not in lower:
        return None
    if not all(map(_is_plain, lower)):
        return None
    captured = [name for name in lower if name in _CAPTURED]
    lines = map(_line, names, lower)
    conditions = ((place + 2, name) for place, name in enumerate(captured) if name in CONDITIONS)
    return Shape(
        match=re.compile(_REQUEST_LINE + b"".join(lines) + rb"\r\n").fullmatch,
        host=captured.index(b"host") + 2,
        conditions=tuple(conditions),
        tells=not (telling - {b"connection"}).isdisjoint(lower),
    )


def read_plain(head: bytes, *, host: bytes, peer: str = "", on_interim: OnInterim | None = None) -> Request:
    """The request of a head that a shape has taken; `host` is the normal one."""
    request_line, *lines = head[:-4].split(b"\r\n")
    method, target, _ = request_line.split(b" ")
    return Request(
        method=method.decode(),
        target=target,
        fields=Fields(map(_field, lines)),
        host=host,
        peer=peer,
        on_interim=on_interim,
    )


def _is_plain(name: bytes) -> bool:
    return name not in _NEVER and not name.startswith(_NEVER_PREFIXES) and _NAME(name) is not None


def _line(name: bytes, lower: bytes) -> bytes:
    value = _KEEP_ALIVE if lower == b"connection" else _CAPTURED.get(lower, _VALUE)
    return re.escape(name) + rb": " + value + rb"\r\n"


def _field(line: bytes) -> FieldLine:
    name, _, value = line.partition(b": ")
    return name, value.strip(b" ")
