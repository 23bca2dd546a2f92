"""Requests that pass: the origin's answer as it is, and what a successful unsafe one makes untrue."""

from __future__ import annotations

from collections.abc import Callable

from proxy.engine import answers
from proxy.engine.protocols import Log, Origin
from proxy.engine.unsafe_methods import invalidated_by
from proxy.model import Answer, CacheStatus, OriginFailure, Outcome, Request
from proxy.policy.bypass import Bypass
from proxy.policy.routes import RouteMatch, Routes


class Passing:
    """Hands requests to the origin without the cache. `use` names the routes that purges count for."""

    def __init__(self, *, origin: Origin, log: Log, clock: Callable[[], float]) -> None:
        self._origin = origin
        self._log = log
        self._clock = clock

    def use(self, routes: Routes) -> None:
        """Put other routes in force."""
        self._routes = routes

    async def answer(
        self, request: Request, match: RouteMatch, why: Bypass, *, outcome: Outcome = Outcome.BYPASS
    ) -> Answer:
        """The origin's answer; `why` the cache was not asked, or had nothing."""
        route = match.route.name
        response = await self._origin.fetch(request, route=route)
        if isinstance(response, OriginFailure):
            return answers.failure(response, why.forward, now=self._clock(), route=route)
        stale = invalidated_by(request, response.head, self._routes)
        if stale:
            self._log.purge_soon(stale)
        status = CacheStatus(
            forward=why.forward, forward_status=response.head.status, detail=why.reason.value
        )
        return answers.passed(response, status, outcome, route=route)
