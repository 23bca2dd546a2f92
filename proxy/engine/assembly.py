"""Builds the engine on what `app` plugs into it. Names classes of the engine only; decides nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from proxy.config.schema import Config
from proxy.engine.coalescing import Flights
from proxy.engine.fetching import Fetcher
from proxy.engine.filling import Filling
from proxy.engine.fleet_fetching import FleetFetcher
from proxy.engine.keeping import Keeper
from proxy.engine.marks import Marks
from proxy.engine.origin_flow import OriginFlow
from proxy.engine.passing import Passing
from proxy.engine.protocols import Leases, Log, Origin, SharedTier, Tiers
from proxy.engine.receiving import Receiver
from proxy.engine.refreshing import Refresher
from proxy.engine.request_flow import RequestFlow
from proxy.engine.spool import SpoolBudget
from proxy.observe.metrics import Metrics
from proxy.policy.cache_key import derive_secret

UNCACHEABLE_SECONDS = 10.0
FAILING_SECONDS = 1.0
MOST_MARKS = 10_000


def assemble(
    config: Config,
    *,
    origin: Origin,
    tiers: Tiers,
    shared: SharedTier,
    log: Log,
    leases: Leases | None,
    metrics: Metrics,
    spool_bytes: int,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    dice: Callable[[], float] = random.random,
) -> RequestFlow:
    """The way of every request; `leases` is None where replicas share no L2."""
    secret = derive_secret(config.secret or config.l2.namespace)
    budget = SpoolBudget(spool_bytes)
    flights = Flights()
    metrics.gauges["flights"] = lambda: {(): len(flights)}
    metrics.gauges["spool_bytes"] = lambda: {(): budget.held_bytes}
    uncacheable = Marks(seconds=UNCACHEABLE_SECONDS, limit=MOST_MARKS)
    fetcher = Fetcher(
        origin=origin,
        keeper=Keeper(tiers, secret=secret, clock=clock),
        log=log,
        metrics=metrics,
        receiver=Receiver(budget=budget, max_entry_bytes=config.l1.max_entry_bytes, metrics=metrics),
        uncacheable=uncacheable,
        profile=config.profile,
        clock=clock,
        monotonic=monotonic,
        dice=dice,
    )
    fleet_fetcher = FleetFetcher(
        fetcher,
        leases,
        tiers=tiers,
        shared=shared,
        log=log,
        metrics=metrics,
        secret=secret,
        clock=clock,
        monotonic=monotonic,
        dice=dice,
    )
    refresher = Refresher(
        flights=flights,
        fetcher=fleet_fetcher,
        log=log,
        metrics=metrics,
        failing=Marks(seconds=FAILING_SECONDS, limit=MOST_MARKS),
        at_once=max(1, config.origin.max_in_flight // 2),
        monotonic=monotonic,
    )
    origin_flow = OriginFlow(
        shared=shared,
        log=log,
        fetcher=fetcher,
        fleet_fetcher=fleet_fetcher,
        flights=flights,
        refresher=refresher,
        uncacheable=uncacheable,
        secret=secret,
        clock=clock,
        monotonic=monotonic,
        dice=dice,
    )
    filling = Filling(
        origin_flow=origin_flow,
        fetcher=fetcher,
        fleet_fetcher=fleet_fetcher,
        flights=flights,
        refresher=refresher,
        uncacheable=uncacheable,
        log=log,
        clock=clock,
        monotonic=monotonic,
    )
    passing = Passing(origin=origin, log=log, fetcher=fetcher, flights=flights, secret=secret, clock=clock)
    return RequestFlow(
        config,
        tiers=tiers,
        shared=shared,
        log=log,
        origin_flow=origin_flow,
        filling=filling,
        passing=passing,
        refresher=refresher,
        secret=secret,
        clock=clock,
        dice=dice,
    )
