"""Builders for what the caching rules work on: response heads, plans and entries, all around one instant."""

from __future__ import annotations

from typing import Any

from proxy.model import FieldLine, Fields, Framing, Reason, Request, ResponseHead, StoredResponse
from proxy.policy.cache_key import CacheKey
from proxy.policy.dates import format_http_date
from proxy.policy.storing import StorePlan, plan, stored
from tests.support.routing import get, match_all

NOW = 1_000_000_000.0
"""Sun, 09 Sep 2001 01:46:40 GMT: when responses are received, unless a test says otherwise."""


def date(seconds: float = 0) -> bytes:
    """An HTTP date so many seconds after NOW."""
    return format_http_date(NOW + seconds)


def head(*lines: FieldLine, status: int = 200, dated: bool = True) -> ResponseHead:
    """A response head with these lines, made at NOW."""
    made = [(b"Date", date())] if dated else []
    return ResponseHead(status, Fields([*made, *lines]))


def cache_control(value: bytes, *lines: FieldLine, status: int = 200) -> ResponseHead:
    """A response head with this Cache-Control."""
    return head((b"Cache-Control", value), *lines, status=status)


def plan_of(
    given: ResponseHead,
    request: Request | None = None,
    *,
    framing: Framing = Framing.LENGTH,
    profile: str = "safe",
    roll: float = 0.5,
    requested_at: float = NOW,
    received_at: float = NOW,
    **policy: Any,
) -> StorePlan | Reason:
    """What the rules plan for this head, on a route of this policy."""
    return plan(
        get() if request is None else request,
        given,
        framing,
        match_all(**policy),
        requested_at=requested_at,
        received_at=received_at,
        roll=roll,
        profile=profile,
    )


def draft_of(given: ResponseHead, request: Request | None = None, **how: Any) -> StoredResponse:
    """The entry that the rules plan; they must plan one."""
    planned = plan_of(given, request, **how)
    assert isinstance(planned, StorePlan), planned
    return as_planned(planned)


def as_planned(planned: StorePlan) -> StoredResponse:
    """The entry without its body, its place and its birth."""
    return stored(planned, b"", CacheKey(b"", b"", b"", b""), born=None, fetch_seconds=0.0)


def entry(**changes: Any) -> StoredResponse:
    """A fresh entry of 100 s that the origin stated, stored at NOW."""
    lines = Fields([(b"Date", date()), (b"Cache-Control", b"max-age=100")]).encode()
    base = StoredResponse.of(
        status=200,
        reason=b"OK",
        lines=lines,
        body=b"body",
        route="all",
        host=b"shop",
        target=b"/",
        born=None,
        received_at=NOW,
        initial_age=0.0,
        lifetime=100.0,
        expires_at=NOW + 1000.0,
    )
    return base.but(**changes)
