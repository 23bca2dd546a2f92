"""One fetch from beginning to end: ask the origin, decide about its answer, collect the body, store.

Runs in a flight's own task. Sees one client at most (the leader, who may read along) and depends on none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from proxy.engine.coalescing import (
    Ending,
    Failed,
    Fetched,
    Flight,
    Released,
    Uncacheable,
    Unshared,
)
from proxy.engine.keeping import Keeper
from proxy.engine.lookup import Lookup
from proxy.engine.marks import Marks
from proxy.engine.protocols import Log, Origin
from proxy.engine.receiving import Receiver, is_large
from proxy.model import (
    Capture,
    FailureKind,
    OriginFailure,
    OriginResponse,
    Reason,
    Request,
    StoredResponse,
    Validity,
)
from proxy.observe.metrics import Metrics
from proxy.policy.directives import vary_names
from proxy.policy.failures import is_error_status
from proxy.policy.parts import Joint, completion_lines, is_sound, joint
from proxy.policy.reuse import Reuse, decide, may_answer_error
from proxy.policy.storing import StorePlan, stored
from proxy.policy.storing import plan as plan_of
from proxy.policy.tags import for_clients
from proxy.policy.validation import (
    agrees,
    conditional_lines,
    refreshed,
    updated_head,
    without_conditions,
)


class Fetcher:
    """Asks the origin on behalf of a flight and turns what comes back into the flight's ending."""

    def __init__(
        self,
        *,
        origin: Origin,
        keeper: Keeper,
        log: Log,
        metrics: Metrics,
        receiver: Receiver,
        uncacheable: Marks,
        profile: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._keeper = keeper
        self._log = log
        self._metrics = metrics
        self._receiver = receiver
        self._marks = uncacheable
        self._profile = profile
        self._clock = clock
        self._monotonic = monotonic
        self._dice = dice

    def fetch(self, flight: Flight, lookup: Lookup) -> Coroutine[Any, Any, Ending]:
        """Fetch what the lookup asks for, validating its base if it has one; every wait has a deadline."""
        return self._ask(flight, lookup, lookup.base)

    def fill(self, flight: Flight, lookup: Lookup, response: OriginResponse) -> Fetched | None:
        """What `fetch` makes of an answer that is here whole and is stored as it is, for a lookup without a
        range that has found nothing: so there is no part to complete, and nothing that could stand in for an
        error. None: `fetch` has more to look at, and nothing was done.
        """
        planned = self.plan(lookup, response)  # refuses what is too large
        body = response.body.take_rest()
        if isinstance(planned, Reason) or body is None:
            return None
        entry, capture = self._entry(flight, lookup, response, planned, body), flight.capture
        if not self._is_alive(entry, capture):
            return None
        self._keeper.keep(lookup, entry, planned.vary, began_at=capture.began_at)
        return _fetched(lookup, entry, response, planned.vary, is_kept=True)

    async def keep_posted(
        self,
        flight: Flight,
        lookup: Lookup,
        response: OriginResponse,
        planned: StorePlan,
        succession: asyncio.Task[Capture | None],
    ) -> Ending:
        """Keep the answer to a POST as that of its target, if `succession` says where it is born."""
        try:
            body = await self._receiver.receive(flight, lookup, response, is_streamed=True)
            capture = await succession
        except BaseException:
            # A fault of ours, or the end of the process: the origin's connection must not wait for a reader.
            response.body.abandon()
            raise
        if not isinstance(body, bytes):
            return body
        if capture is None:
            self._metrics.not_stored.add(lookup.match.route.name, Reason.INVALIDATED.value)
            return Released(Reason.INVALIDATED)
        flight.capture = capture
        return self._finish_whole(flight, lookup, response, planned, body)

    def freshen(self, lookup: Lookup, response: OriginResponse, capture: Capture) -> None:
        """Renew what is stored by what a HEAD got, if they agree (RFC 9111 §4.3.5)."""
        base = lookup.base
        if base is None or not agrees(base, response.head, response.body.length):
            return
        # Only a validator proves that what the log knows nothing of is still the content.
        if self._log.judge(base) is Validity.DISTRUSTED:
            return
        renewed = self._refreshed(lookup, base, response, capture)
        if isinstance(renewed, StoredResponse):
            self._keep(lookup, renewed, vary_names(renewed.fields()) or (), capture)

    async def _ask(self, flight: Flight, lookup: Lookup, base: StoredResponse | None) -> Ending:
        request = _origin_request(lookup, base, has_leader=flight.has_leader)
        response = await self._origin.fetch(request, route=lookup.match.route.name)
        if isinstance(response, OriginFailure):
            return Failed(response.kind.status, response)
        is_settled = False
        try:
            ending = await self._received(flight, lookup, base, response)
            is_settled = True
        finally:
            if not is_settled:
                response.body.abandon()
        return ending

    async def _received(
        self, flight: Flight, lookup: Lookup, base: StoredResponse | None, response: OriginResponse
    ) -> Ending:
        status = response.head.status
        if status == 304:
            return await self._not_modified(flight, lookup, base, response)
        if is_error_status(status) and self._has_stand_in(lookup):
            response.body.abandon()
            return Failed(status)
        joined = joint(lookup.part, response.head) if lookup.part is not None else None
        if lookup.completes and status in (206, 416):
            return await self._completed(flight, lookup, response, joined)
        if joined is None:  # from here on it is a response of its own, which streams like any other
            lookup.part = None
        planned = self.plan(lookup, response, joined)
        if isinstance(planned, Reason):
            return self._uncacheable(flight, lookup, response, planned)
        return await self._collect(flight, lookup, response, planned, joined)

    def plan(
        self, lookup: Lookup, response: OriginResponse, joined: Joint | None = None
    ) -> StorePlan | Reason:
        """As what the response would be stored for this lookup, or why not."""
        planned = plan_of(
            lookup.request,
            response.head if joined is None else joined.head,
            response.framing,
            lookup.match,
            requested_at=response.requested_at,
            received_at=response.received_at,
            roll=self._dice(),
            profile=self._profile,
        )
        length = response.body.length if joined is None else joined.total
        is_too_large = length is not None and length > self._receiver.max_body(lookup)
        return Reason.TOO_LARGE if is_too_large and isinstance(planned, StorePlan) else planned

    async def _completed(
        self, flight: Flight, lookup: Lookup, response: OriginResponse, joined: Joint | None
    ) -> Ending:
        """The rest of a stored part: with it the whole; where it does not fit, the whole is asked for."""
        planned = Reason.INCOMPLETE if joined is None else self.plan(lookup, response, joined)
        if isinstance(planned, Reason):
            response.body.abandon()
        else:
            ending = await self._collect(flight, lookup, response, planned, joined)
            if not isinstance(ending, Released):
                return ending
        lookup.part = None
        return await self._ask(flight, lookup, None)

    def _has_stand_in(self, lookup: Lookup) -> bool:
        """Does a stored response go before an error: by stale-if-error, or served while it is refreshed?"""
        base = lookup.stand_in
        if base is None or is_error_status(base.status):
            return False
        now, validity = self._clock(), self._log.judge(base)
        if may_answer_error(base, validity, lookup.asked, lookup.policy, now=now):
            return True
        decision = decide(base, validity, lookup.asked, lookup.policy, now=now, roll=self._dice())
        return decision.reuse in (Reuse.FRESH, Reuse.REFRESH)

    def _uncacheable(
        self, flight: Flight, lookup: Lookup, response: OriginResponse, reason: Reason
    ) -> Ending:
        self._metrics.not_stored.add(lookup.match.route.name, reason.value)
        is_led = flight.open(Uncacheable(response, reason))
        if not is_led:
            response.body.abandon()
        if is_error_status(response.head.status):
            # Followers of a failing leader share the failure: they must not all try in turn.
            return Failed(response.head.status)
        # A refresh has nobody who waits. A part, or a client's own wish, says nothing of what others get.
        if is_led and not lookup.asks_range and reason is not Reason.REQUEST_NO_STORE:
            # In the step that lets go who waits: whoever comes next has nothing to wait for either.
            self._marks.add(flight.key, at=self._monotonic())
        return Released(reason)

    async def _not_modified(
        self, flight: Flight, lookup: Lookup, base: StoredResponse | None, response: OriginResponse
    ) -> Ending:
        response.body.abandon()
        if base is None:
            failure = OriginFailure(FailureKind.INVALID_HEAD, "304 to a request without conditions")
            return Failed(failure.kind.status, failure)
        validated = self._refreshed(lookup, base, response, flight.capture)
        if validated is Reason.OTHER_REPRESENTATION:
            return await self._ask(flight, lookup, None)
        if isinstance(validated, Reason):
            self._metrics.not_stored.add(lookup.match.route.name, validated.value)
            head = updated_head(base, response.head)
            entry = base.but(lines=for_clients(head.fields).encode(), received_at=response.received_at)
            flight.open(Unshared(entry, head, validated))
            return Released(validated)
        vary = vary_names(validated.fields()) or ()
        return self._finish(flight, lookup, validated, response, vary=vary)

    def _refreshed(
        self, lookup: Lookup, base: StoredResponse, response: OriginResponse, capture: Capture
    ) -> StoredResponse | Reason:
        return refreshed(
            base,
            response.head,
            lookup.request,
            lookup.match,
            born=capture.born,
            requested_at=response.requested_at,
            received_at=response.received_at,
            roll=self._dice(),
            profile=self._profile,
        )

    async def _collect(
        self,
        flight: Flight,
        lookup: Lookup,
        response: OriginResponse,
        planned: StorePlan,
        joined: Joint | None,
    ) -> Ending:
        # A client that asked for a range gets the origin's own answer, whatever becomes of it here.
        is_streamed = lookup.asks_range or (is_large(response) and not lookup.completes)
        body = None if is_streamed else self._receiver.arrived(lookup, response)
        if body is None:
            received = await self._receiver.receive(flight, lookup, response, is_streamed=is_streamed)
            if not isinstance(received, bytes):
                return received
            body = received
        return self._finish_whole(flight, lookup, response, planned, body, joined=joined)

    def _finish_whole(
        self,
        flight: Flight,
        lookup: Lookup,
        response: OriginResponse,
        planned: StorePlan,
        body: bytes,
        *,
        joined: Joint | None = None,
    ) -> Ending:
        content = body if joined is None else joined.body(body)
        entry = self._entry(flight, lookup, response, planned, content)
        if not is_sound(entry, joined, received_bytes=len(body), profile=self._profile):
            self._metrics.not_stored.add(lookup.match.route.name, Reason.INCOMPLETE.value)
            return Released(Reason.INCOMPLETE)
        return self._finish(flight, lookup, entry, response, vary=planned.vary)

    def _entry(
        self, flight: Flight, lookup: Lookup, response: OriginResponse, planned: StorePlan, content: bytes
    ) -> StoredResponse:
        fetch_seconds = max(0.0, self._clock() - response.requested_at)
        return stored(planned, content, lookup.key, born=flight.capture.born, fetch_seconds=fetch_seconds)

    def _finish(
        self,
        flight: Flight,
        lookup: Lookup,
        entry: StoredResponse,
        response: OriginResponse,
        *,
        vary: tuple[bytes, ...],
    ) -> Fetched:
        is_kept = self._keep(lookup, entry, vary, flight.capture)
        if is_kept:  # what an earlier answer said of the key no longer holds
            self._marks.remove(flight.key)
        # A 304 says nothing of variants: followers must agree in what the entry is known to vary by.
        names = vary or (lookup.record.names if lookup.record else ())
        return _fetched(lookup, entry, response, names, is_kept=is_kept)

    def _keep(self, lookup: Lookup, entry: StoredResponse, vary: tuple[bytes, ...], capture: Capture) -> bool:
        is_kept = self._is_alive(entry, capture)
        if is_kept:
            self._keeper.keep(lookup, entry, vary, began_at=capture.began_at)
        else:
            self._metrics.not_stored.add(lookup.match.route.name, Reason.INVALIDATED.value)
        return is_kept

    def _is_alive(self, entry: StoredResponse, capture: Capture) -> bool:
        """Decided again at the store (invalidation R8), in the step that stores."""
        return self._log.judge(entry, began_at=capture.began_at) is not Validity.DEAD


def _fetched(
    lookup: Lookup, entry: StoredResponse, response: OriginResponse, vary: tuple[bytes, ...], *, is_kept: bool
) -> Fetched:
    status = response.head.status
    head = None if status in (206, 304) else response.head
    return Fetched(entry, head, is_kept, status, vary, lookup.request.fields)


def _origin_request(lookup: Lookup, base: StoredResponse | None, *, has_leader: bool) -> Request:
    """The request that fills the cache: no conditions of the client's, ours where we validate or complete."""
    request, target = lookup.request, lookup.key.forward_target
    fields = without_conditions(request.fields, keep_range=lookup.asks_range)
    if base is not None:
        fields = fields.plus(conditional_lines(base))
    elif lookup.completes and lookup.part is not None:
        fields = fields.plus(completion_lines(lookup.part))
    on_interim = request.on_interim if has_leader else None
    if fields is request.fields and target == request.target and on_interim is request.on_interim:
        return request  # as most are
    return replace(request, target=target, fields=fields, on_interim=on_interim)
