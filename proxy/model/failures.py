"""How a request to the origin fails, as a value; each kind knows its word and its status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FailureKind(Enum):
    """How a request to the origin failed: word for logs and metrics, status for the client."""

    REFUSED = ("refused", 502)
    CONNECT_TIMEOUT = ("connect-timeout", 504)
    RESPONSE_TIMEOUT = ("response-timeout", 504)
    IDLE_TIMEOUT = ("idle-timeout", 504)
    RESET = ("reset", 502)
    INVALID_HEAD = ("invalid-head", 502)
    BROKEN_BODY = ("broken-body", 502)
    POOL_EXHAUSTED = ("pool-exhausted", 503)
    QUEUE_FULL = ("queue-full", 503)
    QUEUE_TIMEOUT = ("queue-timeout", 503)
    TUNNELS_FULL = ("tunnels-full", 503)
    CLIENT_BODY = ("client-body", 400)
    INVALID_REQUEST = ("invalid-request", 400)
    CLOSED = ("closed", 503)

    def __init__(self, word: str, status: int) -> None:
        self.word = word
        self.status = status


@dataclass(frozen=True, slots=True)
class OriginFailure:
    """An expected failure towards the origin, as a value."""

    kind: FailureKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.word}: {self.detail}" if self.detail else self.kind.word
