"""Misses in two steps: one that says what the origin is to be asked, one that stores its answer.

For a request that nothing stored has a say in, and whose answer is here whole: no task, no wait between. What
takes more, `origin_flow.py` goes on with in the same flight, which others may have joined meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from proxy.engine import answers
from proxy.engine.coalescing import Ending, Flight, Flights
from proxy.engine.fetching import Fetcher
from proxy.engine.fleet_fetching import Claimed, FleetFetcher
from proxy.engine.lookup import Lookup
from proxy.engine.marks import Marks
from proxy.engine.origin_flow import OriginFlow
from proxy.engine.plan import Plan
from proxy.engine.protocols import Log
from proxy.engine.refreshing import Refresher
from proxy.model import Answer, CacheStatus, Forward, OriginResponse, Outcome, RelayTerms, Request
from proxy.policy.reuse import ANYONE
from proxy.policy.routes import Route


class Filling:
    """Begins them. `forget` is for other routes."""

    def __init__(
        self,
        *,
        origin_flow: OriginFlow,
        fetcher: Fetcher,
        fleet_fetcher: FleetFetcher,
        flights: Flights,
        refresher: Refresher,
        uncacheable: Marks,
        log: Log,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.origin_flow = origin_flow
        self.fetcher = fetcher
        self.fleet_fetcher = fleet_fetcher
        self.flights = flights
        self.refresher = refresher
        self.clock = clock
        self._uncacheable = uncacheable
        self._log = log
        self._monotonic = monotonic
        self.forget()

    def forget(self) -> None:
        """Other routes are in force."""
        self._of_route: dict[Route, tuple[RelayTerms, bool]] = {}
        """How answers go to their clients, and whether no lease is wanted. By the route itself, not its name:
        what was planned before a reload may still come."""

    def begin(self, plan: Plan, request: Request) -> Fill | None:
        """The fetch for a GET without conditions that has found nothing; None: there is more to look at."""
        if plan.asked is not ANYONE or plan.policy.coalesce.scope == "off":
            return None
        # Whoever asks what anyone may have shares by the key of the entry (`Lookup.flight_key`).
        key = plan.digest
        if self.flights.get(key) is not None or self._uncacheable.has(key, at=self._monotonic()):
            return None
        terms, is_ready = self._of_route.get(plan.match.route) or self._look_at(plan)
        fill = Fill(self, plan.lookup(request), terms, is_ready=is_ready)
        # Last: from here on somebody has to see to its end.
        fill.flight = self.flights.begin(key, self._log.capture())
        return fill

    def _look_at(self, plan: Plan) -> tuple[RelayTerms, bool]:
        status = CacheStatus(forward=Forward.URI_MISS, stored=True)
        terms = RelayTerms(plan.route, Outcome.MISS, status, frozenset())
        seen = self._of_route[plan.match.route] = terms, not self.fleet_fetcher.wants_lease(plan.policy)
        return seen


class Fill:
    """One that was begun. Whoever has it ends it by a `take` that takes, or calls `go_on`, once: others may
    have joined, and wait for that.
    """

    __slots__ = ("_claimed", "_filling", "_lookup", "flight", "is_ready", "target", "terms")

    flight: Flight

    def __init__(self, filling: Filling, lookup: Lookup, terms: RelayTerms, *, is_ready: bool) -> None:
        self._filling = filling
        self._lookup = lookup
        self._claimed: Claimed | None = None
        self.is_ready = is_ready
        """The origin may be asked; else after a `claim`."""
        self.target = lookup.key.forward_target
        """What it is asked for."""
        self.terms = terms
        """How the answer goes to the client if `take` takes it."""

    def claim(self, then: Callable[[], None]) -> None:
        """Ask for the lease of the fetch. `then` is called once, maybe at once: is it ready?"""
        claimed = partial(self._on_claimed, then)
        if not self._filling.fleet_fetcher.ask(self.flight, self._lookup, claimed):
            then()

    def take(self, response: OriginResponse) -> tuple[bytes, int | None] | None:
        """Store it: its lines for the client, and its Age. None: nothing was done, it has to `go_on`."""
        filling, lookup = self._filling, self._lookup
        fetched = filling.fetcher.fill(self.flight, lookup, response)
        if fetched is None:
            return None
        filling.flights.end(self.flight, fetched)
        filling.refresher.succeeded(lookup)
        status = self.terms.cache_status
        return answers.fetched_lines(fetched.stored, response.head, status, now=filling.clock())

    def go_on(self, request: Request) -> None:
        """In a task of its own, with the request as it is now: it may have been sent."""
        self._lookup.request = request
        self._filling.flights.go_on(self.flight, self._fetch)

    def serve(self, _request: Request) -> Coroutine[Any, Any, Answer]:
        """The answer of what goes on."""
        return self._filling.origin_flow.lead(self._lookup, self.flight)

    def _fetch(self, flight: Flight) -> Coroutine[Any, Any, Ending]:
        filling, lookup = self._filling, self._lookup
        if self.is_ready:
            return filling.fetcher.fetch(flight, lookup)
        return filling.fleet_fetcher.fetch(flight, lookup, self._claimed)

    def _on_claimed(self, then: Callable[[], None], claimed: Claimed) -> None:
        self._claimed = claimed
        try:
            self.is_ready = self._filling.fleet_fetcher.try_go(self.flight, self._lookup, claimed)
        finally:
            then()
