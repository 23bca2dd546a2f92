"""Whose turn it is, pass by pass, on a clock and a loop that are stepped; then with real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from proxy.model import Answer, Request
from proxy.net.turns import PASS_SECONDS, REST_PASSES, Turns
from tests.support.canned_flow import CannedFlow, Served, plain_hit, serving
from tests.support.clocks import SteppedClock
from tests.support.raw_client import RawClient, connected, request, settle

LONG = PASS_SECONDS * 2
SHORT = PASS_SECONDS / 4


class Line:
    """Requests that wait, each of which takes its time."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.turns = Turns(self.clock)
        self.resumed: list[bytes] = []

    def come(self, data: bytes, *, takes: float = 0.0) -> bool:
        """False: it need not wait."""
        if not self.turns.is_over(self.clock()):
            self.clock.step(takes)
            return False
        self.turns.add(_Request(self, takes), data)
        return True

    async def pass_(self) -> list[bytes]:
        """Who was resumed in the next pass of the loop that has a share for new requests."""
        before = len(self.resumed)
        for _ in range(REST_PASSES + 1):
            await asyncio.sleep(0)
        return self.resumed[before:]


class _Request:
    def __init__(self, line: Line, takes: float) -> None:
        self.is_aborted = False
        self._line = line
        self._takes = takes

    def abort(self) -> None:
        self.is_aborted = True

    def resume(self, data: bytes) -> None:
        self._line.clock.step(self._takes)
        self._line.resumed.append(data)


async def test_within_its_share_of_a_pass_nobody_waits() -> None:
    line = Line()

    assert [line.come(b"%d" % n, takes=SHORT) for n in range(6)] == [False] * 4 + [True] * 2


async def test_each_pass_has_a_share_of_its_own() -> None:
    line = Line()
    for _ in range(3):
        assert not line.come(b"first", takes=LONG)
        await line.pass_()

    assert len(line.turns) == 0


async def test_who_waits_goes_in_the_next_pass_in_the_order_of_coming() -> None:
    line = Line()
    line.come(b"0", takes=LONG)
    for number in range(1, 4):
        assert line.come(b"%d" % number, takes=SHORT)

    assert await line.pass_() == [b"1", b"2", b"3"]
    assert len(line.turns) == 0


async def test_behind_each_share_come_passes_without_new_requests() -> None:
    line = Line()
    line.come(b"0", takes=LONG)
    for number in range(1, 3):
        line.come(b"%d" % number, takes=LONG)

    resumed = []
    for number in range(3, 3 + 3 * (REST_PASSES + 1)):
        before = len(line.resumed)
        await asyncio.sleep(0)
        resumed.append(line.resumed[before:])
        assert line.come(b"%d" % number, takes=LONG)

    rest: list[list[bytes]] = [[]] * REST_PASSES
    assert resumed == [*rest, [b"1"], *rest, [b"2"], *rest, [b"3"]]


async def test_who_comes_alone_leaves_the_share_to_the_next_after_the_rest() -> None:
    line = Line()
    assert not line.come(b"0", takes=SHORT)
    for number in range(1, REST_PASSES + 1):
        await asyncio.sleep(0)
        assert line.come(b"%d" % number)
    await asyncio.sleep(0)

    assert line.resumed == [b"%d" % number for number in range(1, REST_PASSES + 1)]
    assert not line.come(b"next")


async def test_who_waits_has_a_share_of_a_pass_too_and_goes_before_who_comes() -> None:
    line = Line()
    line.come(b"0", takes=LONG)
    for number in range(1, 4):
        line.come(b"%d" % number, takes=LONG)

    assert await line.pass_() == [b"1"]
    assert line.come(b"4")
    assert await line.pass_() == [b"2"]
    assert await line.pass_() == [b"3"]
    assert await line.pass_() == [b"4"]
    assert await line.pass_() == []
    assert not line.come(b"5")


async def test_who_crashes_leaves_nobody_waiting() -> None:
    line = Line()
    line.come(b"0", takes=LONG)
    broken = _Request(line, 0.0)
    broken.resume = lambda data: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    line.turns.add(broken, b"1")
    assert line.come(b"2")

    with capture_logs() as lines:
        assert await line.pass_() == [b"2"]

    assert broken.is_aborted
    assert [entry["event"] for entry in lines] == ["a request that waited crashed"]


async def test_nothing_runs_while_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    begin = Turns._begin
    monkeypatch.setattr(
        Turns, "_begin", lambda turns, ends_at: (begun.append(ends_at), begin(turns, ends_at))
    )
    line = Line()
    line.come(b"0")
    for _ in range(3):
        await line.pass_()

    assert len(begun) == 1


# With connections. As long as `/slow` is under way, whoever comes has to wait for another pass.


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What had to wait."""
    seen: list[bytes] = []
    add = Turns.add

    def is_over(turns: Turns, now: float) -> bool:
        if not turns._ends_at:
            turns._begin(-1.0)
        return True

    def counting(turns: Turns, connection: object, data: bytes) -> None:
        seen.append(data)
        add(turns, connection, data)  # type: ignore[arg-type]

    monkeypatch.setattr(Turns, "is_over", is_over)
    monkeypatch.setattr(Turns, "add", counting)
    return seen


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Turns]:
    """Whose turn comes when the test says so."""
    turns: list[Turns] = []
    monkeypatch.setattr(Turns, "_begin", lambda one, _: turns.append(one))
    return turns


async def send_each(client: RawClient, *segments: bytes) -> None:
    """Each read before the next is sent."""
    for segment in segments:
        await client.send(segment)
        await settle()


@asynccontextmanager
async def busy() -> AsyncIterator[tuple[Served, RawClient, asyncio.Event]]:
    """A listener with an answer under way, a client, and what ends that answer."""
    flow, gate = CannedFlow(), asyncio.Event()
    flow.plain_hits = {b"/a": plain_hit()}

    async def handler(given: Request) -> Answer:
        if given.target == b"/slow":
            await gate.wait()
        return await flow.echo(given)

    flow.handler = handler
    async with serving(flow) as served, connected(served.where) as slow, connected(served.where) as client:
        await slow.send(request("/slow"))
        await settle()
        yield served, client, gate
        gate.set()
        assert (await slow.answer()).body == b"/slow|"


async def test_a_hit_waits_for_its_turn_and_is_answered(waited: list[bytes]) -> None:
    async with busy() as (served, client, _):
        for _ in range(2):
            await client.send(request("/a"))
            assert (await client.answer()).body == b"plain"

        assert waited == [request("/a")] * 2
        assert [record.status for record in served.records] == [200, 200]


async def test_a_miss_waits_for_its_turn_and_is_answered(waited: list[bytes]) -> None:
    async with busy() as (_, client, _):
        await client.send(request("/other"))

        assert (await client.answer()).body == b"/other|"
        assert waited == [request("/other")]


async def test_while_nothing_is_under_way_nobody_waits(waited: list[bytes]) -> None:
    async with busy() as (_, client, gate):
        gate.set()
        await settle()
        await client.send(request("/a"))

        assert (await client.answer()).body == b"plain"
        assert waited == []


async def test_while_l2_is_asked_others_wait(waited: list[bytes]) -> None:
    flow = CannedFlow()
    flow.plain_hits, flow.l2, flow.answers_l2 = {b"/a": plain_hit()}, {b"/l2": plain_hit(b"found")}, False
    async with serving(flow) as served, connected(served.where) as first, connected(served.where) as second:
        await first.send(request("/l2"))
        await settle()
        await second.send(request("/a"))
        assert (await second.answer()).body == b"plain"
        flow.waiting.pop()()
        assert (await first.answer()).body == b"found"
        await second.send(request("/a"))
        assert (await second.answer()).body == b"plain"

        assert waited == [request("/a")]


async def test_what_comes_behind_a_request_that_waits_is_answered_behind_it(
    waited: list[bytes], held: list[Turns]
) -> None:
    async with busy() as (_, client, _):
        await send_each(client, request("/a"), request("/1") + request("/2"))
        assert await client.has_silence()
        held[0]._go_on()

        assert [(await client.answer()).body for _ in range(3)] == [b"plain", b"/1|", b"/2|"]
        assert waited == [request("/a")]


async def test_what_the_lane_does_not_take_goes_the_whole_way(waited: list[bytes], held: list[Turns]) -> None:
    odd = request("/a", "Range: bytes=0-1")
    async with busy() as (_, client, _):
        await send_each(client, odd, request("/1"))
        held[0]._go_on()

        assert [(await client.answer()).body for _ in range(2)] == [b"/a|", b"/1|"]
        assert waited == [odd]


async def test_half_a_head_that_waited_is_completed(waited: list[bytes], held: list[Turns]) -> None:
    head = request("/a")
    async with busy() as (_, client, _):
        await send_each(client, head[:20])
        held[0]._go_on()
        await client.send(head[20:])

        assert (await client.answer()).body == b"/a|"
        assert waited == [head[:20]]


@pytest.mark.usefixtures("waited")
async def test_who_leaves_while_waiting_is_not_answered(held: list[Turns]) -> None:
    async with busy() as (served, client, _):
        await send_each(client, request("/other"))
        client.reset()
        await settle()
        held[0]._go_on()
        await settle()

        assert [given.target for given in served.flow.requests] == [b"/slow"]


@pytest.mark.usefixtures("waited")
async def test_an_end_behind_the_request_lets_it_be_answered(held: list[Turns]) -> None:
    async with busy() as (_, client, _):
        await send_each(client, request("/a"))
        client.send_eof()
        await settle()
        held[0]._go_on()

        assert (await client.answer()).body == b"plain"
        assert await client.is_closed()


@pytest.mark.usefixtures("waited")
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/a")[:9], None),
        (b"\r\n", None),
        (b"\r\n\r\n", None),
        (b"POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n0123", 400),
        (b"POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n", 400),
    ],
)
async def test_an_end_within_what_waited_ends_the_connection(
    held: list[Turns], data: bytes, status: int | None
) -> None:
    async with busy() as (served, client, _):
        await send_each(client, data)
        client.send_eof()
        await settle()
        held[0]._go_on()

        if status is not None:
            assert (await client.answer()).status == status
        async with asyncio.timeout(3):
            assert await client.is_closed()
        if status is None:  # a refusal lingers
            assert len(served.listener._connections.open) == 1  # the other


@pytest.mark.usefixtures("waited")
async def test_while_draining_what_waited_is_the_last_answer(held: list[Turns]) -> None:
    async with busy() as (served, client, _):
        await send_each(client, request("/a"))
        served.listener.drain()
        held[0]._go_on()

        assert (await client.answer()).first("connection") == b"close"
