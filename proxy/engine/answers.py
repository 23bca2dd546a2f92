"""Answers made of what is at hand: a stored response, the origin's own, or a problem of ours.

No waiting and no decisions about reuse: those are made before. Here it is only said in HTTP.
"""

from __future__ import annotations

from proxy.engine.coalescing import Failed, Streaming
from proxy.model import (
    Answer,
    Body,
    CacheStatus,
    Forward,
    Hit,
    OriginFailure,
    OriginResponse,
    Outcome,
    Reason,
    Request,
    ResponseHead,
    StoredResponse,
)
from proxy.policy.failures import origin_problem, problem
from proxy.policy.preconditions import (
    has_failed_precondition,
    is_hit_not_modified,
    is_hit_refused,
    is_not_modified,
    not_modified_lines,
)
from proxy.policy.ranges import (
    Portion,
    Slice,
    partial_lines,
    select_range,
    unsatisfied_line,
    unsatisfied_lines,
)
from proxy.policy.tags import for_clients

_SELECTING = frozenset(
    {b"if-match", b"if-modified-since", b"if-none-match", b"if-unmodified-since", b"range"}
)
"""The fields of a request that may make another answer of the stored response."""
_AGE = frozenset({b"age"})
_BYPASSES = frozenset({Reason.COOKIE, Reason.AUTHORIZATION})
"""Reasons that keep a request out of the cache for its own sake, though it was found out only afterwards."""


def from_hit(request: Request, hit: Hit) -> Answer:
    """A hit as this request's conditions want it."""
    status = CacheStatus(hit=True, ttl=hit.ttl, detail=hit.detail)
    return from_stored(request, hit.stored, status, hit.outcome, now=hit.now, route=hit.route)


def from_stored(
    request: Request,
    stored: StoredResponse,
    status: CacheStatus,
    outcome: Outcome,
    *,
    now: float,
    route: str,
    head: ResponseHead | None = None,
) -> Answer:
    """The stored response for this request: whole, a range of it, or 304 (RFC 9111 §4.3.2).

    `head` is the origin's own, where the client gets that.
    """
    age = _age(stored, status, now)
    given = stored.lines if head is None else client_lines(head, age)
    answer = Answer(
        stored.status,
        stored.reason,
        given,
        stored.body,
        outcome,
        status,
        length=len(stored.body),
        age=age,
        route=route,
    )
    if _SELECTING.isdisjoint(request.fields.names()):
        return answer  # as most are
    if is_hit_refused(request, stored):
        return _failed_precondition(status, now=now, route=route)
    if is_hit_not_modified(request, stored):
        return _not_modified(answer)
    if b"range" in request.fields:
        return _part(answer, select_range(request, stored), stored)
    return answer


def fetched_lines(
    stored: StoredResponse, head: ResponseHead, status: CacheStatus, *, now: float
) -> tuple[bytes, int | None]:
    """The lines, and the Age to say, for whoever has asked the origin: what `from_stored` says of both."""
    age = _age(stored, status, now)
    return client_lines(head, age), age


def _age(stored: StoredResponse, status: CacheStatus, now: float) -> int | None:
    """Age says that an answer was stored (RFC 9111 §5.1), here or on its way to us."""
    age = int(stored.age(now))
    is_new = status.stored and status.forward_status != 304
    return None if is_new and age == 0 else age


def _not_modified(answer: Answer) -> Answer:
    answer.status, answer.reason = 304, b"Not Modified"
    answer.lines = not_modified_lines(answer.lines)
    answer.body, answer.length = b"", None
    return answer


def _part(answer: Answer, portion: Slice | Portion, stored: StoredResponse) -> Answer:
    if portion is Portion.WHOLE:
        return answer
    length = len(stored.body) if stored.part is None else stored.part.complete_length
    if isinstance(portion, Slice):
        answer.status, answer.reason = 206, b"Partial Content"
        answer.lines = partial_lines(answer.lines, portion, length)
        answer.body = stored.body[portion.start : portion.end]
    else:
        answer.status, answer.reason = 416, b"Range Not Satisfiable"
        answer.lines = unsatisfied_lines(answer.lines)
        answer.extra = unsatisfied_line(length)
        answer.body = b""
    answer.length = len(answer.body)
    return answer


def streaming(
    request: Request, opening: Streaming, status: CacheStatus, outcome: Outcome, *, now: float, route: str
) -> Answer:
    """For the leader of a fetch: the origin's head, and the body as it comes in.

    Where it abandons the body, the fill goes on without a reader.
    """
    answer = _from_head(opening.head, outcome, status, route)
    answer.body, answer.length = opening.body, opening.body.length
    return _as_conditions_say(request, opening.head, opening.body, answer, now=now)


def not_stored(
    request: Request,
    response: OriginResponse,
    status: CacheStatus,
    outcome: Outcome,
    *,
    now: float,
    route: str,
) -> Answer:
    """For the leader of a fetch that turned out to fill nothing: the origin's own response."""
    answer = passed(response, status, outcome, route=route)
    return _as_conditions_say(request, response.head, response.body, answer, now=now)


def passed(response: OriginResponse, status: CacheStatus, outcome: Outcome, *, route: str) -> Answer:
    """The origin's own response, not stored."""
    answer = _from_head(response.head, outcome, status, route)
    answer.length, answer.tunnel = response.body.length, response.tunnel
    rest = response.body.take_rest() if response.tunnel is None else None
    answer.body = response.body if rest is None else rest
    return answer


def _from_head(head: ResponseHead, outcome: Outcome, status: CacheStatus, route: str) -> Answer:
    return Answer(head.status, head.reason, client_lines(head), b"", outcome, status, route=route)


def client_lines(head: ResponseHead, age: int | None = None) -> bytes:
    """The origin's fields as its client gets them: without those for purging, and Age where we say one."""
    fields = for_clients(head.fields)
    return (fields if age is None else fields.without(_AGE)).encode()


def _as_conditions_say(
    request: Request, head: ResponseHead, body: Body, answer: Answer, *, now: float
) -> Answer:
    """The answer; 304 or 412 where the client's conditions, which a fetch leaves out, want that instead."""
    if not 200 <= head.status < 300 or request.method != "GET":
        return answer
    etag, last_modified = head.fields.first(b"etag"), head.fields.first(b"last-modified")
    if has_failed_precondition(request, etag=etag, last_modified=last_modified):
        body.abandon()
        return _failed_precondition(answer.cache_status, now=now, route=answer.route)
    if is_not_modified(request, etag=etag, last_modified=last_modified):
        body.abandon()
        return _not_modified(answer)
    return answer


def _failed_precondition(status: CacheStatus | None, *, now: float, route: str) -> Answer:
    detail = "The response is not the one that the request asks for."
    return _problem(412, detail, status, now=now, route=route)


def why_not_stored(forward: Forward, status: int, reason: Reason) -> CacheStatus:
    """The Cache-Status of a response that was asked for and could not be stored."""
    if reason in _BYPASSES:
        forward = Forward.BYPASS
    return CacheStatus(forward=forward, forward_status=status, detail=reason.word)


def failed(ending: Failed, forward: Forward, *, now: float, route: str, collapsed: bool = False) -> Answer:
    """502, 503, 504 as problem+json; for followers also what the origin said to the one who asked."""
    if ending.failure is not None:
        return failure(ending.failure, forward, now=now, route=route, collapsed=collapsed)
    detail = f"The origin answered {ending.status} to the request that this one waited for."
    return _problem(
        ending.status,
        detail,
        CacheStatus(forward=forward, forward_status=ending.status, collapsed=collapsed),
        now=now,
        route=route,
    )


def failure(
    failure: OriginFailure, forward: Forward, *, now: float, route: str, collapsed: bool = False
) -> Answer:
    """The origin failed and nothing may stand in."""
    lines, body = origin_problem(failure, now=now)
    status = CacheStatus(forward=forward, collapsed=collapsed, detail=failure.kind.word)
    return Answer(
        failure.kind.status,
        b"",
        lines,
        body,
        Outcome.ERROR,
        status,
        length=len(body),
        route=route,
        failure=failure,
    )


def refused(status: int, detail: str, *, now: float, route: str, word: str, extra: bytes = b"") -> Answer:
    """A request that the cache itself cannot satisfy: 504 for only-if-cached, 503 when shedding."""
    answer = _problem(status, detail, CacheStatus(detail=word), now=now, route=route)
    answer.extra = extra
    return answer


def _problem(code: int, detail: str, status: CacheStatus | None, *, now: float, route: str) -> Answer:
    lines, body = problem(code, detail, now=now)
    return Answer(code, b"", lines, body, Outcome.ERROR, status, length=len(body), route=route)
