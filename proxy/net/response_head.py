"""A response head's bytes to a value, strictly (RFC 9112 §4-§6): what is faulty is refused, never repaired.

Own grammar, because llhttp takes leading empty lines, status 999, HTTP/2.0, `RTSP/1.1`, control bytes
in the reason, every transfer coding and more. Pure: knows neither the connection nor the body's bytes.
"""

from __future__ import annotations

import re

from msgspec import Struct

from proxy.model import FailureKind, FieldLine, Fields, Framing, OriginFailure
from proxy.net.fields import TOKEN, VALUE, list_members
from proxy.net.response_form import Forms

MAX_FIELDS = 256
NO_BODY_STATUSES = frozenset({204, 304})

_STATUS_LINE = rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (" + VALUE + rb"*+))?\r\n"
# Some origins leave out the space that must stand even before an empty reason; nothing hinges on it.
_HEAD = re.compile(_STATUS_LINE + rb"((?:" + TOKEN + rb"++:" + VALUE + rb"*+\r\n)*+)\r\n")
forms = Forms(_STATUS_LINE)
_FIELD = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
"""For what `_HEAD` has taken."""
_KNOWN_CODINGS = frozenset({b"chunked", b"compress", b"deflate", b"gzip", b"x-compress", b"x-gzip"})
_DIGITS = re.compile(rb"[0-9]{1,18}")


class ReceivedHead(Struct, frozen=True):
    """A head as the origin sent it: framing and hop-by-hop fields are still in it."""

    status: int
    reason: bytes
    fields: Fields
    is_http_10: bool = False

    @property
    def is_persistent(self) -> bool:
        """May another request follow on this connection? HTTP/1.0 origins are not asked twice."""
        options = self.fields.combined(b"connection")
        if options is None or b"close" not in options.lower():
            return not self.is_http_10
        return not self.is_http_10 and b"close" not in list_members([options])


class Delimiter(Struct, frozen=True):
    """How the end of the body is known, and the length that the head states."""

    framing: Framing
    length: int | None = None


def parse_head(raw: bytes) -> ReceivedHead | OriginFailure:
    """The head that `raw` is, from the status line to the empty line, both included."""
    known = forms.read(raw)
    if known is not None:
        names, (minor, status, reason), values = known
        return ReceivedHead(int(status), reason or b"", Fields.of(names, values), minor == b"0")
    match = _HEAD.fullmatch(raw)
    if match is None:
        return invalid(_first_fault(raw))
    minor, status, reason, encoded = match.groups()
    lines: list[FieldLine] = _FIELD.findall(encoded)
    if b" \r" in encoded or b"\t\r" in encoded:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    if len(lines) > MAX_FIELDS:
        return invalid(f"{len(lines)} fields, expected at most {MAX_FIELDS}")
    fields = Fields(lines)
    forms.see(fields.layout)
    return ReceivedHead(int(status), reason or b"", fields, minor == b"0")


def delimit(head: ReceivedHead, method: str, *, relays_codings: bool = False) -> Delimiter | OriginFailure:
    """How the body of this final response ends (RFC 9112 §6.3).

    With `relays_codings`, what stands behind a coding that nobody knows is taken for the body itself.
    """
    lengths = head.fields.values(b"content-length")
    codings = head.fields.values(b"transfer-encoding")
    fault = _framing_fault(head, lengths, codings)
    is_chunked = len(codings) == 1 and codings[0].lower() == b"chunked"
    if fault is None and codings and not is_chunked and not (relays_codings and _are_unknown(codings)):
        fault = "a transfer coding other than chunked"
    if fault is not None:
        return invalid(fault)
    length = int(lengths[0]) if lengths else None
    if head.status in NO_BODY_STATUSES or method == "HEAD":
        return Delimiter(Framing.NONE, length if head.status != 204 else None)
    if is_chunked:
        return Delimiter(Framing.CHUNKED)
    return Delimiter(Framing.CLOSE) if length is None else Delimiter(Framing.LENGTH, length)


def invalid(detail: str) -> OriginFailure:
    """The failure that a faulty head is."""
    return OriginFailure(FailureKind.INVALID_HEAD, detail)


def _are_unknown(codings: list[bytes]) -> bool:
    """Is none of them one that a recipient has to decode (RFC 9112 §7)?"""
    names = {member.partition(b";")[0].strip(b" \t") for member in list_members(codings)}
    return bool(names) and _KNOWN_CODINGS.isdisjoint(names)


def _framing_fault(head: ReceivedHead, lengths: list[bytes], codings: list[bytes]) -> str | None:
    if len(lengths) > 1:
        return "more than one Content-Length"
    if lengths and not _DIGITS.fullmatch(lengths[0]):
        return "Content-Length is not a number"
    if lengths and codings:
        return "both Content-Length and Transfer-Encoding"
    if codings and head.is_http_10:
        return "Transfer-Encoding in HTTP/1.0"
    return None


def _first_fault(raw: bytes) -> str:
    """Which line is wrong, by number: its text may hold a secret and is not repeated."""
    lines = raw.split(b"\r\n")[:-2]
    if not _HEAD.fullmatch(lines[0] + b"\r\n\r\n"):
        return "not a status line of HTTP/1.0 or HTTP/1.1"
    faulty = (n for n, line in enumerate(lines) if n and not _FIELD_LINE.fullmatch(line))
    return f"line {next(faulty) + 1} of the head is not a field"


_FIELD_LINE = re.compile(TOKEN + rb"++:" + VALUE + rb"*+")
