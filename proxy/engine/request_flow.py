"""The life of a request: match, look up, decide, then serve; or let it pass, or ask the origin.

`plain_hit` and `try_hit` are the synchronous first step; `serve` takes it again and goes on. Decisions are
policy's, bytes are net's, where things are kept is the stores', what a miss takes is origin_flow.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, assert_never

from proxy.config.schema import Config
from proxy.engine import answers
from proxy.engine.data_purge import DataPurge
from proxy.engine.filling import Fill, Filling
from proxy.engine.lookup import Lookup
from proxy.engine.origin_flow import OriginFlow
from proxy.engine.passing import Passing
from proxy.engine.plan import Plan, make_plan
from proxy.engine.protocols import Log, SharedTier, Tiers
from proxy.engine.refreshing import Refresher
from proxy.engine.tier_lookup import look_up, peek
from proxy.model import (
    LETTER,
    NOT_ASKED,
    Answer,
    Entry,
    Forward,
    Found,
    Held,
    Hit,
    LifetimeSource,
    Outcome,
    Reason,
    RelayTerms,
    Request,
    StoredResponse,
    Validity,
    VaryRecord,
)
from proxy.policy.bypass import Bypass
from proxy.policy.cache_status import whole_seconds_left
from proxy.policy.parts import asks_one_range, holds_range, may_be_joined
from proxy.policy.preconditions import is_hit_not_modified
from proxy.policy.reuse import ANYONE, Decision, Reuse, decide, is_newer, seconds_alike, seconds_fresh
from proxy.policy.routes import Routes

_FRESH_HITS = {"l1": (Outcome.HIT, "l1"), "l2": (Outcome.HIT_L2, "l2")}
_NEGATIVE_HIT = (Outcome.NEGATIVE, "negative")


class Lasting(NamedTuple):
    """What has to be so for a hit to be said again as it was."""

    held: Held
    """The copy in L1, with the version of the log that it was judged by."""
    until: float
    """Epoch seconds."""


class RequestFlow:
    """Answers requests. One for the process; policies are swapped whole by `use`."""

    def __init__(
        self,
        config: Config,
        *,
        tiers: Tiers,
        shared: SharedTier,
        log: Log,
        origin_flow: OriginFlow,
        filling: Filling,
        passing: Passing,
        refresher: Refresher,
        secret: bytes,
        clock: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._tiers = tiers
        self._shared = shared
        self._log = log
        self._origin_flow = origin_flow
        self._filling = filling
        self._passing = passing
        self._refresher = refresher
        self._secret = secret
        self._clock = clock
        self._dice = dice
        self._peek = tiers.peek
        self._ask_l2 = tiers.ask
        self._has_l2 = shared.is_present
        self.use(config)

    def use(self, config: Config) -> None:
        """Put the routes of a configuration in force, for requests from now on."""
        self._routes = Routes(config)
        self._passing.use(self._routes)
        self._filling.forget()
        self._cuts_parts = config.profile == LETTER
        self._data_purge = DataPurge(config.data_purge, self._log, clock=self._clock)

    @property
    def telling_fields(self) -> frozenset[bytes]:
        """The request fields (lower case) that a plan may depend on, beside method, target and host."""
        return self._routes.telling_fields

    def plan(self, request: Request) -> Plan:
        """What the request asks for; holds until the next `use`."""
        return make_plan(request, self._routes, secret=self._secret)

    def pass_terms(self, plan: Plan, request: Request) -> RelayTerms | None:
        """How the answer passes where nothing but its bytes is looked at; None: `serve` has more to do."""
        if plan.refusal is None or self._data_purge.is_for(request):
            return None
        return self._passing.terms(request, plan.match, plan.refusal)

    def begin_fill(self, plan: Plan, request: Request, found: Found = NOT_ASKED) -> Fill | None:
        """The fetch for a plain GET without conditions that L1 holds nothing for, nor L2.

        None: `serve` has more to look at. Whoever gets one sees to it that it ends. `found` is what L2 had.
        """
        if plan.refusal is not None or (self._has_l2 and not self._is_nowhere(plan, found)):
            return None
        return self._filling.begin(plan, request)

    def _is_nowhere(self, plan: Plan, found: Found) -> bool:
        """L2 has nothing, L1 has got nothing meanwhile, and the origin may be exposed."""
        if found is not None or self._shared.must_shed:
            return False
        return self._peek(plan.digest, self._clock()) is None

    def held(self, plan: Plan) -> Held | None:
        """What L1 holds for it, counted as a use. Asked once for each request, in the step that uses it."""
        return None if plan.refusal is not None else self._peek(plan.digest, self._clock())

    def plain_hit(self, plan: Plan, held: Held) -> Hit | None:
        """What L1 holds for it, if the whole of that answers it now: no waiting, no task, no request built.

        For a GET or HEAD without Range, If-Match and If-Unmodified-Since.
        """
        now = self._clock()
        # Of two rolls, this one and that of `serve`, both would have to say that it is time for a refresh.
        if plan.policy.early_refresh or (self._has_l2 and now - held.kept_at > plan.policy.l1_ttl):
            return None
        stored = held.entry
        if stored.__class__ is not StoredResponse or stored.part is not None:
            return None
        return self._fresh_hit(stored, self._log.judge_held(held), plan, "l1", now)

    def lasting(self, plan: Plan, hit: Hit) -> Lasting | None:
        """By what `still_lasts` knows that `plain_hit` would give this hit again; None: by nothing."""
        held = self._peek(plan.digest, hit.now)
        if held is None or held.entry is not hit.stored or plan.asked is not ANYONE:
            return None
        if not self._log.is_current(held):
            return None
        seconds = seconds_alike(hit.stored, now=hit.now)
        if self._has_l2:
            seconds = min(seconds, held.kept_at + plan.policy.l1_ttl - hit.now)
        return Lasting(held, hit.now + seconds)

    def still_lasts(self, plan: Plan, lasting: Lasting) -> bool:
        """Is the same copy there, as alive and, in whole seconds, as old?"""
        held, until = lasting
        now = self._clock()
        return now < until and self._peek(plan.digest, now) is held and self._log.is_current(held)

    def ask_l2(self, plan: Plan, held: Held | None, then: Callable[[Entry | None], None]) -> bool:
        """Ask L2 where what L1 holds has no say; `then` gets what it has, later.

        False: nothing is asked, `serve` has more to look at.
        """
        if not self._has_l2 or plan.refusal is not None or plan.policy.early_refresh:
            return False
        if held is not None:
            is_young = self._clock() - held.kept_at <= plan.policy.l1_ttl
            if is_young or isinstance(held.entry, VaryRecord):
                return False
        return self._ask_l2(plan.digest, then)

    def plain_hit_l2(self, plan: Plan, found: Entry | None) -> Hit | None:
        """What L2 had, if the whole of that answers now; then L1 has it too."""
        if not isinstance(found, StoredResponse) or found.part is not None:
            return None
        # Judged at the moment of use, in the step that answers and back-fills (invalidation R7).
        now = self._clock()
        held = self._peek(plan.digest, now)
        if _is_overtaken(found, held):
            return None
        hit = self._fresh_hit(found, self._judge_found(found, held), plan, "l2", now)
        if hit is not None:
            self._keep_found(plan.digest, found, held, now, idle=plan.policy.idle)
        return hit

    def _fresh_hit(
        self, stored: StoredResponse, validity: Validity, plan: Plan, tier: str, now: float
    ) -> Hit | None:
        """None: it is no answer to what is planned, or not now, or no fresh one."""
        if plan.asked is ANYONE and validity is Validity.ALIVE:
            age, left = seconds_fresh(stored, plan.policy, now=now, roll=self._dice())
        else:
            decision = decide(stored, validity, plan.asked, plan.policy, now=now, roll=self._dice())
            age, left = stored.age(now), decision.seconds_left if decision.reuse is Reuse.FRESH else 0.0
        if left <= 0:
            return None
        outcome, detail = self._words_of(stored, tier)
        return Hit(stored, int(age), int(left), outcome, detail, plan.route, now)

    def is_not_modified(self, request: Request, hit: Hit) -> bool:
        """May the client keep what it has, by this request's conditions?"""
        return is_hit_not_modified(request, hit.stored)

    def try_hit(self, request: Request, plan: Plan | None = None) -> Answer | None:
        """The answer if L1 has it: no waiting, no task."""
        plan = plan or self.plan(request)
        if plan.refusal is not None:
            return None
        return self._from_l1(plan.lookup(request))

    def serve(
        self, request: Request, plan: Plan | None = None, found: Found = NOT_ASKED
    ) -> Coroutine[Any, Any, Answer]:
        """The answer, whatever it takes. Every wait below has a deadline.

        `found` is what L2 had for the plan a moment ago, where it was asked.
        """
        # No coroutine of its own: what passes would go through it at its start and at each resumption.
        if self._data_purge.is_for(request):
            return self._data_purge.answer(request)
        plan = plan or self.plan(request)
        if plan.refusal is not None:
            return self._passing.answer(request, plan.match, plan.refusal)
        return self._look_further(plan.lookup(request), found)

    async def _look_further(self, lookup: Lookup, found: Found) -> Answer:
        answer = self._from_l1(lookup)
        if answer is None and self._has_l2:
            answer = await self._from_l2(lookup, found)
        return answer or self._origin_flow.refused(lookup) or await self._from_origin(lookup)

    def entry_key(self, request: Request) -> bytes | None:
        """Under which key L1 has, or would have, what the request gets; None: the cache is not asked."""
        plan = self.plan(request)
        if plan.refusal is not None:
            return None
        lookup = plan.lookup(request)
        peek(self._tiers, lookup, self._clock(), secret=self._secret)
        return lookup.entry_key

    async def until_refreshed(self, lookup: Lookup) -> None:
        """Wait for the end of the background refresh of what this request gets, if there is one."""
        peek(self._tiers, lookup, self._clock(), secret=self._secret)
        await self._refresher.until_ended(lookup)

    def _from_l1(self, lookup: Lookup, *, is_second_choice: bool = False) -> Answer | None:
        now = self._clock()
        found = peek(self._tiers, lookup, now, secret=self._secret)
        if found is None:
            return None
        held, stored = found
        if not is_second_choice and self._has_l2 and now - held.kept_at > lookup.policy.l1_ttl:
            return None
        if is_second_choice:
            # L2 was asked and had nothing better: not again before another l1_ttl has passed.
            held.kept_at = now
        return self._use(lookup, stored, self._log.judge_held(held), "l1", now)

    async def _from_l2(self, lookup: Lookup, found: Found) -> Answer | None:
        now = self._clock()
        stored = await look_up(self._tiers, lookup, now, secret=self._secret, found=found)
        # Judged at the moment of use, in the step that answers and back-fills (invalidation R7).
        now = self._clock()
        held = self._peek(lookup.entry_key, now)
        if stored is not None and not _is_overtaken(stored, held):
            answer = self._use(lookup, stored, self._judge_found(stored, held), "l2", now)
            if answer is not None:
                self._keep_found(lookup.entry_key, stored, held, now, idle=lookup.policy.idle)
                return answer
        # Meanwhile another request may have filled L1; and an old copy there still has its own lifetime.
        return self._from_l1(lookup, is_second_choice=True)

    def _judge_found(self, stored: StoredResponse, held: Held | None) -> Validity:
        """What L2 has; where L1 has the same, it costs no more than a copy there."""
        if held is not None and held.entry is stored:
            return self._log.judge_held(held)
        return self._log.judge(stored)

    def _keep_found(
        self, key: bytes, stored: StoredResponse, held: Held | None, now: float, *, idle: float | None
    ) -> None:
        """L1 has from now on what L2 has, for an l1_ttl at least."""
        if held is not None and held.entry is stored:
            held.kept_at, held.idle = now, idle
        else:
            self._tiers.back_fill(key, stored, now, idle=idle)

    def _use(
        self, lookup: Lookup, stored: StoredResponse, validity: Validity, tier: str, now: float
    ) -> Answer | None:
        decision = decide(stored, validity, lookup.asked, lookup.policy, now=now, roll=self._dice())
        if stored.part is not None:
            return self._use_part(lookup, stored, decision, tier, now)
        match decision.reuse:
            case Reuse.FRESH:
                return self._answer_hit(lookup, stored, decision, tier, now)
            case Reuse.REFRESH:
                self._refresher.refresh(lookup, stored)
                return self._answer_hit(lookup, stored, decision, tier, now)
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

    def _use_part(
        self, lookup: Lookup, stored: StoredResponse, decision: Decision, tier: str, now: float
    ) -> Answer | None:
        """A part answers what lies inside it, or newer bytes are joined to it (RFC 9111 §3.3)."""
        lookup.refusal = decision.reason
        is_fresh = decision.reuse in (Reuse.FRESH, Reuse.REFRESH) and not decision.stale
        if is_fresh and self._cuts_parts and holds_range(lookup.request, stored):
            return self._answer_hit(lookup, stored, decision, tier, now)
        is_usable = decision.reuse not in (Reuse.MISS, Reuse.PASS)
        if is_usable and may_be_joined(stored, is_fresh=is_fresh):
            lookup.offer_part(stored)
        return None

    def _answer_hit(
        self, lookup: Lookup, stored: StoredResponse, decision: Decision, tier: str, now: float
    ) -> Answer:
        outcome, detail = self._words_of(stored, tier)
        ttl = int(decision.seconds_left)
        if decision.stale:
            # Negative from its first moment on (RFC 9211 §2.4), also where an invalidation has ended it.
            ttl = whole_seconds_left(decision.seconds_left, is_stale=True)
            outcome, detail = Outcome.UPDATING, tier if self._log.is_synced else "unsynced"
        age = int(stored.age(now))
        hit = Hit(stored, age, ttl, outcome, detail, lookup.match.route.name, now)
        return answers.from_hit(lookup.request, hit)

    def _words_of(self, stored: StoredResponse, tier: str) -> tuple[Outcome, str]:
        """Of a fresh hit."""
        outcome, detail = _FRESH_HITS[tier] if stored.source is not LifetimeSource.NEGATIVE else _NEGATIVE_HIT
        return outcome, detail if self._log.is_synced else "unsynced"

    def _from_origin(self, lookup: Lookup) -> Awaitable[Answer]:
        request, match = lookup.request, lookup.match
        if lookup.refusal is Reason.COOKIE:
            return self._passing.answer(request, match, Bypass(Forward.BYPASS, Reason.COOKIE))
        is_unclear_range = lookup.asks_range and not asks_one_range(request)
        if request.method == "HEAD" or is_unclear_range:
            return self._passing.forward(lookup)
        return self._origin_flow.answer(lookup)


def _is_overtaken(stored: StoredResponse, held: Held | None) -> bool:
    """Has L1 a newer response than L2? A refresh may have ended meanwhile, or its write to L2 was lost."""
    if held is None or held.entry is stored:
        return False
    return isinstance(held.entry, StoredResponse) and is_newer(held.entry, stored)
