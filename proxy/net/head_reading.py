"""The first look at a request's head, before aiohttp's parser sees a byte of it.

Checks what llhttp lets pass or says too late: the request line's spaces and version, lines that end
without CR, the number of fields. Pure: bytes in, a refusal or None out.
"""

from __future__ import annotations

import re

from proxy.net.fields import TOKEN
from proxy.net.refusals import Refusal

MAX_FIELDS = 128
HEAD_END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb"++) [!-~]++ HTTP/([0-9]\.[0-9])")
_WITHOUT_VERSION = re.compile(TOKEN + rb"++ [!-~]++")  # HTTP/0.9
_BARE_LF = re.compile(rb"(?<!\r)\n")
_METHOD_SO_FAR = re.compile(TOKEN + rb"++(?: |\Z)")
_SERVED_VERSIONS = frozenset({b"1.0", b"1.1"})
_REFUSED_METHODS = {b"CONNECT": Refusal.CONNECT, b"TRACE": Refusal.TRACE}


def fault_in_head(head: bytes) -> Refusal | None:
    """What is wrong with a whole head, from the request line to the empty line, both included."""
    # Lines less the request line and the empty one.
    if head.count(b"\r\n") - 2 > MAX_FIELDS:
        return Refusal.TOO_MANY_FIELDS
    return _fault_in_request_line(head[: head.index(b"\r\n")])


def fault_so_far(partial: bytes, *, looked_at: int) -> Refusal | None:
    """What is wrong already although the head's end has not arrived; `looked_at`: bytes known to be clean.

    Without it a client that ends its lines with LF, or that speaks TLS, would wait for the head's deadline.
    """
    if _BARE_LF.search(partial, looked_at):
        return Refusal.MALFORMED
    line_end = partial.find(b"\r\n")
    if line_end >= 0:
        return _fault_in_request_line(partial[:line_end])
    return None if _METHOD_SO_FAR.match(partial) else Refusal.REQUEST_LINE


def _fault_in_request_line(line: bytes) -> Refusal | None:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return Refusal.VERSION if _WITHOUT_VERSION.fullmatch(line) else Refusal.REQUEST_LINE
    method, version = match.groups()
    return _REFUSED_METHODS.get(method) if version in _SERVED_VERSIONS else Refusal.VERSION
