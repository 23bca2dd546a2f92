"""Ten virtual minutes of 1,000 unsafe requests a second: the index stays small, other routes keep hits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import count

import pytest

from proxy.engine.unsafe_methods import invalidated_by
from proxy.fleet.outbox import PACE_SECONDS
from proxy.model import (
    Fields,
    Framing,
    OriginResponse,
    Outcome,
    Position,
    Request,
    ResponseHead,
    Validity,
)
from proxy.policy.cache_key import keyed_target
from proxy.policy.dates import format_http_date
from proxy.policy.invalidation_index import DEFAULT_BOUNDS
from proxy.policy.routes import Routes
from proxy.policy.selected import SLOTS, Key, Selected, Slot, _slot_number
from tests.simulation.kinds import Kind
from tests.simulation.process import Process
from tests.simulation.simulation import living
from tests.simulation.world import World
from tests.support.configs import config
from tests.support.engine_fakes import FakeBody
from tests.support.purging import entry
from tests.support.routing import get

SECONDS = 600
PER_SECOND = 1_000
TICK_SECONDS = 0.1
PRODUCTS = [b"/products/%d" % number for number in range(200)]
SHOP = config(
    routes=[
        {"name": "cart", "match": {"path": "/carts/{id}"}, "jitter": 0},
        {"name": "product", "match": {"path": "/products/{id}"}, "jitter": 0, "l1_ttl": "10s"},
    ]
)
ROUTES = Routes(SHOP)
MADE = ResponseHead(204, Fields())


def keyed(host: bytes | None, target: bytes) -> Collection[tuple[str, bytes]]:
    """As the process does it."""
    return [(route.name, keyed_target(route, target)) for route in ROUTES.cacheable_for_url(host, target)]


class Flood(World):
    """Two replicas of a shop. One takes all the unsafe requests, each for another cart."""

    def __init__(self) -> None:
        super().__init__(2, Kind("flood"), replicas=2)
        self.config = SHOP
        self.keyed = keyed
        self.carts = count()
        self.fetched: Counter[bytes] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        """Of requests for products, after the first of each."""

    def origin_of(self, process: Process) -> Flood:
        return self

    async def fetch(self, request: Request, *, route: str) -> OriginResponse:
        self.fetched[request.target] += 1
        now = self.processes[0].wall()
        fields = Fields([(b"Date", format_http_date(now)), (b"Cache-Control", b"max-age=3600")])
        return OriginResponse(ResponseHead(200, fields), FakeBody([b"1"], 1), Framing.LENGTH, now, now)

    async def last(self, seconds: float) -> None:
        for target in PRODUCTS:
            for process in self.processes:
                await process.flow.serve(get(target))
        await self.processes[0].shared.written()
        for _ in range(round(seconds / TICK_SECONDS)):
            self.change_carts()
            for process in self.processes:
                await self.ask(process, self.dice.choice(PRODUCTS))
            await asyncio.sleep(TICK_SECONDS)

    def change_carts(self) -> None:
        """What the engine does with the answers to unsafe requests."""
        for _ in range(round(PER_SECOND * TICK_SECONDS)):
            changed = get(b"/carts/%d" % next(self.carts), method="POST")
            self.processes[0].log.purge_soon(invalidated_by(changed, MADE, ROUTES))

    async def ask(self, process: Process, target: bytes) -> None:
        """A read, answered as the listener does it."""
        asked = get(target)
        answer = process.flow.try_hit(asked) or await process.flow.serve(asked)
        self.outcomes[answer.outcome] += 1

    async def join(self) -> None:
        """A replica starts in the middle of it all, and asks for everything."""
        newcomer = self.start()
        await newcomer.log.first_read(60.0)
        for target in PRODUCTS:
            await self.ask(newcomer, target)


def after(seconds: float, *, has_newcomer: bool) -> Flood:
    """The shop, so many virtual seconds later."""
    flood = Flood()

    async def history() -> None:
        await flood.last(seconds)
        if has_newcomer:
            await flood.join()

    living(flood, history(), mutant=None)
    assert flood.faults == []
    return flood


def old_entries(process: Process) -> dict[str, Validity]:
    """What a replica makes of entries as old as the fleet, by route: a cart that has changed, and others."""
    born = process.world.primary.entries[0].record.position
    stored = (entry(b"/carts/0", born=born, route="cart"), entry(b"/products/x", born=born, route="product"))
    return {each.route: process.log.judge(each) for each in stored}


@pytest.mark.timeout(300)
def test_ten_minutes_of_unsafe_requests_cost_other_routes_no_hit() -> None:
    flood = after(SECONDS, has_newcomer=False)
    sizes = [process.metrics.gauges["log_records"]() for process in flood.processes]

    assert next(flood.carts) == SECONDS * PER_SECOND
    assert flood.outcomes.keys() == {Outcome.HIT, Outcome.HIT_L2}
    assert flood.outcomes.total() == 2 * SECONDS / TICK_SECONDS
    assert len(flood.primary.entries) == pytest.approx(SECONDS / PACE_SECONDS, rel=0.1)
    assert sizes == [{("hard",): DEFAULT_BOUNDS.narrow, ("soft",): 0, ("folded",): SLOTS}] * 2


def test_carts_that_changed_are_gone_though_forgotten_and_a_newcomer_has_hits() -> None:
    flood = after(30, has_newcomer=True)

    assert next(flood.carts) > 2 * DEFAULT_BOUNDS.narrow
    assert flood.outcomes.keys() == {Outcome.HIT, Outcome.HIT_L2}
    assert len(flood.processes) == 3
    for process in flood.processes:
        assert old_entries(process) == {"cart": Validity.DISTRUSTED, "product": Validity.ALIVE}


def all_routes_share(self: Selected[Position], key: Key) -> Iterator[Slot]:
    """Mutant: a URL is folded for whatever route."""
    number = _slot_number(key)
    if number is not None:
        yield "", number


def only_a_floor(self: Selected[Position], key: Key) -> Iterator[Slot]:
    """Mutant: what is forgotten is a floor for all."""
    return iter(())


@pytest.mark.parametrize("folded", [all_routes_share, only_a_floor])
def test_without_slots_of_their_own_other_routes_lose_their_hits(
    folded: Callable[[Selected[Position], Key], Iterator[Slot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Selected, "_slots_of_key", folded)
    outcomes = after(30, has_newcomer=False).outcomes
    hits = outcomes[Outcome.HIT] + outcomes[Outcome.HIT_L2]

    assert hits < 0.9 * outcomes.total()
