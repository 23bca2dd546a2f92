"""Background refreshes: one per key, tied to no client, few at a time.

A key whose fetch failed is not asked for again at once.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from proxy.engine.coalescing import Ending, Failed, Fetched, Flight, Flights, Found
from proxy.engine.fleet_fetching import FleetFetcher
from proxy.engine.lookup import Lookup
from proxy.engine.marks import Marks
from proxy.engine.protocols import Log
from proxy.model import Forward, StoredResponse
from proxy.observe.metrics import Metrics


class Refresher:
    """Starts refreshes and remembers for which keys the origin failed lately."""

    def __init__(
        self,
        *,
        flights: Flights,
        fetcher: FleetFetcher,
        log: Log,
        metrics: Metrics,
        failing: Marks,
        at_once: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._flights = flights
        self._fetcher = fetcher
        self._log = log
        self._metrics = metrics
        self._failing = failing
        self._at_once = at_once
        self._monotonic = monotonic
        self._under_way = 0

    def refresh(self, lookup: Lookup, stored: StoredResponse) -> None:
        """Refresh the entry unless somebody does, it just failed, or too many are under way."""
        key = lookup.flight_key()
        if self._flights.get(key) is not None or self.is_failing(lookup) or self._under_way >= self._at_once:
            return
        background = replace_request(lookup, stored)

        async def fetch(flight: Flight) -> Ending:
            return await self._run(flight, background)

        self._under_way += 1
        self._flights.start(key, self._log.capture(), fetch, has_leader=False)

    async def _run(self, flight: Flight, lookup: Lookup) -> Ending:
        result = "crashed"
        try:
            ending = await self._fetcher.fetch(flight, lookup)
            result = _word(ending)
            if isinstance(ending, Failed):
                self.failed(lookup)
            return ending
        finally:
            self._under_way -= 1
            self._metrics.refreshes.add(lookup.match.route.name, result)

    async def until_ended(self, lookup: Lookup) -> None:
        """Wait for the refresh under way; its fetch's deadlines bound it."""
        flight = self._flights.get(lookup.flight_key())
        if flight is not None:
            await flight.ending()

    def is_failing(self, lookup: Lookup) -> bool:
        """The origin failed for this key a moment ago: a stale answer need not wait for it again."""
        return self._failing.has(lookup.entry_key, at=self._monotonic())

    def failed(self, lookup: Lookup) -> None:
        """The origin failed for this key."""
        self._failing.add(lookup.entry_key, at=self._monotonic())

    def succeeded(self, lookup: Lookup) -> None:
        """The origin answers for this key."""
        self._failing.remove(lookup.entry_key)


def replace_request(lookup: Lookup, stored: StoredResponse) -> Lookup:
    """The same question without its client; a GET, since the answer to a HEAD could not be stored."""
    request = replace(lookup.request, method="GET", on_interim=None)
    background = Lookup(
        request,
        lookup.match,
        lookup.directives,
        lookup.asked,
        lookup.key,
        lookup.policy,
        lookup.entry_key,
        lookup.record,
    )
    background.offer_base(stored, Forward.STALE)
    return background


def _word(ending: Ending) -> str:
    if isinstance(ending, Fetched):
        return "validated" if ending.is_validated else "stored"
    if isinstance(ending, Found):
        return "shared"
    return "failed" if isinstance(ending, Failed) else "not-stored"
