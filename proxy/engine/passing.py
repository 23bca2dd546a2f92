"""Requests that pass: the origin's answer as it is, and what a successful unsafe one makes untrue.

The answer to a POST may also be what a GET of the same target would get: then it is kept as that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from proxy.engine import answers
from proxy.engine.coalescing import Ending, Failed, Flight, Flights, Streaming
from proxy.engine.fetching import Fetcher
from proxy.engine.lookup import Lookup
from proxy.engine.plan import make_plan
from proxy.engine.protocols import Log, Origin
from proxy.engine.unsafe_methods import NAMING_FIELDS, SAFE_METHODS, invalidated_by, names_its_target
from proxy.model import (
    Answer,
    CacheStatus,
    Forward,
    LifetimeSource,
    OriginFailure,
    OriginResponse,
    Outcome,
    Reason,
    RelayTerms,
    Request,
    Succession,
)
from proxy.observe.tasks import spawn
from proxy.policy.bypass import Bypass
from proxy.policy.routes import RouteMatch, Routes
from proxy.policy.storing import StorePlan, stored

HELD_SECONDS = 0.1
"""How long the answer to a POST may wait for its place in the log: a round trip and a poll take less."""


class _Heir(NamedTuple):
    """What the answer to a POST also answers, and as what it is stored for that."""

    lookup: Lookup
    planned: StorePlan


class Passing:
    """Hands requests to the origin without the cache. `use` names the routes that purges count for."""

    def __init__(
        self,
        *,
        origin: Origin,
        log: Log,
        fetcher: Fetcher,
        flights: Flights,
        secret: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._log = log
        self._fetcher = fetcher
        self._flights = flights
        self._secret = secret
        self._clock = clock

    def use(self, routes: Routes) -> None:
        """Put other routes in force."""
        self._routes = routes
        self._terms: dict[tuple[str, Bypass, bool], RelayTerms] = {}

    def terms(self, request: Request, match: RouteMatch, why: Bypass) -> RelayTerms | None:
        """How the answer passes where nothing but its bytes is looked at; None: `answer` has more to do."""
        is_safe = request.method in SAFE_METHODS
        if not is_safe and self._routes.for_url(request.host, request.target) is not None:
            return None
        asked = match.route.name, why, is_safe
        known = self._terms.get(asked)
        if known is None:
            status = CacheStatus(forward=why.forward, detail=why.reason.word)
            watched = frozenset() if is_safe else NAMING_FIELDS
            known = self._terms[asked] = RelayTerms(match.route.name, Outcome.BYPASS, status, watched)
        return known

    async def forward(self, lookup: Lookup) -> Answer:
        """The origin's answer to a HEAD, or to a Range of a form that we do not cut: asked as they are.

        But for the target: what the key does not hold must not speak in what a HEAD renews.
        """
        lookup.forget_dead(self._log.judge)
        reason = Reason.RANGE if lookup.request.method == "GET" else Reason.METHOD
        why = Bypass(lookup.forward, reason)
        request = replace(lookup.request, target=lookup.key.forward_target)
        return await self.answer(request, lookup.match, why, outcome=lookup.miss_outcome, lookup=lookup)

    async def answer(
        self,
        request: Request,
        match: RouteMatch,
        why: Bypass,
        *,
        outcome: Outcome = Outcome.BYPASS,
        lookup: Lookup | None = None,
    ) -> Answer:
        """The origin's answer; `why` the cache was not asked, or had nothing."""
        route = match.route.name
        capture = self._log.capture()
        response = await self._origin.fetch(request, route=route)
        if isinstance(response, OriginFailure):
            return answers.failure(response, why.forward, now=self._clock(), route=route)
        stale = invalidated_by(request, response.head, self._routes)
        heir = self._heir(request, response) if stale else None
        if heir is not None:
            entry = stored(heir.planned, b"", heir.lookup.key, born=None, fetch_seconds=0.0)
            succession = self._log.supersede(stale, heir=entry, since=capture)
            return await self._keep(request, response, heir, succession)
        told = self._log.purge_soon(stale) if stale else None
        if told is not None:
            await told
        if lookup is not None and request.method == "HEAD":
            self._fetcher.freshen(lookup, response, capture)
        status = CacheStatus(forward=why.forward, forward_status=response.head.status, detail=why.reason.word)
        return answers.passed(response, status, outcome, route=route)

    def _heir(self, request: Request, response: OriginResponse) -> _Heir | None:
        """As what the answer to a POST takes the place of the content that it makes untrue."""
        lookup = self._as_get(request, response)
        if lookup is None:
            return None
        planned = self._fetcher.plan(lookup, response)
        # Only what states its lifetime: after a change nobody else knows how long it holds.
        is_kept = isinstance(planned, StorePlan) and planned.source is LifetimeSource.ORIGIN
        return _Heir(lookup, planned) if isinstance(planned, StorePlan) and is_kept else None

    def _as_get(self, request: Request, response: OriginResponse) -> Lookup | None:
        """The look-up that this answer to a POST could also answer (RFC 9110 §9.3.3)."""
        is_content_of_target = response.head.status == 200 and names_its_target(request, response.head)
        if request.method != "POST" or not is_content_of_target:
            return None
        read = replace(request, method="GET", body=None, on_interim=None)
        plan = make_plan(read, self._routes, secret=self._secret)
        # A keyed target: the origin saw more than it would see of a GET.
        if plan.key is None or plan.key.forward_target != request.target:
            return None
        lookup = plan.lookup(read)
        lookup.forward = Forward.METHOD
        return lookup

    async def _keep(
        self, request: Request, response: OriginResponse, heir: _Heir, succession: Succession
    ) -> Answer:
        born = spawn("supersede", succession)
        lookup, planned = heir

        async def keep(flight: Flight) -> Ending:
            # Who gets the answer and asks by GET at once finds it stored, also where the log is remote.
            await asyncio.wait({born}, timeout=HELD_SECONDS)
            return await self._fetcher.keep_posted(flight, lookup, response, planned, born)

        flight = self._flights.start(lookup.flight_key(), self._log.capture(), keep, is_shared=False)
        opening = await flight.opening()
        route, now = lookup.match.route.name, self._clock()
        if not isinstance(opening, Streaming):
            return answers.failed(Failed(503), Forward.METHOD, now=now, route=route)
        status = CacheStatus(forward=Forward.METHOD, forward_status=200, stored=True)
        return answers.streaming(request, opening, status, Outcome.BYPASS, now=now, route=route)
