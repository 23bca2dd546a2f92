"""The origin: each target has a version, read at one instant between the request's arrival and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.model import (
    FailureKind,
    FieldLine,
    Fields,
    Framing,
    OriginFailure,
    OriginResponse,
    Request,
    ResponseHead,
)
from proxy.policy.dates import format_http_date
from tests.support.engine_fakes import FakeBody
from tests.support.purging import entry, is_named, pattern, prefix, route, tag, url

if TYPE_CHECKING:
    from tests.simulation.process import Process

SHORT = b"max-age=1, stale-while-revalidate=2, stale-if-error=60"
LINES: dict[bytes, tuple[FieldLine, ...]] = {
    b"/a": ((b"Cache-Control", b"max-age=600"),),
    b"/b": ((b"Cache-Control", SHORT), (b"Surrogate-Key", b"one")),
    b"/p/c": (
        (b"Cache-Control", b"max-age=600"),
        (b"Surrogate-Key", b"one two"),
        (b"Vary", b"Accept-Language"),
    ),
    b"/p/d": ((b"Cache-Control", SHORT), (b"Surrogate-Key", b"two")),
}
"""What each target's answers say of themselves."""
TARGETS = tuple(LINES)
TAGS = {b"/a": (), b"/b": (b"one",), b"/p/c": (b"one", b"two"), b"/p/d": (b"two",)}

_SELECTORS = (
    *(url(target.decode()) for target in TARGETS),
    prefix("/p"),
    pattern("/p/*"),
    tag("one"),
    tag("two"),
)
_WHOLE = (route("all"),)
NAMED = {
    selector: tuple(
        target for target in TARGETS if is_named(selector, entry(target, route="all", tags=TAGS[target]))
    )
    for selector in (*_SELECTORS, *_WHOLE)
}
"""Selector -> what it names."""
SELECTORS = (*_SELECTORS * 2, *_WHOLE)


class Origin:
    """As one replica reaches it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    async def fetch(self, request: Request, *, route: str) -> OriginResponse | OriginFailure:
        """The version that is current in the middle of it."""
        del route
        process, world = self._process, self._world
        requested_at = process.wall()
        fill = process.fills.begin(_sort(process, request), request.target)
        try:
            await process.travel(world.origin_latency())
            version = fill.version = world.versions[request.target]
            has_failed = world.now < world.origin_fails_until
            await process.travel(world.origin_latency())
        except BaseException:
            process.fills.drop(fill)
            raise
        if has_failed:
            process.fills.drop(fill)
            return OriginFailure(FailureKind.REFUSED)
        process.fills.land(fill)
        return _answer(request, version, requested_at, process.wall())


def _sort(process: Process, request: Request) -> str:
    if request.target in process.refreshing:
        return "refresh"
    return "validation" if b"if-none-match" in request.fields else "fetch"


def _answer(request: Request, version: int, requested_at: float, now: float) -> OriginResponse:
    etag = b'"%d"' % version
    is_current = request.fields.combined(b"if-none-match") == etag
    body = b"" if is_current else b"%d" % version
    fields = Fields([(b"Date", format_http_date(now)), (b"ETag", etag), *LINES[request.target]])
    head = ResponseHead(304 if is_current else 200, fields)
    framing = Framing.NONE if is_current else Framing.LENGTH
    return OriginResponse(head, FakeBody([body], len(body)), framing, requested_at, now)
