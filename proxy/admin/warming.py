"""POST /warm: fetches URLs into the cache, and tells of each as it ends, one JSON object a line.

The last line has the totals. What a fetch is, is behind the Protocols.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import orjson
import structlog
from aiohttp import web

from proxy.admin import bodies
from proxy.admin.problems import refuse
from proxy.admin.protocols import Configuration, Prefetching
from proxy.policy.wanted import Wanted, parse_wanted

DEFAULT_AT_ONCE = 4
MOST_AT_ONCE = 64
"""The origin's own bound, `origin.max_in_flight`, holds besides."""
DEFAULT_SECONDS = 60.0
LONGEST_SECONDS = 3600.0
WRITE_SECONDS = 30.0
"""For a line to be taken by who asked; then nothing more is fetched."""
CONTENT_TYPE = "application/x-ndjson"

_PARAMETERS = frozenset({"concurrency", "timeout"})
_RESULTS = ("stored", "fresh", "not-stored", "failed", "skipped")

_log = structlog.get_logger("sidecache.admin")

Line = Mapping[str, Any]
"""`url` and `result`, and `reason` where there is one."""


class Asked(NamedTuple):
    """What a call wants."""

    wanted: Sequence[Wanted]
    body: Mapping[str, Any]
    at_once: int
    seconds: float


async def asked_for(request: web.Request, configuration: Configuration) -> Asked:
    """What the call says, or the answer that names its faults."""
    bodies.check_names(request, _PARAMETERS)
    at_once = bodies.count(request, "concurrency", default=DEFAULT_AT_ONCE, most=MOST_AT_ONCE)
    seconds = bodies.wait_seconds(request, "timeout", most=LONGEST_SECONDS)
    body = await bodies.json_body(request)
    wanted = parse_wanted(body, limit=configuration.config.limits.purge_selectors)
    if isinstance(wanted, list):
        raise refuse(422, "what is to be fetched has faults", faults=wanted)
    given = body if isinstance(body, Mapping) else {}
    return Asked(wanted, given, at_once, DEFAULT_SECONDS if seconds is None else seconds)


class WarmPage:
    """The call of one process."""

    def __init__(self, prefetching: Prefetching, configuration: Configuration) -> None:
        self._prefetching = prefetching
        self._configuration = configuration

    async def warm(self, request: web.Request) -> web.StreamResponse:
        """POST /warm."""
        asked = await asked_for(request, self._configuration)
        return await told(request, self._lines(asked))

    async def _lines(self, asked: Asked) -> AsyncGenerator[Line, None]:
        results = self._prefetching.fetch_all(
            [wanted.request for wanted in asked.wanted],
            cause="warm",
            at_once=asked.at_once,
            seconds=asked.seconds,
        )
        async with aclosing(results) as open_results:
            async for number, (result, reason) in open_results:
                line = {"url": asked.wanted[number].url, "result": result}
                yield line if reason is None else {**line, "reason": reason}


async def told(request: web.Request, lines: AsyncGenerator[Line, None]) -> web.StreamResponse:
    """Each line as it comes, then the totals; ends early where nobody reads."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    await response.prepare(request)
    began_at = time.monotonic()
    counts = Counter(dict.fromkeys(_RESULTS, 0))
    try:
        async with aclosing(lines) as open_lines:
            async for line in open_lines:
                counts[line["result"]] += 1
                await _write(response, line)
        seconds = round(time.monotonic() - began_at, 3)
        await _write(response, {"total": counts.total(), **counts, "seconds": seconds})
    except (ConnectionError, TimeoutError):
        pass  # whoever asked is gone and need not be told; what it has begun has ended
    except Exception:  # noqa: BLE001 - the head is out: that the totals are missing is all that can be told
        _log.exception("warm call crashed")
    return response


async def _write(response: web.StreamResponse, line: Line) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
