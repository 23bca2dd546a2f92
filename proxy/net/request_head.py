"""A request's head as bytes. What could be read as anything but what it is, is refused here at the latest.

The target goes out byte for byte. Pure: knows no connection.
"""

from __future__ import annotations

import re
from functools import lru_cache

from proxy.model import FailureKind, Fields, OriginFailure
from proxy.net.fields import are_clean, is_token

_TARGET = re.compile(rb"/[\x21-\x7e\x80-\xff]*|\*")


def encode_request_head(method: str, target: bytes, fields: Fields) -> bytes | OriginFailure:
    """The head, its empty line included; a failure where a byte could forge a line of it."""
    token = _token(method)
    if token is None:
        return _refused("the method is not a token")
    if not _TARGET.fullmatch(target):
        return _refused("the target is neither a path without spaces and control bytes nor *")
    if not are_clean(fields):
        return _refused("a field name or value holds a byte that it must not hold")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (token, target, fields.encode())


# A handful of methods: bounded, as any token is one.
@lru_cache(maxsize=64)
def _token(method: str) -> bytes | None:
    token = method.encode("latin-1", "replace")
    return token if is_token(token) else None


def _refused(detail: str) -> OriginFailure:
    return OriginFailure(FailureKind.INVALID_REQUEST, detail)
