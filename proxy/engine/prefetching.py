"""Fetches what no client has asked for yet, by the way of every request: URLs, or what was purged.

What is fresh already is left alone. Owns nothing but the tasks that it has started; each fetch inside has the
deadlines of the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from proxy.engine.lookup import Lookup
from proxy.engine.plan import Plan
from proxy.model import Answer, BodyBroken, Outcome, Request
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn

_FRESH = frozenset({Outcome.HIT, Outcome.HIT_L2, Outcome.NEGATIVE})
_FAILED = frozenset({Outcome.ERROR, Outcome.STALE})


class Prefetched(NamedTuple):
    """What became of one request."""

    result: str
    """`fresh` (it was), `stored`, `not-stored`, `failed` or `skipped`; the metric's label."""
    reason: str | None = None
    """Why it is neither fresh nor stored, in the words of Cache-Status where it has one."""


SKIPPED = Prefetched("skipped")
_CRASHED = Prefetched("failed", "crashed")


class Flow(Protocol):
    """The way of every request."""

    def plan(self, request: Request) -> Plan:
        """What the request asks for."""

    def try_hit(self, request: Request, plan: Plan | None = None) -> Answer | None:
        """The answer if L1 has it."""

    async def serve(self, request: Request, plan: Plan | None = None) -> Answer:
        """The answer, whatever it takes."""

    async def until_refreshed(self, lookup: Lookup) -> None:
        """Wait for the end of the background refresh that an answer has begun, if it goes on."""


class Prefetcher:
    """Asks the flow on nobody's behalf."""

    def __init__(self, flow: Flow, metrics: Metrics) -> None:
        self._flow = flow
        self._metrics = metrics

    async def fetch_all(
        self, requests: Sequence[Request], *, cause: str, at_once: int, seconds: float
    ) -> AsyncGenerator[tuple[int, Prefetched], None]:
        """What became of each, by its number, as they end; `at_once` at a time, for `seconds` at most.

        What has not ended by then is skipped. `cause` is the metric's label. Waits for its reader: nothing
        further is begun meanwhile.
        """
        until = asyncio.get_running_loop().time() + seconds
        unasked = iter(enumerate(requests))
        under_way: dict[asyncio.Task[Prefetched], int] = {}
        try:
            while True:
                left = max(0.0, until - asyncio.get_running_loop().time())
                while left and len(under_way) < at_once and (following := next(unasked, None)) is not None:
                    number, request = following
                    under_way[spawn("prefetch", self.fetch(request, cause=cause))] = number
                if not under_way:
                    break
                done, _ = await asyncio.wait(under_way, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield under_way.pop(task), _result_of(task)
                if not done:
                    break
        finally:
            for task in under_way:
                task.cancel()
        for number in under_way.values():  # which count themselves
            yield number, SKIPPED
        for number, _ in unasked:
            self._metrics.prefetches.add(cause, SKIPPED.result)
            yield number, SKIPPED

    async def fetch(self, request: Request, *, cause: str) -> Prefetched:
        """Have it in the cache, if it may be."""
        result = _CRASHED
        try:
            result = await self._fetch(request)
        except asyncio.CancelledError:
            result = SKIPPED
            raise
        finally:
            self._metrics.prefetches.add(cause, result.result)
        return result

    async def _fetch(self, request: Request) -> Prefetched:
        plan = self._flow.plan(request)
        answer = await self._flow.serve(request, plan)
        if answer.outcome is not Outcome.UPDATING:
            return await _ended(answer)
        await self._flow.until_refreshed(plan.lookup(request))
        again = self._flow.try_hit(request, plan)
        is_fresh = again is not None and again.outcome in _FRESH
        return Prefetched("stored") if is_fresh else Prefetched("failed", "not-refreshed")


async def _ended(answer: Answer) -> Prefetched:
    status = answer.cache_status
    is_stored = answer.outcome is Outcome.COLLAPSED or (status is not None and status.stored)
    if not isinstance(answer.body, bytes):
        try:
            while is_stored and await answer.body.read():
                pass
        except BodyBroken as broken:
            return Prefetched("failed", broken.failure.kind.word)
        finally:
            answer.body.abandon()
    if answer.outcome in _FRESH:
        return Prefetched("fresh")
    of_status = f"status-{answer.status}"
    reason = of_status if status is None or status.detail is None else status.detail
    if answer.outcome in _FAILED:
        return Prefetched("failed", reason)
    if answer.status >= 500:
        return Prefetched("failed", of_status)
    return Prefetched("stored") if is_stored else Prefetched("not-stored", reason)


def _result_of(task: asyncio.Task[Prefetched]) -> Prefetched:
    return _CRASHED if task.exception() is not None else task.result()
