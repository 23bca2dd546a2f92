"""One fetch per key across replicas: one of them asks the origin, the others wait for L2 to have the answer.

Around fetching.py, inside a flight: within the process coalescing.py has done its part. What is found is
judged like any entry of L2, and nobody waits longer than the route's `coalesce.wait`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial

from msgspec.structs import replace

from proxy.config.policy import RoutePolicy
from proxy.engine.coalescing import Ending, Failed, Fetched, Flight, Found, Released
from proxy.engine.fetching import Fetcher
from proxy.engine.lookup import Lookup
from proxy.engine.protocols import Leases, Log, SharedTier, Tiers
from proxy.engine.tier_lookup import look_up
from proxy.model import Claim, Forward, StoredResponse, Validity
from proxy.model import Found as InL2
from proxy.observe.metrics import Metrics
from proxy.policy.reuse import Decision, Reuse, decide

SHORTEST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.1
PAUSE_SHARE = 0.25
"""Of the time waited so far: who waits learns of the answer by so much later than the one who asked."""
UNSHARED_SECONDS = 10.0
"""How long replicas do not wait for each other after an answer that was not for others."""
FAILED_SECONDS = 1.0
"""The same after a failure. It may be one replica's only: each has an origin of its own."""


Claimed = tuple[Claim, InL2]
"""What became of a claim, and what L2 has, if it was asked along."""
Release = Callable[..., None]
"""Gives a lease back; `lone_seconds`: for how long nobody is to wait for another's fetch."""


class Turn(Enum):
    """How a fetch's wait for its lease ended; the word is the metrics' label."""

    HELD = "held"
    """Nobody else was fetching."""
    TAKEOVER = "takeover"
    """The one who was fetching has ended, and left nothing that we can use."""
    SHARED = "shared"
    """L2 has what another replica fetched."""
    LONE = "lone"
    """Waiting does not pay: such answers are not for others."""
    TIMEOUT = "timeout"
    """`coalesce.wait` has passed."""
    UNAVAILABLE = "unavailable"
    """L2 or the log cannot be asked."""


_WITHOUT_LEASE = {Claim.LONE: Turn.LONE, Claim.UNAVAILABLE: Turn.UNAVAILABLE}
_SHARED = (Reuse.FRESH, Reuse.REFRESH)


class FleetFetcher:
    """Asks the origin only when no other replica does. `leases` is None where replicas share no L2."""

    def __init__(
        self,
        fetcher: Fetcher,
        leases: Leases | None,
        *,
        tiers: Tiers,
        shared: SharedTier,
        log: Log,
        metrics: Metrics,
        secret: bytes,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        dice: Callable[[], float],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._fetcher = fetcher
        self._leases = leases
        self._tiers = tiers
        self._shared = shared
        self._log = log
        self._metrics = metrics
        self._secret = secret
        self._clock = clock
        self._monotonic = monotonic
        self._dice = dice
        self._pause = pause

    async def fetch(self, flight: Flight, lookup: Lookup, claimed: Claimed | None = None) -> Ending:
        """What another replica fetched meanwhile, or what the origin answers.

        `claimed`: its lease was asked for a moment ago, with this result.
        """
        if self._leases is None or not self.wants_lease(lookup.policy):
            return await self._fetcher.fetch(flight, lookup)
        waited = await self._wait(self._leases, flight, lookup, claimed)
        if isinstance(waited, Found):
            self._count(lookup, Turn.SHARED)
            return waited
        self._go(flight, lookup, waited)
        if lookup.asks_range:
            # Others share this fetch, and its base, which a range could have been cut from, is gone.
            whole = lookup.request.fields.without((b"range",))
            lookup.request = replace(lookup.request, fields=whole)
        return await self._fetcher.fetch(flight, lookup)

    def wants_lease(self, policy: RoutePolicy) -> bool:
        """Other replicas may be fetching what a lookup under this policy asks for."""
        return self._leases is not None and policy.coalesce.scope != "process"

    def ask(self, flight: Flight, lookup: Lookup, then: Callable[[Claimed], None]) -> bool:
        """Ask for its lease without a wait, for who goes on by `try_go` or `fetch`. False: `fetch` has
        more to look at.
        """
        if self._leases is None or not self._log.is_synced:
            return False
        key = lookup.flight_key()
        claimed = partial(self._asked, self._leases, key, flight, lookup, then)
        self._leases.ask(key, lookup.entry_key, claimed)
        return True

    def try_go(self, flight: Flight, lookup: Lookup, claimed: Claimed) -> bool:
        """Nobody else is fetching, and L2 has nothing: `lookup` may be asked of the origin, as `fetch` would.

        False: `fetch` has more to look at, and nothing was done.
        """
        claim, found = claimed
        if claim is not Claim.HELD or found is not None:
            return False
        self._go(flight, lookup, Turn.HELD)
        return True

    def _go(self, flight: Flight, lookup: Lookup, turn: Turn) -> None:
        self._count(lookup, turn)
        # Time has passed, and the origin was not asked yet: what was purged meanwhile is no news to it (R3),
        # and is no base for the answer that is born now (R10).
        flight.capture = self._log.capture()
        lookup.forget_dead(self._log.judge)

    def _count(self, lookup: Lookup, turn: Turn) -> None:
        self._metrics.leases.add(lookup.match.route.name, turn.value)

    async def _wait(
        self, leases: Leases, flight: Flight, lookup: Lookup, claimed: Claimed | None
    ) -> Found | Turn:
        began_at = self._monotonic()
        turn = Turn.HELD
        while claimed is not None or self._log.is_synced:
            key = lookup.entry_key
            claim, found = claimed or await self._claim(leases, flight, lookup)
            claimed = None
            if claim in _WITHOUT_LEASE:
                return _WITHOUT_LEASE[claim]
            # Also with the lease in hand: who had it may have filled L2 since we looked.
            newer = await self._look(lookup, found, key)
            if isinstance(newer, Found):
                return newer
            if claim is Claim.HELD:
                return turn
            if newer is not None:
                return Turn.LONE
            waited_seconds = self._monotonic() - began_at
            left_seconds = lookup.policy.coalesce.wait - waited_seconds
            if left_seconds <= 0:
                return Turn.TIMEOUT
            if turn is Turn.HELD:  # the first pause
                self._metrics.lease_waits.add(lookup.match.route.name)
            await self._pause(min(left_seconds, _pause_seconds(waited_seconds)))
            turn = Turn.TAKEOVER
        return Turn.UNAVAILABLE

    async def _claim(self, leases: Leases, flight: Flight, lookup: Lookup) -> Claimed:
        # Asked for anew each time: a Vary record that was found meanwhile makes it another key.
        key = lookup.flight_key()
        claim, found = await leases.claim(key, lookup.entry_key)
        self._hold(leases, key, flight, lookup, claim)
        return claim, found

    def _asked(  # noqa: PLR0917 - the first five are known when it is asked for
        self,
        leases: Leases,
        key: bytes,
        flight: Flight,
        lookup: Lookup,
        then: Callable[[Claimed], None],
        claim: Claim,
        found: InL2,
    ) -> None:
        self._hold(leases, key, flight, lookup, claim)
        then((claim, found))

    def _hold(self, leases: Leases, key: bytes, flight: Flight, lookup: Lookup, claim: Claim) -> None:
        if claim is Claim.HELD:
            # In the same step, so that whatever becomes of the fetch, the lease is released.
            flight.when_ended(partial(self._give_back, partial(leases.release, key), lookup))

    def _give_back(self, release: Release, lookup: Lookup, ending: Ending) -> None:
        """Release the lease: once L2 has the answer, where it is for others."""
        try:
            lone_seconds = self._lone_seconds(ending, lookup)
            if lone_seconds is None:
                self._shared.when_written(partial(_give_back_written, release))
        except Exception:
            release(lone_seconds=FAILED_SECONDS)
            raise
        if lone_seconds is not None:
            release(lone_seconds=lone_seconds)

    def _lone_seconds(self, ending: Ending, lookup: Lookup) -> float | None:
        """For how long nobody is to wait for a fetch like the one that has ended.

        None: they are to find what was fetched.
        """
        match ending:
            case Failed():
                return FAILED_SECONDS
            case Released():
                return UNSHARED_SECONDS
            case Fetched(stored=stored, is_kept=True):
                # What would not answer the same request again does not answer another's.
                is_shared = self._decide(stored, Validity.ALIVE, lookup).reuse in _SHARED
                return None if is_shared else UNSHARED_SECONDS
            case _:
                return 0.0

    async def _look(self, lookup: Lookup, found: InL2, key: bytes) -> Found | Decision | None:
        """What L2 has since: something to share, something newer that we may not use, or nothing new.

        `found` is what it had under `key`, if the claim has asked.
        """
        now = self._clock()
        stored = await look_up(self._tiers, lookup, now, secret=self._secret, found=found, under=key)
        base = lookup.base
        is_old = stored is not None and base is not None and stored.received_at <= base.received_at
        if stored is None or stored.part is not None or is_old:
            return None
        # Judged in the step that back-fills; once more for each who shares it (invalidation R7).
        decision = self._decide(stored, self._log.judge(stored), lookup)
        if decision.reuse in _SHARED:
            self._tiers.back_fill(lookup.entry_key, stored, self._clock(), idle=lookup.policy.idle)
            names = lookup.record.names if lookup.record else ()
            return Found(stored, names, lookup.request.fields)
        if decision.reuse is Reuse.VALIDATE_FIRST:
            lookup.offer_base(stored, Forward.STALE if decision.stale else Forward.REQUEST)
        return None if decision.reuse is Reuse.MISS else decision

    def _decide(self, stored: StoredResponse, validity: Validity, lookup: Lookup) -> Decision:
        now, roll = self._clock(), self._dice()
        return decide(stored, validity, lookup.asked, lookup.policy, now=now, roll=roll)


def _give_back_written(release: Release, is_written: bool) -> None:
    release(lone_seconds=0.0 if is_written else FAILED_SECONDS)


def _pause_seconds(waited_seconds: float) -> float:
    return min(max(PAUSE_SHARE * waited_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
