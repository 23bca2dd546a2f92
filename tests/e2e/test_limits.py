"""`limits` and the origin's bounds, held by a whole process against clients that drip or do not read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from proxy.observe.tasks import spawn
from tests.support.raw_client import RawClient, connected, request
from tests.support.raw_origin import OriginEnd, RawOrigin
from tests.support.sidecar import Sidecar, address, ask, running_sidecar

SHORT = "700ms"
SHORT_SECONDS = 0.7
LATE_SECONDS = 6.0
"""How much later an end may be seen on a busy machine; every limit that a test does not set is longer."""
POLICIES = """
limits: {{{limits}}}
l1: {{max_bytes: 64MiB, max_entry_bytes: 32MiB}}
routes: [{{name: kept, match: {{path: "/kept/**"}}, ttl: 60s}}]
unmatched: pass
"""
ORIGIN = """{{url: "{url}", max_in_flight: 2, queue: {{size: 1, timeout: 30s}},
  pool: {{min_idle: 0, acquire_timeout: 30s}}}}"""
PIECE = b"x" * 65536
PIECES = 800
"""50 MiB: far more than the kernel and all the buffers on the way hold together."""
MOST_PIECES_HELD = 320
SMALL_BUFFER = 4096
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


class Origin:
    """Answers by path; tells what it was asked and how much of a big body it got rid of."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        """One permit for each request."""
        self.may_answer = asyncio.Event()
        self.was_left = asyncio.Event()
        """Somebody has gone away in the middle of a long answer."""
        self.pieces_sent = 0

    async def script(self, end: OriginEnd) -> None:
        while True:
            target = (await end.head()).split(b" ")[1]
            self.asked.release()
            if target.endswith(b"/big"):
                await self._send_big(end)
            elif target.endswith(b"/slow"):
                await self.may_answer.wait()
                await end.send(OK)
            elif target == b"/upload":
                await end.wait_closed()
            elif target in (b"/events", b"/socket"):
                await end.send(EVENTS if target == b"/events" else SWITCHED)
                await end.wait_closed()
                self.was_left.set()
                end.close()
            else:
                await end.send(OK)

    async def _send_big(self, end: OriginEnd) -> None:
        end.transport.set_write_buffer_limits(high=0)
        await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
        while self.pieces_sent < PIECES and not end.closed.is_set():
            if end.transport.get_write_buffer_size() == 0:
                end.transport.write(PIECE)
                self.pieces_sent += 1
            await asyncio.sleep(0.001)
        if end.closed.is_set():
            self.was_left.set()


@pytest.fixture
def origin() -> Origin:
    return Origin()


@asynccontextmanager
async def limited(
    folder: Path, origin: Origin, limits: str = "", *, before: str = ""
) -> AsyncIterator[Sidecar]:
    """A sidecar with these limits; all others as in the defaults."""
    async with RawOrigin(origin.script) as listening:
        section = ORIGIN.format(url=listening.url)
        with running_sidecar(folder, section, POLICIES.format(limits=limits), before=before) as sidecar:
            yield sidecar


async def asked(sidecar: Sidecar, target: str) -> int:
    """The status that another client gets."""
    async with connected(address(sidecar.data)) as client:
        await client.send(request(target))
        return (await client.answer()).status


async def metric(sidecar: Sidecar, line: str) -> float:
    metrics = await asyncio.to_thread(ask, sidecar.ops, "/metrics")
    found = [text for text in metrics.body.decode().splitlines() if text.startswith(line + " ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def drip(client: RawClient) -> None:
    """A byte every few milliseconds until the connection ends."""
    try:
        while True:
            await client.send(b"a")
            await asyncio.sleep(0.02)
    except ConnectionError:
        return


async def test_a_dripped_head_is_answered_408_while_others_are_served(origin: Origin, tmp_path: Path) -> None:
    async with limited(tmp_path, origin, f"head_time: {SHORT}") as sidecar:
        async with connected(address(sidecar.data)) as client:
            began_at = time.monotonic()
            await client.send(b"GET / HTTP/1.1\r\nX: ")
            dripping = spawn("drip", drip(client))
            others = await asked(sidecar, "/other")
            answer = await client.answer()
            seconds = time.monotonic() - began_at
            is_closed = await client.is_closed()
            dripping.cancel()
        timeouts = await metric(sidecar, 'sidecache_client_timeouts_total{cause="head"}')

    assert others == 200
    assert (answer.status, answer.first("connection"), is_closed) == (408, b"close", True)
    assert SHORT_SECONDS <= seconds < SHORT_SECONDS + LATE_SECONDS
    assert timeouts == 1


async def test_a_body_that_stops_is_answered_408_and_gives_its_place_back(
    origin: Origin, tmp_path: Path
) -> None:
    async with limited(tmp_path, origin, f"body_idle: {SHORT}") as sidecar:
        async with connected(address(sidecar.data)) as client:
            await client.send(request("/upload", "Content-Length: 10", method="POST", body=b"half"))
            others = await asked(sidecar, "/other")
            answer = await client.answer()
            is_closed = await client.is_closed()
        in_flight = await metric(sidecar, "sidecache_origin_in_flight")
        timeouts = await metric(sidecar, 'sidecache_client_timeouts_total{cause="body"}')

    assert others == 200
    assert (answer.status, answer.first("connection"), is_closed) == (408, b"close", True)
    assert (in_flight, timeouts) == (0, 1)


async def test_a_head_above_its_limit_is_answered_431_and_never_forwarded(
    origin: Origin, tmp_path: Path
) -> None:
    async with (
        limited(tmp_path, origin, "head: 8KiB") as sidecar,
        connected(address(sidecar.data)) as client,
    ):
        await client.send(request("/", "X: " + "a" * 8192))
        answer = await client.answer()
        is_closed = await client.is_closed()

    assert (answer.status, is_closed) == (431, True)
    assert origin.asked.locked()


async def test_who_does_not_read_is_cut_off_and_the_origin_is_held_back_until_then(
    origin: Origin, tmp_path: Path
) -> None:
    async with limited(tmp_path, origin, f"write_idle: {SHORT}") as sidecar:
        async with connected(address(sidecar.data), receive_buffer=SMALL_BUFFER) as client:
            await client.send(request("/big"))
            await client.head()
            others = await asked(sidecar, "/other")
            async with asyncio.timeout(SHORT_SECONDS + LATE_SECONDS):
                await origin.was_left.wait()
        in_flight = await metric(sidecar, "sidecache_origin_in_flight")
        timeouts = await metric(sidecar, 'sidecache_client_timeouts_total{cause="write"}')

    assert others == 200
    assert origin.pieces_sent < MOST_PIECES_HELD
    assert (in_flight, timeouts) == (0, 1)


async def test_a_slow_reader_holds_no_more_than_the_spool_and_frees_it(
    origin: Origin, tmp_path: Path
) -> None:
    async with limited(tmp_path, origin, f"write_idle: {SHORT}, spool: 1MiB") as sidecar:
        async with connected(address(sidecar.data), receive_buffer=SMALL_BUFFER) as client:
            await client.send(request("/kept/big"))
            await client.head()
            async with asyncio.timeout(SHORT_SECONDS + LATE_SECONDS):
                await origin.was_left.wait()
        spool = await metric(sidecar, "sidecache_spool_bytes")
        flights = await metric(sidecar, "sidecache_flights")
        others = await asked(sidecar, "/kept/other")

    assert origin.pieces_sent < MOST_PIECES_HELD
    assert (spool, flights) == (0, 0)
    assert others == 200


async def test_one_connection_too_many_is_told_so_and_room_is_made_by_leaving(
    origin: Origin, tmp_path: Path
) -> None:
    async with limited(tmp_path, origin, "connections: 2") as sidecar:
        where = address(sidecar.data)
        async with connected(where) as first:
            async with connected(where) as second:
                for client in (first, second):
                    await client.send(request("/"))
                    assert (await client.answer()).status == 200
                async with connected(where) as third:
                    refusal = await third.answer()
                    is_closed = await third.is_closed()
            await first.send(request("/"))
            still_served = (await first.answer()).status
            while await metric(sidecar, "sidecache_client_connections") > 1:
                continue
            others = await asked(sidecar, "/")
        refused = await metric(sidecar, "sidecache_connections_refused_total")

    assert (refusal.status, refusal.first("retry-after"), is_closed) == (503, b"1", True)
    assert (still_served, others, refused) == (200, 200, 1)


async def test_event_streams_and_tunnels_share_their_limit_and_take_no_slots(
    origin: Origin, tmp_path: Path
) -> None:
    async with limited(tmp_path, origin, "tunnels: 2") as sidecar:
        where = address(sidecar.data)
        async with connected(where) as stream, connected(where) as socket:
            await stream.send(request("/events"))
            await stream.head()
            await socket.send(request("/socket", *UPGRADE))
            switched = await socket.answer()
            refused = await asked(sidecar, "/events")
            async with connected(where) as late:
                await late.send(request("/socket", *UPGRADE))
                refusal = await late.answer()
            in_flight = await metric(sidecar, "sidecache_origin_in_flight")
            is_open = await metric(sidecar, "sidecache_tunnels_open")
            others = await asked(sidecar, "/other")
        while await metric(sidecar, "sidecache_tunnels_open"):
            continue

    assert (switched.status, refused, refusal.status) == (101, 503, 503)
    assert refusal.first("retry-after") == b"1"
    assert (in_flight, is_open) == (0, 2)
    assert others == 200


async def test_a_silent_tunnel_is_closed_on_both_sides(origin: Origin, tmp_path: Path) -> None:
    async with limited(tmp_path, origin, f"tunnel_idle: {SHORT}") as sidecar:
        async with connected(address(sidecar.data)) as client:
            await client.send(request("/socket", *UPGRADE))
            began_at = time.monotonic()
            switched = await client.answer()
            is_closed = await client.is_closed()
            seconds = time.monotonic() - began_at
            async with asyncio.timeout(LATE_SECONDS):
                await origin.was_left.wait()
        is_open = await metric(sidecar, "sidecache_tunnels_open")

    assert (switched.status, is_closed, is_open) == (101, True, 0)
    assert SHORT_SECONDS <= seconds < SHORT_SECONDS + LATE_SECONDS


async def test_too_many_for_the_origin_queue_and_then_are_shed_while_hits_go_on(
    origin: Origin, tmp_path: Path
) -> None:
    async with limited(tmp_path, origin) as sidecar:
        filled = await asked(sidecar, "/kept/1")
        busy = [spawn("busy", asked(sidecar, "/slow")) for _ in range(2)]
        for _ in range(3):  # the one that filled, and the two that are slow
            await origin.asked.acquire()
        queued = spawn("queued", asked(sidecar, "/slow"))
        while await metric(sidecar, "sidecache_origin_queue") < 1:
            continue
        async with connected(address(sidecar.data)) as client:
            await client.send(request("/other"))
            shed = await client.answer()
            await client.send(request("/kept/1"))
            hit = await client.answer()
        was_spared = origin.asked.locked()
        origin.may_answer.set()
        served = [await task for task in (*busy, queued)]
        count = await metric(sidecar, 'sidecache_shed_requests_total{cause="queue-full"}')

    assert filled == 200
    assert (shed.status, shed.first("retry-after")) == (503, b"1")
    assert hit.status == 200
    assert (hit.first("cache-status") or b"").startswith(b"sidecache; hit;")
    assert was_spared
    assert served == [200, 200, 200]
    assert count == 1


async def test_all_connections_that_are_allowed_find_descriptors(origin: Origin, tmp_path: Path) -> None:
    limits, before = "connections: 200", "ulimit -S -n 64"
    async with limited(tmp_path, origin, limits, before=before) as sidecar, AsyncExitStack() as stack:
        filled = await asked(sidecar, "/kept/1")
        where = address(sidecar.data)
        clients = [await stack.enter_async_context(connected(where)) for _ in range(100)]
        for client in clients:
            await client.send(request("/kept/1"))
        statuses = [(await client.answer()).status for client in clients]

    assert filled == 200
    assert statuses == [200] * 100
