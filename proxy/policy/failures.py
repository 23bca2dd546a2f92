"""What clients see of a failing origin, or of a request that cannot be served: problem+json (RFC 9457).

The sentences are for everybody to read: addresses and causes belong into the log.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from math import ceil
from typing import NamedTuple

from proxy.model import FailureKind, OriginFailure
from proxy.policy.dates import format_http_date

_ERROR_STATUSES = frozenset({500, 502, 503, 504})
_TITLES = {status.value: status.phrase for status in HTTPStatus}
_RETRY_AFTER_SECONDS = 1.0
"""After which a shed request may try again: queues turn over within their timeout of a few seconds."""

_DETAILS = {
    FailureKind.REFUSED: "The origin does not accept connections.",
    FailureKind.CONNECT_TIMEOUT: "The origin did not accept a connection in time.",
    FailureKind.RESPONSE_TIMEOUT: "The origin did not begin to answer in time.",
    FailureKind.IDLE_TIMEOUT: "The origin paused for too long in its answer.",
    FailureKind.RESET: "The origin broke off the connection.",
    FailureKind.INVALID_HEAD: "The origin's answer is not well-formed HTTP.",
    FailureKind.BROKEN_BODY: "The origin's answer ended before it was complete.",
    FailureKind.POOL_EXHAUSTED: "All connections to the origin are in use.",
    FailureKind.QUEUE_FULL: "Too many requests wait for the origin.",
    FailureKind.QUEUE_TIMEOUT: "The request waited for the origin for too long.",
    FailureKind.TUNNELS_FULL: "Too many long-lived connections are open.",
    FailureKind.CLIENT_BODY: "The request's body ended before it was complete.",
    FailureKind.INVALID_REQUEST: "The request cannot be passed on to the origin.",
    FailureKind.CLOSED: "The proxy is going out of service.",
}


class Problem(NamedTuple):
    """Encoded field lines and body of an answer of our own."""

    lines: bytes
    body: bytes


def is_error_status(status: int) -> bool:
    """Does a stale answer go before this one, where the policy allows it (RFC 5861 §4)?"""
    return status in _ERROR_STATUSES


def problem(status: int, detail: str, *, now: float) -> Problem:
    """A problem that nobody may store; `now` in epoch seconds, for Date."""
    members = {"type": "about:blank", "title": _TITLES.get(status, ""), "status": status, "detail": detail}
    lines = (
        b"Date: " + format_http_date(now) + b"\r\n"
        b"Content-Type: application/problem+json\r\n"
        b"Cache-Control: no-store\r\n"
    )
    return Problem(lines, json.dumps(members).encode())


def origin_problem(failure: OriginFailure, *, now: float) -> Problem:
    """The problem for `failure.kind.status`; what was shed may come again, and is told when."""
    status = failure.kind.status
    lines, body = problem(status, _DETAILS[failure.kind], now=now)
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return Problem(lines, body)
    return Problem(lines + retry_after(_RETRY_AFTER_SECONDS), body)


def retry_after(seconds: float) -> bytes:
    """The Retry-After line: whole seconds, rounded up, at least one (RFC 9110 §10.2.3)."""
    return b"Retry-After: %d\r\n" % max(1, ceil(seconds))
