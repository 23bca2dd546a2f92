"""The strict reading of plain request heads: HTTP/1.1, nothing about the connection; GET or HEAD without a
body, or a method with one of a stated length.

A client sends the same field names with every request. For each such list of names one pattern is made that
takes a whole head: a closed alphabet of targets, `name: value` lines of visible ASCII and spaces, the empty
line, and not a byte more. What no pattern takes goes to aiohttp's parser, untouched. Pure: bytes in, values
out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from msgspec import Struct

from proxy.model import FieldNames, Fields, InboundBody, Request, Values, names_of
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
_LENGTH = b"content-length"
_OF_BODIES = frozenset({_LENGTH, b"content-type"})
"""Of those about the content, what a request with a body may have."""

_NAMES = re.compile(rb"\r\n([^:\r\n]*+):").findall
_VALUES = re.compile(rb": ([^\r]*+)").findall
"""Of the lines behind the first, of a head that a shape has taken: a target may end with a colon."""
_NAME = re.compile(TOKEN + rb"++").fullmatch
_REST_OF_LINE = rb" /[A-Za-z0-9\-._~%/?&=+,;:@!$'()*]*+) HTTP/1\.1\r\n"
_REQUEST_LINE = rb"((?:GET|HEAD)" + _REST_OF_LINE
_LINE_WITH_BODY = rb"((?:DELETE|PATCH|POST|PUT)" + _REST_OF_LINE
_VALUE = rb"[ -~]*+"
_KEEP_ALIVE = rb"[Kk]eep-[Aa]live"
_CAPTURED = dict.fromkeys((b"host", *CONDITIONS), rb"(" + _VALUE + rb")") | {_LENGTH: rb"([1-9][0-9]{0,8})"}


class Shape(Struct, frozen=True, eq=False):
    """The heads with one list of field names."""

    match: Callable[[bytes], re.Match[bytes] | None]
    """Groups: method and target, then the values of Host and of the conditions, in the head's order."""
    host: int
    """Which group Host is."""
    length: int
    """Which group the length of the body is; 0: there is no body."""
    conditions: tuple[tuple[int, bytes], ...]
    """Groups of the conditions, and their names as sent."""
    tells: bool
    """Has fields on which more than the target and the host may depend."""
    names: FieldNames


def names_in(head: bytes) -> tuple[bytes, ...]:
    """The field names as they stand in the head, where it is one."""
    return tuple(_NAMES(head))


def values_in(head: bytes) -> Values:
    """The values of a head that a shape has taken, in the order of its names."""
    values = _VALUES(head, head.find(b"\n"))
    return tuple(map(bytes.strip, values))  # of white space they hold spaces only


def shape_of(names: tuple[bytes, ...], telling: AbstractSet[bytes]) -> Shape | None:
    """The pattern of heads with these names; None: they are not plain."""
    lower = [name.lower() for name in names]
    if len(names) > MAX_FIELDS or len(set(lower)) != len(names) or b"host" not in lower:
        return None
    has_body = _LENGTH in lower
    if not all(_is_plain(name) or (has_body and name in _OF_BODIES) for name in lower):
        return None
    captured = [name for name in lower if name in _CAPTURED]
    line = _LINE_WITH_BODY if has_body else _REQUEST_LINE
    lines = map(_line, names, lower)
    conditions = ((place + 2, name) for place, name in enumerate(captured) if name in CONDITIONS)
    return Shape(
        match=re.compile(line + b"".join(lines) + rb"\r\n").fullmatch,
        host=captured.index(b"host") + 2,
        length=captured.index(_LENGTH) + 2 if has_body else 0,
        conditions=tuple(conditions),
        tells=not (telling - {b"connection"}).isdisjoint(lower),
        names=names_of(names),
    )


def read_plain(
    head: bytes,
    names: FieldNames | None = None,
    *,
    host: bytes,
    peer: str = "",
    body: InboundBody | None = None,
    on_interim: OnInterim | None = None,
    sent: object | None = None,
) -> Request:
    """The request of a head that a shape with these names has taken; `host` is the normal one."""
    method, target, _ = head.split(b" ", 2)
    return Request(
        method=method.decode(),
        target=target,
        fields=Fields.of(names or names_of(names_in(head)), values_in(head)),
        host=host,
        peer=peer,
        body=body,
        on_interim=on_interim,
        sent=sent,
    )


def _is_plain(name: bytes) -> bool:
    return name not in _NEVER and not name.startswith(_NEVER_PREFIXES) and _NAME(name) is not None


def _line(name: bytes, lower: bytes) -> bytes:
    value = _KEEP_ALIVE if lower == b"connection" else _CAPTURED.get(lower, _VALUE)
    return re.escape(name) + rb": " + value + rb"\r\n"
