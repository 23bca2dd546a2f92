"""Why a request is refused before anybody behind the listener sees it: one row each, and its answer.

Every refusal ends the connection: after bytes that are no request, nobody knows where the next one
begins. The word is the metric's label; the detail never repeats what the client sent.
"""

from __future__ import annotations

from enum import Enum

from proxy.model import Answer, Outcome
from proxy.policy.failures import problem

TRACE_ALTERNATIVES = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"


class Refusal(Enum):
    """Word for the metric, status, what the client is told, and further encoded lines."""

    MALFORMED = ("malformed", 400, "This is not a well-formed HTTP/1.1 request.")
    REQUEST_LINE = (
        "request-line",
        400,
        "The request line must be method, target and version, with one space between.",
    )
    TARGET = ("target", 400, "The target must be a path, or * with OPTIONS.")
    HOST = ("host", 400, "Exactly one Host field with a host and an optional port is required.")
    FRAMING = ("framing", 400, "HTTP/1.0 requests cannot have Transfer-Encoding.")
    UPGRADE_WITH_BODY = ("upgrade-with-body", 400, "A request for an upgrade cannot have a body.")
    HEAD_TIMEOUT = ("head-timeout", 408, "The request's head did not arrive in time.")
    BODY_TIMEOUT = ("body-timeout", 408, "The request's body did not arrive in time.")
    TRACE = ("trace", 405, "TRACE is not supported.", TRACE_ALTERNATIVES)
    EXPECTATION = ("expectation", 417, "The only expectation that can be met is 100-continue.")
    HEAD_TOO_LARGE = ("head-too-large", 431, "The request's head is too large.")
    TOO_MANY_FIELDS = ("too-many-fields", 431, "The request's head has too many fields.")
    METHOD = ("method", 501, "This method is not known.")
    CONNECT = ("connect", 501, "CONNECT is not supported.")
    TRANSFER_CODING = ("transfer-coding", 501, "The only transfer coding that is supported is chunked.")
    VERSION = ("version", 505, "Only HTTP/1.1 and HTTP/1.0 are supported.")

    def __init__(self, word: str, status: int, detail: str, lines: bytes = b"") -> None:
        self.word = word
        self.status = status
        self.detail = detail
        self.lines = lines

    def answer(self, *, now: float) -> Answer:
        """The problem+json for it; `now` in epoch seconds, for Date."""
        return problem_answer(self.status, self.detail, now=now, lines=self.lines)


def problem_answer(status: int, detail: str, *, now: float, lines: bytes = b"") -> Answer:
    """An answer that is nobody's but the listener's, after which the connection ends."""
    problem_lines, body = problem(status, detail, now=now)
    return Answer(
        status=status,
        reason=b"",
        lines=problem_lines,
        body=body,
        outcome=Outcome.ERROR,
        cache_status=None,
        close=True,
        extra=lines,
    )
