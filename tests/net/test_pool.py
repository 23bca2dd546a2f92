from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.config.schema import OriginPool
from proxy.model import FailureKind, OriginFailure
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.pool import Pool
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from tests.support.departures import AtOnce
from tests.support.raw_origin import settle

PATIENT = 10.0


class SocketPairs:
    """A dialer whose connections end in sockets that the test holds."""

    def __init__(self) -> None:
        self.origins: list[socket.socket] = []
        self.failure: OriginFailure | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def dial(self, *, opened_at: float) -> OriginConnection | OriginFailure:
        await self.gate.wait()
        if self.failure is not None:
            return self.failure
        ours, origin = socket.socketpair()
        ours.setblocking(False)
        self.origins.append(origin)
        connection = OriginConnection(opened_at=opened_at, departures=AtOnce())
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
        return connection


class Setup:
    """A pool, its clock and what it counts."""

    def __init__(self, config: OriginPool) -> None:
        self.now = 1000.0
        self.dialer = SocketPairs()
        self.metrics = Metrics()
        self.pool = Pool(config, self.dialer, self.metrics, monotonic=lambda: self.now)

    async def taken(self, *, fresh: bool = False) -> OriginConnection:
        connection = await self.pool.acquire(fresh=fresh, timeout=PATIENT)
        assert isinstance(connection, OriginConnection), connection
        return connection

    async def failure(self, *, timeout: float = PATIENT) -> OriginFailure:
        failure = await self.pool.acquire(fresh=False, timeout=timeout)
        assert isinstance(failure, OriginFailure), failure
        return failure

    def closed(self) -> dict[str, int]:
        return {labels[0]: count for labels, count in self.metrics.origin_connections_closed.values.items()}

    def books(self) -> tuple[int, int]:
        """Idle, in use."""
        return self.pool.idle, self.pool.in_use


@asynccontextmanager
async def pool_of(
    *,
    max_connections: int = 3,
    min_idle: int = 0,
    idle_timeout: float = 60.0,
    max_lifetime: float = 1800.0,
) -> AsyncIterator[Setup]:
    setup = Setup(
        OriginPool(
            max_connections=max_connections,
            min_idle=min_idle,
            idle_timeout=idle_timeout,
            max_lifetime=max_lifetime,
        )
    )
    yield setup
    setup.pool.close()
    for connection in tuple(setup.pool._present):
        setup.pool.release(connection, None)
    for origin in setup.dialer.origins:
        origin.close()
    await settle()
    assert setup.books() == (0, 0)


async def test_the_connection_used_last_is_used_first() -> None:
    async with pool_of() as setup:
        first, second = await setup.taken(), await setup.taken()
        setup.pool.release(first, None)
        setup.pool.release(second, None)

        assert await setup.taken() is second
        assert second.is_reused
        assert setup.books() == (1, 1)
        assert setup.metrics.origin_connections_created.get() == 2


async def test_a_fresh_one_is_opened_although_others_are_idle() -> None:
    async with pool_of() as setup:
        first = await setup.taken()
        setup.pool.release(first, None)
        fresh = await setup.taken(fresh=True)

        assert fresh is not first
        assert not fresh.is_reused
        assert setup.books() == (1, 1)


async def test_a_fresh_one_takes_the_room_of_the_longest_idle() -> None:
    async with pool_of(max_connections=2) as setup:
        first, second = await setup.taken(), await setup.taken()
        setup.pool.release(first, None)
        setup.pool.release(second, None)
        await setup.taken(fresh=True)

        assert first.is_closed
        assert not second.is_closed
        assert setup.books() == (1, 1)


async def test_a_faulty_one_is_closed_for_its_cause() -> None:
    async with pool_of() as setup:
        setup.pool.release(await setup.taken(), CloseCause.EXTRA_BYTES)

        assert setup.closed() == {"extra-bytes": 1}
        assert setup.books() == (0, 0)


async def test_one_with_unread_bytes_is_never_used_again() -> None:
    async with pool_of() as setup:
        first = await setup.taken()
        setup.pool.release(first, None)
        setup.dialer.origins[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")

        assert await setup.taken() is not first
        assert setup.closed() == {"origin-closed": 1}


async def test_one_that_the_origin_closed_leaves_the_books() -> None:
    async with pool_of() as setup:
        setup.pool.release(await setup.taken(), None)
        setup.dialer.origins[0].close()
        await settle()

        assert setup.closed() == {"origin-closed": 1}
        assert setup.books() == (0, 0)


async def test_idle_ones_are_closed_at_the_idle_timeout() -> None:
    async with pool_of(idle_timeout=60) as setup:
        setup.pool.release(await setup.taken(), None)
        setup.now += 59.9
        setup.pool.sweep()
        before = setup.closed()
        setup.now += 0.1
        setup.pool.sweep()

        assert before == {}
        assert setup.closed() == {"idle": 1}


async def test_a_request_never_gets_one_that_is_too_old_although_nobody_swept() -> None:
    async with pool_of(idle_timeout=60) as setup:
        setup.pool.release(await setup.taken(), None)
        setup.now += 60
        again = await setup.taken()

        assert not again.is_reused
        assert setup.closed() == {"idle": 1}


async def test_old_ones_are_closed_at_the_end_of_their_life() -> None:
    async with pool_of(max_lifetime=100) as setup:
        idle, busy = await setup.taken(), await setup.taken()
        setup.pool.release(idle, None)
        setup.now += 59.9
        setup.pool.release(await setup.taken(), None)
        setup.now += 40
        setup.pool.sweep()
        before = setup.closed()
        setup.now += 0.1
        setup.pool.sweep()
        swept = setup.closed()
        setup.pool.release(busy, None)

        assert before == {}
        assert swept == {"lifetime": 1}
        assert setup.closed() == {"lifetime": 2}


async def test_min_idle_are_opened_ahead_of_need() -> None:
    async with pool_of(min_idle=2) as setup:
        await setup.pool.top_up()
        ahead = setup.books()
        await setup.taken()
        await setup.pool.top_up()

        assert ahead == (2, 0)
        assert setup.books() == (2, 1)


async def test_the_maintenance_keeps_min_idle_and_is_ended_by_close() -> None:
    async with pool_of(min_idle=2) as setup:
        setup.pool.start()
        await settle()
        opened = setup.books()
        setup.pool.close()
        await settle()

        assert opened == (2, 0)
        assert setup.books() == (0, 0)
        assert setup.closed() == {"shutdown": 2}


async def test_min_idle_never_exceeds_the_room() -> None:
    async with pool_of(max_connections=3, min_idle=3) as setup:
        await setup.taken()
        await setup.taken()
        await setup.pool.top_up()

        assert setup.books() == (1, 2)


async def test_an_origin_that_is_away_is_tried_once_a_round() -> None:
    async with pool_of(min_idle=2) as setup:
        setup.dialer.failure = OriginFailure(FailureKind.REFUSED)
        await setup.pool.top_up()
        away = setup.books()
        setup.dialer.failure = None
        await setup.pool.top_up()

        assert away == (0, 0)
        assert setup.books() == (2, 0)


async def test_a_request_waits_for_a_connection_that_is_being_opened_ahead() -> None:
    async with pool_of(max_connections=1, min_idle=1) as setup:
        setup.dialer.gate.clear()
        ahead = spawn("ahead", setup.pool.top_up())
        await asyncio.sleep(0)
        waiting = spawn("request", setup.taken())
        await asyncio.sleep(0)
        opening = setup.pool.states()
        setup.dialer.gate.set()
        await ahead
        await waiting

        assert opening == {("idle",): 0, ("in-use",): 0, ("opening",): 1}
        assert setup.metrics.origin_connections_created.get() == 1
        assert setup.books() == (0, 1)


@pytest.mark.parametrize(
    "make_room",
    [
        lambda pool, busy: pool.release(busy, None),
        lambda pool, busy: pool.release(busy, CloseCause.EXTRA_BYTES),
        lambda pool, busy: pool.let_go(busy),
        lambda _, busy: busy.close(CloseCause.ERROR),
    ],
    ids=["released", "faulty", "let go", "lost"],
)
async def test_who_waits_for_room_is_told_of_it(make_room: Callable[[Pool, OriginConnection], None]) -> None:
    async with pool_of(max_connections=1) as setup:
        busy = await setup.taken()
        waiting = spawn("request", setup.taken())
        await settle()
        was_waiting = not waiting.done()
        make_room(setup.pool, busy)
        async with asyncio.timeout(1):
            await waiting

        assert was_waiting
        assert setup.books() == (0, 1)


async def test_all_who_wait_get_one_in_the_end() -> None:
    async with pool_of(max_connections=1) as setup:
        busy = await setup.taken()
        waiting = [spawn("request", setup.taken()) for _ in range(3)]
        async with asyncio.timeout(1):
            while waiting:
                await settle()
                assert not any(one.done() for one in waiting)
                setup.pool.release(busy, None)
                done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                waiting = list(rest)
                (busy,) = [one.result() for one in done]

        assert setup.metrics.origin_connections_created.get() == 1


async def test_who_waits_is_told_that_none_was_opened_and_of_the_end() -> None:
    async with pool_of(max_connections=1, min_idle=1) as setup:
        setup.dialer.gate.clear()
        ahead = spawn("ahead", setup.pool.top_up())
        await settle()
        waiting = spawn("request", setup.failure())
        await settle()
        setup.dialer.failure = OriginFailure(FailureKind.REFUSED)
        setup.dialer.gate.set()
        async with asyncio.timeout(1):
            await ahead
            refused = await waiting
        setup.dialer.failure = None
        await setup.taken()
        waiting = spawn("request", setup.failure())
        await settle()
        setup.pool.close()
        async with asyncio.timeout(1):
            closed = await waiting

        assert (refused.kind, closed.kind) == (FailureKind.REFUSED, FailureKind.CLOSED)


async def test_waiting_for_a_connection_has_an_end() -> None:
    async with pool_of(max_connections=1) as setup:
        await setup.taken()

        assert (await setup.failure(timeout=0.01)).kind is FailureKind.POOL_EXHAUSTED


async def test_a_dial_that_outlives_the_wait_leaves_nothing_behind() -> None:
    async with pool_of() as setup:
        setup.dialer.gate.clear()

        assert (await setup.failure(timeout=0.01)).kind is FailureKind.POOL_EXHAUSTED
        assert setup.pool.states() == {("idle",): 0, ("in-use",): 0, ("opening",): 0}


async def test_why_no_connection_could_be_opened_is_told() -> None:
    async with pool_of() as setup:
        setup.dialer.failure = OriginFailure(FailureKind.REFUSED, "no")

        assert await setup.failure() == OriginFailure(FailureKind.REFUSED, "no")


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    async with pool_of() as setup:
        setup.dialer.gate.clear()
        waiting = spawn("request", setup.taken())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

        assert setup.pool.states() == {("idle",): 0, ("in-use",): 0, ("opening",): 0}


async def test_one_let_go_leaves_its_room_and_its_end_is_counted() -> None:
    async with pool_of(max_connections=1) as setup:
        tunnel = await setup.taken()
        setup.pool.let_go(tunnel)
        await setup.taken()
        setup.pool.release(tunnel, CloseCause.TUNNEL)

        assert setup.books() == (0, 1)
        assert setup.closed() == {"tunnel": 1}


async def test_closed_it_keeps_none_and_opens_none() -> None:
    async with pool_of(min_idle=1) as setup:
        idle, busy = await setup.taken(), await setup.taken()
        setup.pool.release(idle, None)
        setup.pool.close()
        setup.pool.release(busy, None)
        await setup.pool.top_up()

        assert (await setup.failure()).kind is FailureKind.CLOSED
        assert setup.closed() == {"shutdown": 2}


async def test_closed_while_it_opens_one_it_does_not_hand_it_out() -> None:
    async with pool_of() as setup:
        setup.dialer.gate.clear()
        waiting = spawn("request", setup.failure())
        await settle()
        setup.pool.close()
        setup.dialer.gate.set()

        assert (await waiting).kind is FailureKind.CLOSED
        assert setup.closed() == {"shutdown": 1}


async def test_it_shows_its_state() -> None:
    async with pool_of() as setup:
        await setup.taken()

        assert repr(setup.pool) == "<Pool idle=0 in_use=1 opening=0>"
