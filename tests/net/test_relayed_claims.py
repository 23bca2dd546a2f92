"""Misses that are relayed, from begin to taking: what happens while L2 or the lease is asked for is met as by
the whole flow, and neither that nor a crash on the way leaves anything behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.config.policy import Coalesce
from proxy.engine import answers
from proxy.engine.coalescing import Flights
from proxy.engine.keeping import Keeper
from proxy.engine.plan import Plan
from proxy.model import Claim
from proxy.net.origin import OriginClient
from proxy.net.relay import Relay
from proxy.observe.tasks import running
from tests.support.engine_fakes import FakeL2, FakeLeases
from tests.support.origin_replies import LENGTH, reply
from tests.support.raw_client import request
from tests.support.raw_origin import RawOrigin, settle
from tests.support.relay_world import NOTHING, World, relay_world

ON_BOTH_LOOPS = True

FIRST = request("/kept/first")
"""Opens the connection; with its answer the form is learned."""
NEW = [request(f"/kept/{number}") for number in range(3)]
KEPT = reply(LENGTH, b"Server: s")
ALIKE = pytest.mark.parametrize("is_relayed", [True, False])
IN_FLEET = pytest.mark.parametrize("has_l2", [False, True], ids=["alone", "fleet"])


class GatedLeases(FakeLeases):
    """Claims wait for the gate."""

    def __init__(self, l2: FakeL2 | None) -> None:
        super().__init__(l2)
        self.gate = asyncio.Event()
        self.gate.set()

    async def claim(self, key: bytes, entry_key: bytes) -> Any:
        """Once the gate is open."""
        await self.gate.wait()
        return await super().claim(key, entry_key)


@asynccontextmanager
async def _fleet(*, has_l2: bool = True, **changes: Any) -> AsyncIterator[tuple[World, RawOrigin]]:
    """The form is learned."""
    l2 = FakeL2() if has_l2 else None
    leases = GatedLeases(l2) if has_l2 else None
    async with relay_world([KEPT], l2=l2, leases=leases, **changes) as (made, origin):
        await made.send(FIRST)
        await made.quiet()
        yield made, origin


def _gate(made: World) -> asyncio.Event:
    assert isinstance(made.leases, GatedLeases)
    return made.leases.gate


async def _joined(made: World, asked: bytes) -> Any:
    """Another client, which has asked the same."""
    other = await made.another()
    other.transport.write(asked)
    await settle()
    return other


def _changed_routes(made: World, **changes: Any) -> Any:
    return tuple(route.model_copy(update=changes) for route in made.config.routes)


@ALIKE
async def test_what_l2_was_asked_for_before_a_reload_says_nothing_of_the_new_routes(is_relayed: bool) -> None:
    """Replicas do not share the old route of this name, and do share the new one."""
    routes = [{"name": "kept", "match": {"path": "/kept/**"}, "ttl": "1h", "coalesce": {"scope": "process"}}]
    async with _fleet(is_relayed=is_relayed, routes=routes) as (made, _):
        assert made.l2 is not None

        def reload() -> None:
            assert made.l2 is not None
            made.l2.on_look_up = lambda: None
            made.reload(routes=_changed_routes(made, coalesce=Coalesce(scope="auto")))

        made.l2.on_look_up = reload
        await made.send(NEW[0])
        await made.quiet()
        assert made.metrics.leases.get("kept", "held") == 0
        for asked in NEW[1:]:
            await made.send(asked)
            await made.quiet()

        assert made.metrics.leases.get("kept", "held") == 2


async def _happen(made: World, what: str) -> None:
    match what:
        case "reload":
            made.reload(routes=_changed_routes(made, ttl=5.0))
        case "drain":
            made.listener.drain()
        case "leave":
            made.client.reset()
        case "purge":
            made.log.purge()
        case "unsynced":
            made.log.is_synced = False
        case "pipeline":
            await made.send(NEW[1] + NEW[0])
        case "half close":
            made.client.transport.write_eof()
    await settle()


async def _told_while_claiming(what: str, *, is_relayed: bool) -> dict[str, Any]:
    async with _fleet(is_relayed=is_relayed) as (made, origin):
        gate = _gate(made)
        gate.clear()
        await made.send(NEW[0])
        other = await _joined(made, NEW[0])
        await _happen(made, what)
        gate.set()
        await made.quiet()
        assert made.left == NOTHING

        metrics = made.metrics
        return {
            "answers": (made.client.received.count(b"hello"), other.received.count(b"hello")),
            "last": made.client.received.count(b"Connection: close"),
            "ended": made.client.transport.is_closing(),
            "kept": sorted(entry.lifetime for entry in made.kept_in_l1.values()),  # type: ignore[union-attr]
            "asked": origin.connections[0].received.count(b"GET"),
            "counted": (metrics.leases.values, metrics.lease_waits.values, metrics.coalesced.values),
            "lines": [line[-5:] for line in made.lines.written],
        }


@pytest.mark.parametrize("what", ["reload", "drain", "leave", "purge", "unsynced", "pipeline", "half close"])
async def test_what_happens_while_the_lease_is_asked_for_is_met_alike(what: str) -> None:
    relayed = await _told_while_claiming(what, is_relayed=True)

    assert relayed == await _told_while_claiming(what, is_relayed=False)


@ALIKE
@pytest.mark.parametrize("opened", ["first", "after the listener", "after the origin"])
async def test_the_end_while_the_lease_is_asked_for_leaves_nothing(opened: str, is_relayed: bool) -> None:
    async with _fleet(is_relayed=is_relayed) as (made, _):
        before, gate = running(), _gate(made)
        gate.clear()
        await made.send(NEW[0])
        await _joined(made, NEW[0])
        if opened == "first":
            gate.set()
        await made.listener.finish(0)
        if opened == "after the listener":
            gate.set()
        await settle()
        await made.origin.aclose(0)
        gate.set()
        for _ in range(10):
            await settle()

        assert made.left == NOTHING
        assert not running() - before


async def test_a_lease_that_is_told_as_the_end_begins_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between handing over and cancelling: the task that answers is cancelled before its first step."""
    async with _fleet() as (made, _):
        assert made.leases is not None
        leases, thens = made.leases, list[Any]()
        monkeypatch.setattr(leases, "ask", lambda key, _, then: thens.append((key, then)))
        await made.send(NEW[0])
        hand_over = Relay.hand_over

        def hand_over_and_tell(relay: Relay) -> None:
            hand_over(relay)
            made.origin._admission._max_in_flight = 0  # no place at once: the whole flow has to wait for one
            while thens:
                key, then = thens.pop()
                leases.holders.add(key)
                asyncio.get_running_loop().call_soon(then, Claim.HELD, None)

        monkeypatch.setattr(Relay, "hand_over", hand_over_and_tell)
        await made.listener.finish(0)
        await made.origin.aclose(0)
        for _ in range(10):
            await settle()

        assert made.left == NOTHING


def _crash(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect")


async def _crash_later(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect")


async def _assert_one_answer_lost(made: World) -> None:
    """Who asked has an answer, nothing is left, and who asks next gets what it asks for."""
    await made.quiet()
    assert made.client.received.count(b"HTTP/1.1 ") == 2
    assert made.left == NOTHING
    other = await _joined(made, NEW[0])
    await made.quiet()

    assert other.received.count(b"hello") == 1


@ALIKE
@IN_FLEET
async def test_a_crash_while_it_is_sent_costs_one_answer(
    has_l2: bool, is_relayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _fleet(has_l2=has_l2, is_relayed=is_relayed) as (made, _):
        with monkeypatch.context() as broken:
            broken.setattr(OriginClient, "try_send" if is_relayed else "_admitted", _crash)
            await made.send(NEW[0])
            await made.quiet()
        await _assert_one_answer_lost(made)


@ALIKE
async def test_a_crash_while_the_lease_is_asked_for_costs_one_answer(
    is_relayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _fleet(is_relayed=is_relayed) as (made, _):
        with monkeypatch.context() as broken:
            broken.setattr(made.leases, "ask", _crash)
            broken.setattr(made.leases, "claim", _crash_later)
            await made.send(NEW[0])
            await made.quiet()
        await _assert_one_answer_lost(made)


async def test_a_crash_while_it_is_begun_leaves_no_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _fleet(has_l2=False) as (made, _):
        with monkeypatch.context() as broken:
            broken.setattr(Plan, "lookup", _crash)
            await made.send(NEW[0])
            await made.quiet()
        await _assert_one_answer_lost(made)


@IN_FLEET
@pytest.mark.parametrize(
    ("where", "name"),
    [(answers, "fetched_lines"), (Flights, "end"), (Keeper, "keep")],
    ids=["lines", "end", "keep"],
)
async def test_a_crash_half_way_through_the_taking_is_told_and_costs_nothing(
    where: Any, name: str, has_l2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _fleet(has_l2=has_l2) as (made, origin):
        right, left = getattr(where, name), [True]

        def crash_once(*args: Any, **named: Any) -> Any:
            return _crash() if left and left.pop() else right(*args, **named)

        monkeypatch.setattr(where, name, crash_once)
        with capture_logs() as lines:
            await made.send(NEW[0])
            await made.quiet()

        assert not left
        assert [line["event"] for line in lines if "crash" in line["event"]]
        assert made.client.received.count(b"hello") == 2
        assert len(made.kept_in_l1) == 2
        assert origin.connections[0].received.count(b"GET /kept/0 ") == 1
        assert made.left == NOTHING
