"""A miss: who asks the origin, who waits for it, and what each gets of the outcome.

One fetch per key in this process (coalescing.py) and across replicas (fleet_fetching.py); what it stores is
fetching.py's; here it is decided for each request whether it may have another's answer, and what stands in
when the origin fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import assert_never

from msgspec.structs import replace

from proxy.engine import answers
from proxy.engine.coalescing import (
    Asked,
    Ending,
    Failed,
    Fetched,
    Flight,
    Flights,
    Found,
    Released,
    Streaming,
    Uncacheable,
    Unshared,
)
from proxy.engine.fetching import Fetcher
from proxy.engine.fleet_fetching import FleetFetcher
from proxy.engine.lookup import Lookup
from proxy.engine.marks import Marks
from proxy.engine.protocols import Log, SharedTier
from proxy.engine.refreshing import Refresher
from proxy.model import Answer, CacheStatus, Forward, Outcome, Validity
from proxy.policy.cache_key import variant_key
from proxy.policy.cache_status import whole_seconds_left
from proxy.policy.failures import retry_after
from proxy.policy.reuse import Reuse, decide, may_answer_error

JOINS = 3
"""How often a follower whose flight was overtaken by a purge joins another before it flies alone."""


class OriginFlow:
    """Answers what the tiers cannot. Every wait has the deadlines of the fetch that it waits for."""

    def __init__(
        self,
        *,
        shared: SharedTier,
        log: Log,
        fetcher: Fetcher,
        fleet_fetcher: FleetFetcher,
        flights: Flights,
        refresher: Refresher,
        uncacheable: Marks,
        secret: bytes,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._shared = shared
        self._log = log
        self._fetcher = fetcher
        self._fleet_fetcher = fleet_fetcher
        self._flights = flights
        self._refresher = refresher
        self._uncacheable = uncacheable
        self._secret = secret
        self._clock = clock
        self._monotonic = monotonic
        self._dice = dice

    async def answer(self, lookup: Lookup) -> Answer:
        """The origin's answer, another's that may be shared, or what stands in for it."""
        if self._refresher.is_failing(lookup):
            # It failed a moment ago and is not asked again: nothing is forwarded.
            answer = self._stand_in(lookup, CacheStatus(hit=True))
            if answer is not None:
                return answer
        key = lookup.flight_key()
        if not self._may_share(lookup, key):
            return await self._lead(lookup)
        if self._flights.get(key) is None:
            return await self._lead(lookup, is_shared=True)
        return await self._coalesced(lookup)

    def refused(self, lookup: Lookup) -> Answer | None:
        """Why the origin must not be asked for this request; None: it may be."""
        route = lookup.match.route.name
        if lookup.directives.only_if_cached and lookup.policy.client_cache_control == "honour":
            detail = "The request asked for a stored answer only, and there is none that may be used."
            return answers.refused(504, detail, now=self._clock(), route=route, word="only-if-cached")
        if self._shared.must_shed:
            detail = "The shared cache cannot be asked, and the origin is not to be exposed."
            now, extra = self._clock(), retry_after(1)
            return answers.refused(503, detail, now=now, route=route, word="shed", extra=extra)
        return None

    def _may_share(self, lookup: Lookup, key: bytes) -> bool:
        asked = lookup.directives
        wants_its_own = lookup.policy.client_cache_control == "honour" and (
            asked.no_cache or asked.no_store or asked.max_age is not None
        )
        if wants_its_own or lookup.asks_range or lookup.policy.coalesce.scope == "off":
            return False
        return not self._uncacheable.has(key, at=self._monotonic())

    async def _coalesced(self, lookup: Lookup) -> Answer:
        for _ in range(JOINS):
            flight = self._flights.get(lookup.flight_key())
            if flight is None:
                return await self._lead(lookup, is_shared=True)
            arrived_version = self._log.capture().version
            ending = await flight.ending()
            if isinstance(ending, Released):
                break
            answer = self._share(lookup, flight, ending, arrived_version)
            if answer is not None:
                return answer
        return await self._lead(lookup)

    def _share(self, lookup: Lookup, flight: Flight, ending: Ending, arrived_version: int) -> Answer | None:
        """What a follower gets of another's fetch; None: it must ask for itself (invalidation R9)."""
        if isinstance(ending, Failed):
            return self._failed(lookup, ending, collapsed=True)
        if isinstance(ending, Released) or not self._is_same_variant(lookup, ending):
            return None
        now = self._clock()
        validity = self._validity(flight, ending, arrived_version)
        if validity is Validity.STALE:
            # No window for stale answers helps: this one waited, and is bound by what came meanwhile.
            return None
        decision = decide(ending.stored, validity, lookup.asked, lookup.policy, now=now, roll=self._dice())
        if decision.reuse not in (Reuse.FRESH, Reuse.REFRESH):
            return None
        ttl = whole_seconds_left(decision.seconds_left)
        status = CacheStatus(forward=lookup.forward, collapsed=True, ttl=ttl)
        return answers.from_stored(
            lookup.request, ending.stored, status, Outcome.COLLAPSED, now=now, route=lookup.match.route.name
        )

    def _validity(self, flight: Flight, ending: Fetched | Found, arrived_version: int) -> Validity:
        if isinstance(ending, Found):
            return self._log.judge(ending.stored)
        validity = self._log.judge(ending.stored, began_at=flight.capture.began_at)
        asked_before = arrived_version == flight.capture.version and self._log.is_synced
        if asked_before and validity in (Validity.DEAD, Validity.STALE):
            # Bound by what held when it arrived; out of step the fetch itself may be too old for that (R15).
            return Validity.ALIVE
        return validity

    def _is_same_variant(self, lookup: Lookup, ending: Fetched | Found) -> bool:
        """The answer may vary by fields in which this request differs from the one that asked."""
        if not ending.vary:
            return True
        primary, fields = lookup.key.digest, lookup.request.fields
        ours = variant_key(primary, ending.vary, fields, secret=self._secret)
        return ours == variant_key(primary, ending.vary, ending.asked, secret=self._secret)

    async def _lead(self, lookup: Lookup, *, is_shared: bool = False) -> Answer:
        lookup.forget_dead(self._log.judge)  # it may have waited, for L2 or for another's fetch
        is_shared = is_shared and not lookup.asks_range
        key = lookup.flight_key()
        fetcher = self._fleet_fetcher if is_shared else self._fetcher

        fetch = partial(fetcher.fetch, lookup=lookup)
        flight = self._flights.start(key, self._log.capture(), fetch, is_shared=is_shared)
        return await self.lead(lookup, flight)

    async def lead(self, lookup: Lookup, flight: Flight) -> Answer:
        """The answer to the one for whom the flight was begun."""
        opening = await flight.opening()
        if isinstance(opening, Found):
            shared = self._share(lookup, flight, opening, flight.capture.version)
            return shared or await self._lead(lookup)
        return self._led(lookup, opening)

    def _led(self, lookup: Lookup, opening: Asked) -> Answer:
        """What the one who asked the origin gets of it."""
        match opening:
            case Fetched():
                self._refresher.succeeded(lookup)
                return self._fetched(lookup, opening)
            case Streaming():
                return self._streaming(lookup, opening)
            case Uncacheable():
                return self._not_stored(lookup, opening)
            case Unshared(stored=stored):
                return self._fetched(lookup, Fetched(stored, None, is_kept=False, origin_status=304))
            case Failed():
                return self._failed(lookup, opening)
            case Released():
                return self._failed(lookup, Failed(503))
            case unknown:
                assert_never(unknown)

    def _streaming(self, lookup: Lookup, opening: Streaming) -> Answer:
        status = self._status(lookup, opening.head.status, stored=True)
        outcome, now, route = lookup.miss_outcome, self._clock(), lookup.match.route.name
        return answers.streaming(lookup.request, opening, status, outcome, now=now, route=route)

    def _not_stored(self, lookup: Lookup, opening: Uncacheable) -> Answer:
        response, reason = opening.response, opening.reason
        status = answers.why_not_stored(lookup.forward, response.head.status, reason)
        outcome = Outcome.BYPASS if status.forward is Forward.BYPASS else lookup.miss_outcome
        now, route = self._clock(), lookup.match.route.name
        return answers.not_stored(lookup.request, response, status, outcome, now=now, route=route)

    def _fetched(self, lookup: Lookup, fetched: Fetched) -> Answer:
        """For the one who asked: its own answer, whatever it says of reuse."""
        now, stored, is_validated = self._clock(), fetched.stored, fetched.is_validated
        ttl = whole_seconds_left(stored.lifetime - stored.age(now)) if is_validated else None
        status = self._status(lookup, fetched.origin_status, stored=fetched.is_kept, ttl=ttl)
        outcome = Outcome.REVALIDATED if is_validated else lookup.miss_outcome
        route = lookup.match.route.name
        return answers.from_stored(
            lookup.request, stored, status, outcome, now=now, route=route, head=fetched.head
        )

    def _failed(self, lookup: Lookup, ending: Failed, *, collapsed: bool = False) -> Answer:
        self._refresher.failed(lookup)
        origin_status = None if ending.failure else ending.status
        answer = self._stand_in(lookup, CacheStatus(forward=Forward.STALE, forward_status=origin_status))
        if answer is not None:
            return answer
        return answers.failed(
            ending,
            lookup.forward,
            now=self._clock(),
            route=lookup.match.route.name,
            collapsed=collapsed,
        )

    def _stand_in(self, lookup: Lookup, asked: CacheStatus) -> Answer | None:
        """A stale answer, where the policy allows one while the origin fails (RFC 5861 §4).

        `asked` says whether the origin was asked for this request, and what it answered.
        """
        base = lookup.stand_in
        if base is None:
            return None
        now = self._clock()
        validity = self._log.judge(base)
        if not may_answer_error(base, validity, lookup.asked, lookup.policy, now=now):
            return None
        status = replace(
            asked,
            ttl=whole_seconds_left(base.lifetime - base.age(now), is_stale=validity is Validity.STALE),
            detail="stale-if-error" if self._log.is_synced else "unsynced",
        )
        return answers.from_stored(
            lookup.request, base, status, Outcome.STALE, now=now, route=lookup.match.route.name
        )

    def _status(
        self, lookup: Lookup, origin_status: int, *, stored: bool, ttl: int | None = None
    ) -> CacheStatus:
        return CacheStatus(forward=lookup.forward, forward_status=origin_status, stored=stored, ttl=ttl)
