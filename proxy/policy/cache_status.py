"""Our member of the Cache-Status field as text (RFC 9211 §2)."""

from __future__ import annotations

import re
from functools import lru_cache
from math import floor

from proxy.model import CacheStatus

_CACHE = b"sidecache"
HIT_FORMAT = _CACHE + b"; hit; ttl=%d; %b"
"""The member of an answer that the origin was not asked for: its ttl, and `detail_parameter`."""
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]*")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_NEEDS_ESCAPE = re.compile(r'["\\]')


def format_cache_status(status: CacheStatus) -> bytes:
    """The member alone, e.g. `sidecache; hit; ttl=41; detail=l1`."""
    if status.hit and status.ttl is not None and status.detail is not None:
        return HIT_FORMAT % (status.ttl, detail_parameter(status.detail))
    text = _CACHE
    if status.hit:
        text += b"; hit"
    elif status.forward is not None:
        text += status.forward.parameter
    if status.forward_status is not None:
        text += b"; fwd-status=%d" % status.forward_status
    if status.ttl is not None:
        text += b"; ttl=%d" % status.ttl
    if status.stored:
        text += b"; stored"
    if status.collapsed:
        text += b"; collapsed"
    if status.detail is not None:
        text += b"; " + detail_parameter(status.detail)
    return text


def whole_seconds_left(seconds_left: float, *, is_stale: bool = False) -> int:
    """For `ttl`: rounded down, so that what is stale is negative from its first moment on (RFC 9211 §2.4).

    `is_stale` is an invalidation's word, however much of the lifetime is left.
    """
    return min(floor(seconds_left), -1) if is_stale else floor(seconds_left)


# Details are few words that come with every answer.
@lru_cache(maxsize=256)
def detail_parameter(detail: str) -> bytes:
    """A token where it is one, else a quoted string: what it cannot hold becomes `?`."""
    if _TOKEN.fullmatch(detail):
        return b"detail=" + detail.encode()
    printable = _UNPRINTABLE.sub("?", detail)
    return b'detail="' + _NEEDS_ESCAPE.sub(r"\\\g<0>", printable).encode() + b'"'
