"""All of the engine, built from a configuration: it answers, and its gauges are there."""

from __future__ import annotations

import asyncio

from proxy.engine.assembly import assemble
from proxy.model import Outcome
from tests.support.configs import config
from tests.support.engine_fakes import Engine, FakeL2, FakeLeases
from tests.support.routing import get


async def test_it_answers_and_counts_what_is_under_way() -> None:
    leases, parts = FakeLeases(), Engine(l2=FakeL2())
    flow = assemble(
        config(routes=[{"name": "all", "match": {"path": "/**"}, "ttl": "1m"}]),
        origin=parts.origin,
        tiers=parts.tiers,
        shared=parts.tiers,
        log=parts.log,
        leases=leases,
        metrics=parts.metrics,
        spool_bytes=1_000_000,
    )
    parts.origin.gate.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        asked = group.create_task(flow.serve(get()))
        await parts.origin.asked(1)
        assert parts.metrics.gauges["flights"]() == {(): 1}
        assert parts.metrics.gauges["spool_bytes"]() == {(): 0}
        assert len(leases.holders) == 1
        parts.origin.gate.set()
    answer = asked.result()
    assert (answer.outcome, answer.body) == (Outcome.MISS, b"body")
    await parts.settle()
    assert parts.metrics.gauges["flights"]() == {(): 0}
