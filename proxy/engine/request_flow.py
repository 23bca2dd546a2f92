"""The life of a request: match, look up, decide, then serve, refresh, fetch or pass.

`try_hit` is the synchronous first step; `serve` takes it again and goes on. Decisions are policy's,
bytes are net's, where things are kept is the stores'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from proxy.config.schema import Config
from proxy.engine import answers
from proxy.engine.coalescing import (
    Ending,
    Failed,
    Fetched,
    Flight,
    Flights,
    Released,
    Streaming,
    Uncacheable,
    Unshared,
)
from proxy.engine.data_purge import DataPurge
from proxy.engine.fetching import Fetcher
from proxy.engine.lookup import Lookup
from proxy.engine.marks import Marks
from proxy.engine.protocols import Log, Origin, SharedTier, Tiers
from proxy.engine.refreshing import Refresher
from proxy.engine.tier_lookup import look_up, peek
from proxy.engine.unsafe_methods import invalidated_by
from proxy.model import (
    Answer,
    CacheStatus,
    Forward,
    LifetimeSource,
    OriginFailure,
    Outcome,
    Reason,
    Request,
    StoredResponse,
    Validity,
)
from proxy.policy.bypass import Bypass, bypass
from proxy.policy.cache_key import make_key, variant_key
from proxy.policy.directives import request_directives
from proxy.policy.failures import retry_after
from proxy.policy.reuse import Decision, Reuse, decide, may_answer_error
from proxy.policy.routes import RouteMatch, Routes

JOINS = 3
"""How often a follower whose flight was overtaken by a purge joins another before it flies alone."""


class RequestFlow:
    """Answers requests. One for the process; policies are swapped whole by `use`."""

    def __init__(
        self,
        config: Config,
        *,
        tiers: Tiers,
        shared: SharedTier,
        log: Log,
        origin: Origin,
        fetcher: Fetcher,
        flights: Flights,
        refresher: Refresher,
        uncacheable: Marks,
        secret: bytes,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._tiers = tiers
        self._shared = shared
        self._log = log
        self._origin = origin
        self._fetcher = fetcher
        self._flights = flights
        self._refresher = refresher
        self._uncacheable = uncacheable
        self._secret = secret
        self._clock = clock
        self._monotonic = monotonic
        self._dice = dice
        self.use(config)

    def use(self, config: Config) -> None:
        """Put the routes of a configuration in force, for requests from now on."""
        self._routes = Routes(config)
        self._data_purge = DataPurge(config.data_purge, self._log, clock=self._clock)

    def try_hit(self, request: Request) -> Answer | None:
        """The answer if L1 has it: no waiting, no task."""
        match = self._routes.match(request)
        if bypass(request, match) is not None:
            return None
        return self._from_l1(self._lookup(request, match))

    async def serve(self, request: Request) -> Answer:
        """The answer, whatever it takes. Every wait below has a deadline."""
        if self._data_purge.is_for(request):
            return await self._data_purge.answer(request)
        match = self._routes.match(request)
        refusal = bypass(request, match)
        if refusal is not None:
            return await self._pass(request, match, refusal)
        lookup = self._lookup(request, match)
        answer = self._from_l1(lookup) or await self._from_l2(lookup)
        return answer or await self._from_origin(lookup)

    def _lookup(self, request: Request, match: RouteMatch) -> Lookup:
        key = make_key(request, match.route, secret=self._secret)
        return Lookup(request, match, request_directives(request.fields), key)

    def _from_l1(self, lookup: Lookup, *, is_second_choice: bool = False) -> Answer | None:
        now = self._clock()
        found = peek(self._tiers, lookup, now, secret=self._secret)
        if found is None:
            return None
        held, stored = found
        if not is_second_choice and self._shared.is_present and now - held.kept_at > lookup.policy.l1_ttl:
            return None
        if is_second_choice:
            # L2 was asked and had nothing better: not again before another l1_ttl has passed.
            held.kept_at = now
        return self._use(lookup, stored, self._log.judge_held(held), "l1", now)

    async def _from_l2(self, lookup: Lookup) -> Answer | None:
        if self._shared.is_present:
            stored = await look_up(self._tiers, lookup, self._clock(), secret=self._secret)
            if stored is not None:
                # Judged at the moment of use, in the step that answers and back-fills (invalidation R7).
                now = self._clock()
                answer = self._use(lookup, stored, self._log.judge(stored), "l2", now)
                if answer is not None:
                    self._tiers.back_fill(lookup.entry_key, stored, now, idle=lookup.policy.idle)
                    return answer
            # Meanwhile another request may have filled L1; and an old copy there still has its own lifetime.
            return self._from_l1(lookup, is_second_choice=True)
        return None

    def _use(
        self, lookup: Lookup, stored: StoredResponse, validity: Validity, tier: str, now: float
    ) -> Answer | None:
        decision = decide(
            stored,
            validity,
            lookup.request,
            lookup.directives,
            lookup.policy,
            now=now,
            roll=self._dice(),
        )
        match decision.reuse:
            case Reuse.FRESH:
                return self._hit(lookup, stored, decision, tier, now)
            case Reuse.REFRESH:
                self._refresher.refresh(lookup, stored)
                return self._hit(lookup, stored, decision, tier, now)
            case Reuse.VALIDATE_FIRST:
                lookup.offer_base(stored, Forward.STALE if decision.stale else Forward.REQUEST)
            case Reuse.PASS:
                lookup.refusal = decision.reason
            case Reuse.MISS:
                if validity is Validity.UNSYNCED:
                    lookup.unproven = stored
            case unknown:
                assert_never(unknown)
        return None

    def _hit(
        self, lookup: Lookup, stored: StoredResponse, decision: Decision, tier: str, now: float
    ) -> Answer:
        outcome, detail = _outcome_of_hit(stored, decision, tier)
        if not self._log.is_synced:
            detail = "unsynced"
        status = CacheStatus(hit=True, ttl=int(decision.seconds_left), detail=detail)
        return answers.from_stored(
            lookup.request, stored, status, outcome, now=now, route=lookup.match.route.name
        )

    async def _from_origin(self, lookup: Lookup) -> Answer:
        refused = self._refused(lookup)
        if refused is not None:
            return refused
        if lookup.refusal is Reason.COOKIE:
            return await self._pass(lookup.request, lookup.match, Bypass(Forward.BYPASS, Reason.COOKIE))
        if lookup.request.method == "HEAD" or b"range" in lookup.request.fields:
            return await self._forward_alone(lookup)
        if self._refresher.is_failing(lookup):
            answer = self._stand_in(lookup, Failed(504))
            if answer is not None:
                return answer
        return await self._coalesced(lookup) if self._may_share(lookup) else await self._lead(lookup)

    def _refused(self, lookup: Lookup) -> Answer | None:
        now, route = self._clock(), lookup.match.route.name
        if lookup.directives.only_if_cached and lookup.policy.client_cache_control == "honour":
            detail = "The request asked for a stored answer only, and there is none that may be used."
            return answers.refused(504, detail, now=now, route=route, word="only-if-cached")
        if self._shared.must_shed:
            detail = "The shared cache cannot be asked, and the origin is not to be exposed."
            return answers.refused(503, detail, now=now, route=route, word="shed", extra=retry_after(1))
        return None

    def _may_share(self, lookup: Lookup) -> bool:
        asked = lookup.directives
        wants_its_own = lookup.policy.client_cache_control == "honour" and (
            asked.no_cache or asked.no_store or asked.max_age is not None
        )
        if wants_its_own or lookup.policy.coalesce.scope == "off":
            return False
        return not self._uncacheable.has(lookup.flight_key(), at=self._monotonic())

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
        if not isinstance(ending, Fetched) or not self._is_same_variant(lookup, ending):
            return None
        now = self._clock()
        validity = self._log.judge(ending.stored, began_at=flight.capture.began_at)
        if arrived_version == flight.capture.version and validity in (Validity.DEAD, Validity.STALE):
            # It asked before the invalidation came: bound by what held when it arrived.
            validity = Validity.ALIVE
        decision = decide(
            ending.stored,
            validity,
            lookup.request,
            lookup.directives,
            lookup.policy,
            now=now,
            roll=self._dice(),
        )
        if decision.reuse not in (Reuse.FRESH, Reuse.REFRESH):
            return None
        status = CacheStatus(forward=lookup.forward, collapsed=True, ttl=int(decision.seconds_left))
        return answers.from_stored(
            lookup.request, ending.stored, status, Outcome.COLLAPSED, now=now, route=lookup.match.route.name
        )

    def _is_same_variant(self, lookup: Lookup, ending: Fetched) -> bool:
        """The answer may vary by fields in which this request differs from the one that asked."""
        if not ending.vary:
            return True
        primary, fields = lookup.key.digest, lookup.request.fields
        ours = variant_key(primary, ending.vary, fields, secret=self._secret)
        return ours == variant_key(primary, ending.vary, ending.asked, secret=self._secret)

    async def _lead(self, lookup: Lookup, *, is_shared: bool = False) -> Answer:
        key = lookup.flight_key()

        async def fetch(flight: Flight) -> Ending:
            return await self._fetcher.fetch(flight, lookup)

        flight = self._flights.start(key, self._log.capture(), fetch, is_shared=is_shared)
        opening = await flight.opening()
        match opening:
            case Streaming():
                status = self._status(lookup, opening.head.status, stored=True)
                return answers.streaming(
                    lookup.request, opening, status, self._outcome(lookup), route=lookup.match.route.name
                )
            case Uncacheable(response=response, reason=reason):
                self._uncacheable.add(key, at=self._monotonic())
                status = answers.why_not_stored(lookup.forward, response.head.status, reason)
                outcome = Outcome.BYPASS if status.forward is Forward.BYPASS else self._outcome(lookup)
                return answers.passed(response, status, outcome, route=lookup.match.route.name)
            case Unshared(stored=stored, head=head):
                return self._fetched(lookup, Fetched(stored, head, is_kept=False, is_validated=True))
            case Fetched():
                self._refresher.succeeded(lookup)
                return self._fetched(lookup, opening)
            case Failed():
                return self._failed(lookup, opening)
            case Released():
                return self._failed(lookup, Failed(503))
            case unknown:
                assert_never(unknown)

    def _fetched(self, lookup: Lookup, fetched: Fetched) -> Answer:
        """For the one who asked: its own answer, whatever it says of reuse."""
        now = self._clock()
        stored = fetched.stored
        origin_status = 304 if fetched.is_validated else fetched.head.status
        ttl = int(stored.lifetime - stored.age(now)) if fetched.is_validated else None
        status = self._status(lookup, origin_status, stored=fetched.is_kept, ttl=ttl)
        outcome = Outcome.REVALIDATED if fetched.is_validated else self._outcome(lookup)
        lines = None if fetched.is_validated else answers.client_lines(fetched.head)
        return answers.from_stored(
            lookup.request, stored, status, outcome, now=now, route=lookup.match.route.name, lines=lines
        )

    def _failed(self, lookup: Lookup, ending: Failed, *, collapsed: bool = False) -> Answer:
        self._refresher.failed(lookup)
        answer = self._stand_in(lookup, ending)
        if answer is not None:
            return answer
        return answers.failed(
            ending,
            lookup.forward,
            now=self._clock(),
            route=lookup.match.route.name,
            collapsed=collapsed,
        )

    def _stand_in(self, lookup: Lookup, ending: Failed) -> Answer | None:
        """A stale answer, where the policy allows one while the origin fails (RFC 5861 §4)."""
        base = lookup.stand_in
        if base is None:
            return None
        now = self._clock()
        validity = self._log.judge(base)
        if not may_answer_error(base, validity, lookup.request, lookup.policy, now=now):
            return None
        status = CacheStatus(
            forward=Forward.STALE,
            forward_status=None if ending.failure else ending.status,
            ttl=int(base.lifetime - base.age(now)),
            detail="stale-if-error" if self._log.is_synced else "unsynced",
        )
        return answers.from_stored(
            lookup.request, base, status, Outcome.STALE, now=now, route=lookup.match.route.name
        )

    def _status(
        self, lookup: Lookup, origin_status: int, *, stored: bool, ttl: int | None = None
    ) -> CacheStatus:
        return CacheStatus(forward=lookup.forward, forward_status=origin_status, stored=stored, ttl=ttl)

    def _outcome(self, lookup: Lookup) -> Outcome:
        return Outcome.EXPIRED if lookup.forward is Forward.STALE else Outcome.MISS

    async def _forward_alone(self, lookup: Lookup) -> Answer:
        """HEAD and Range on a miss: asked as they are, not stored."""
        reason = Reason.RANGE if lookup.request.method == "GET" else Reason.METHOD
        return await self._pass(
            lookup.request, lookup.match, Bypass(lookup.forward, reason), outcome=self._outcome(lookup)
        )

    async def _pass(
        self, request: Request, match: RouteMatch, why: Bypass, *, outcome: Outcome = Outcome.BYPASS
    ) -> Answer:
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


def _outcome_of_hit(stored: StoredResponse, decision: Decision, tier: str) -> tuple[Outcome, str]:
    if decision.stale:
        return Outcome.UPDATING, tier
    if stored.source is LifetimeSource.NEGATIVE:
        return Outcome.NEGATIVE, "negative"
    return (Outcome.HIT if tier == "l1" else Outcome.HIT_L2), tier
