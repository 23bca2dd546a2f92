"""When the plain lane must keep out: T1 to T19, the cases in which taking a head would be a wrong answer.

`HIT` alone in a segment, between two requests, is answered `plain` by the lane itself. The whole lane has
another answer for the same target, `whole`: by its body each answer says which lane gave it.
"""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from proxy.model import Answer, Hit, Request
from proxy.net import plain_lane
from proxy.net.client_connection import READ_BUFFER_BYTES
from proxy.net.turns import Turns
from tests.support.canned_flow import BROKEN, CannedBody, CannedFlow, answer, plain_hit, serving
from tests.support.raw_client import BrokenOff, RawClient, chunked, connected, request, settle

ON_BOTH_LOOPS = True

HIT = request("/hit")
MISS = request("/miss")


@pytest.fixture(autouse=True)
def _learns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lane, "LEARNING_SECONDS", 0.0)


def flow_with(hit: Hit | None = None) -> CannedFlow:
    """A flow that holds /hit, differently for each lane, and echoes all else."""
    flow = CannedFlow()
    flow.plain_hits = {b"/hit": hit or plain_hit()}
    flow.hits = {b"/hit": answer(b"whole")}
    return flow


def held(flow: CannedFlow, gate: asyncio.Event) -> CannedFlow:
    """The flow, answering what it does not hold once the gate opens."""

    async def handler(given: Request) -> Answer:
        await gate.wait()
        return await flow.echo(given)

    flow.handler = handler
    return flow


async def bodies(client: RawClient, count: int) -> list[bytes]:
    return [(await client.answer()).body for _ in range(count)]


async def send_each(client: RawClient, *segments: bytes) -> None:
    """Each as a segment of its own, read by the server before the next is sent."""
    for segment in segments:
        await client.send(segment)
        await settle()


async def test_a_hit_of_its_own_is_the_lanes() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, HIT, HIT, MISS, HIT)

        assert await bodies(client, 4) == [b"plain", b"plain", b"/miss|", b"plain"]


async def test_t1_a_hit_inside_the_head_of_another_request_is_none() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, b"GET /miss HTTP/1.1\r\nX-A: ", HIT)

        assert await bodies(client, 1) == [b"/miss|"]
        assert await client.has_silence()
        assert served.flow.requests[0].fields.first(b"x-a") == b"GET /hit HTTP/1.1"


@pytest.mark.parametrize("first", [HIT, MISS, request("/hit", method="HEAD")])
async def test_t2_a_head_cut_anywhere_is_the_same_head(first: bytes) -> None:
    method = first.split(b" ")[0].decode()
    expected = {HIT: b"whole", MISS: b"/miss|"}.get(first, b"")
    async with serving(flow_with()) as served, connected(served.where) as client:
        for cut in range(1, len(first)):
            await send_each(client, first[:cut], first[cut:], HIT)

            assert (await client.answer(method)).body == expected
            assert await bodies(client, 1) == [b"plain"]


async def test_t3_two_hits_in_one_segment_are_two_answers() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, HIT, HIT + HIT, HIT)

        assert await bodies(client, 4) == [b"plain", b"whole", b"whole", b"plain"]
        assert await client.has_silence()


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("is_later", [False, True])
async def test_t4_a_hit_inside_a_body_is_none(framing: str, is_later: bool) -> None:
    head = request("/p", f"Content-Length: {len(HIT)}", method="POST")
    body = HIT
    if framing == "chunked":
        head, body = request("/p", "Transfer-Encoding: chunked", method="POST"), chunked(HIT)
    segments = [head, body] if is_later else [head + body]
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, *segments, HIT)

        assert await bodies(client, 2) == [b"/p|" + HIT, b"plain"]
        assert await client.has_silence()


async def test_t4_a_hit_that_is_a_chunk_of_its_own_is_none() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        head = request("/p", "Transfer-Encoding: chunked", method="POST")
        await send_each(client, head, b"%x\r\n" % len(HIT), HIT, b"\r\n0\r\n\r\n", HIT)

        assert await bodies(client, 2) == [b"/p|" + HIT, b"plain"]


@pytest.mark.parametrize("slow", [MISS, request("/miss", method="POST", body=b"x"), MISS + MISS])
async def test_t5_a_hit_waits_for_the_answer_before_it(slow: bytes) -> None:
    gate = asyncio.Event()
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await send_each(client, slow, HIT, HIT)
        assert await client.has_silence()

        gate.set()
        expected = [b"/miss|x" if b"POST" in slow else b"/miss|"] * slow.count(b"/miss")
        assert await bodies(client, len(expected) + 2) == [*expected, b"whole", b"whole"]
        await client.send(HIT)
        assert await bodies(client, 1) == [b"plain"]


async def test_t5_a_hit_waits_for_the_body_of_the_answer_before_it() -> None:
    gate = asyncio.Event()
    flow = flow_with()
    flow.always(lambda: answer(CannedBody(b"first", gate, b"last")))
    async with serving(flow) as served, connected(served.where) as client:
        await send_each(client, MISS, HIT)
        assert b"chunked" in await client.head()
        assert await client.exactly(10) == b"5\r\nfirst\r\n"
        assert await client.has_silence()

        gate.set()
        assert await client.exactly(14) == b"4\r\nlast\r\n0\r\n\r\n"
        assert await bodies(client, 1) == [b"whole"]


@pytest.mark.parametrize("is_settled", [False, True])
async def test_t6_a_hundred_pipelined_hits_and_misses_are_answered_in_order(is_settled: bool) -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        expected = []
        for number in range(100):
            segment = HIT if number % 3 else request(f"/{number}")
            expected.append((b"plain", b"whole") if number % 3 else (b"/%d|" % number,))
            await client.send(segment)
            if is_settled and number % 7 == 0:
                await settle()

        given = await bodies(client, 100)
        assert all(body in allowed for body, allowed in zip(given, expected, strict=True))
        assert await client.has_silence()


async def test_t7_an_empty_line_before_a_hit_is_ignored_once() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, b"\r\n" + HIT, b"\r\n", HIT, HIT)

        assert await bodies(client, 3) == [b"whole", b"whole", b"plain"]
        await send_each(client, b"\r\n", b"\r\n", HIT)
        assert (await client.answer()).status == 400


async def test_t7_an_empty_line_counts_for_the_request_behind_it_alone() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, MISS + b"\r\n", HIT, b"\r\n" + HIT)

        assert await bodies(client, 3) == [b"/miss|", b"whole", b"whole"]


async def test_t7_half_an_empty_line_is_no_request_yet() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, MISS + b"\r", b"\n", HIT)

        assert await bodies(client, 2) == [b"/miss|", b"whole"]


async def test_t8_what_follows_a_bad_request_is_not_answered() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, HIT, b"GARBAGE\r\n\r\n", HIT)

        assert await bodies(client, 1) == [b"plain"]
        assert (await client.answer()).status == 400
        assert await client.is_closed()
        assert len(served.records) == 1


@pytest.mark.parametrize("last", [request("/miss", "Connection: close"), request("/m", version="HTTP/1.0")])
async def test_t9_what_follows_the_last_request_is_not_answered(last: bytes) -> None:
    gate = asyncio.Event()
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await send_each(client, last, HIT)
        gate.set()

        assert (await client.answer()).first("connection") == b"close"
        assert await client.is_closed()
        assert len(served.records) == 1


class FarEnd:
    """The origin's end of a tunnel, which says nothing and keeps what it hears."""

    def __init__(self) -> None:
        self.got = b""
        self._closed = asyncio.Event()

    async def read(self) -> bytes:
        await self._closed.wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.got += data

    def write_eof(self) -> None:
        self._closed.set()

    def close(self) -> None:
        self._closed.set()


async def test_t10_a_hit_inside_a_tunnel_is_none() -> None:
    far, flow = FarEnd(), flow_with()
    flow.always(lambda: answer(b"", status=101, reason=b"", lines=b"Upgrade: websocket\r\n", tunnel=far))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/ws", "Connection: Upgrade", "Upgrade: websocket"))
        assert (await client.answer()).status == 101
        await send_each(client, HIT, HIT)

        assert await client.has_silence()
        assert far.got == HIT + HIT
        client.send_eof()
        assert await client.is_closed()


async def test_t10_a_hit_after_a_declined_upgrade_is_answered() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, request("/ws", "Connection: Upgrade", "Upgrade: websocket"), HIT)

        assert await bodies(client, 2) == [b"/ws|", b"plain"]


async def test_t11_a_hit_after_another_http_was_asked_for_is_not_answered() -> None:
    gate = asyncio.Event()
    upgrade = request("/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await send_each(client, upgrade, HIT)
        gate.set()
        given = await client.answer()

        assert (given.body, given.first("connection")) == (b"/a|", b"close")
        assert await client.is_closed()
        assert len(served.records) == 1


@pytest.mark.parametrize("size", [60_000, 500_000])
async def test_t12_a_client_that_does_not_read_is_held_up(size: int) -> None:
    flow = flow_with(plain_hit(b"x" * size))
    async with serving(flow) as served, connected(served.where, receive_buffer=4096) as client:
        for _ in range(200):
            await send_each(client, HIT)
        (connection,) = served.listener._connections.open

        assert connection.is_answering
        assert connection.output._unsent() < 2 * size + READ_BUFFER_BYTES
        assert len(served.records) < 200
        assert len(connection._intake) < READ_BUFFER_BYTES + len(HIT)
        client.reset()
        await served.listener._connections.wait_until_none(5)


async def test_t12_a_client_that_reads_late_gets_every_answer_in_order() -> None:
    flow = flow_with(plain_hit(b"x" * 500_000))
    async with serving(flow) as served, connected(served.where, receive_buffer=4096) as client:
        await send_each(client, *[HIT] * 20, MISS, HIT)
        given = await bodies(client, 22)

        assert set(given[:20]) == {b"x" * 500_000, b"whole"}
        assert given[20:] == [b"/miss|", b"whole"]
        await client.send(HIT)
        assert await bodies(client, 1) == [b"x" * 500_000]


async def test_t13_hits_keep_a_connection_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.net.client_connection.KEEP_ALIVE_SECONDS", 1.0)
    async with serving(flow_with()) as served, connected(served.where) as client:
        for _ in range(5):
            await client.send(HIT)
            assert await bodies(client, 1) == [b"plain"]
            await asyncio.sleep(0.3)


@pytest.mark.parametrize("requests", [[HIT], [MISS], [HIT, MISS], [MISS, HIT], [MISS + MISS, HIT]])
async def test_t13_an_idle_connection_is_closed_after_whatever_it_asked(
    requests: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.net.client_connection.KEEP_ALIVE_SECONDS", 0.05)
    async with serving(flow_with()) as served, connected(served.where) as client:
        await client.send(b"".join(requests[:1]))
        await bodies(client, requests[0].count(b"GET"))
        for segment in requests[1:]:
            await client.send(segment)
            await bodies(client, 1)

        assert await client.is_closed()


async def test_t13_an_answer_that_takes_long_is_not_an_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.net.client_connection.KEEP_ALIVE_SECONDS", 0.05)
    gate = asyncio.Event()
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await client.send(MISS)
        await asyncio.sleep(0.2)
        gate.set()

        assert await bodies(client, 1) == [b"/miss|"]
        assert await client.is_closed()


async def test_t14_while_draining_every_answer_is_the_last() -> None:
    async with serving(flow_with()) as served:
        async with connected(served.where) as client:
            await client.send(HIT)
            assert await bodies(client, 1) == [b"plain"]
            served.listener.drain()
            await client.send(HIT)
            given = await client.answer()

            assert (given.body, given.first("connection")) == (b"whole", b"close")
            assert await client.is_closed()
        served.listener.undo_drain()
        async with connected(served.where) as client:
            await client.send(HIT)
            assert await bodies(client, 1) == [b"plain"]


async def test_t14_the_end_waits_for_a_plain_miss_and_closes_behind_it() -> None:
    gate = asyncio.Event()
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await send_each(client, MISS)
        finishing = asyncio.gather(served.listener.finish(5))
        await settle()
        assert not finishing.done()
        gate.set()
        given = await client.answer()

        assert (given.body, given.first("connection")) == (b"/miss|", b"close")
        assert await client.is_closed()
        await finishing


async def test_t14_the_end_does_not_wait_for_ever_for_a_plain_miss() -> None:
    async with serving(held(flow_with(), asyncio.Event())) as served, connected(served.where) as client:
        await send_each(client, MISS)
        await served.listener.finish(0.01)

        assert await client.is_closed()
        assert not served.listener._service.under_way


async def test_t14_an_idle_connection_that_had_hits_is_closed_at_the_end() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await client.send(HIT)
        await bodies(client, 1)
        await served.listener.finish(5)

        assert await client.is_closed()


OTHERS = [
    request("/hit", version="HTTP/1.0"),
    request("/hit", "Connection: close"),
    request("/hit", "X: a", "x: b"),
    request("/hit", "X: \xe9"),
    request("/hit", "X:a"),
    request("/hit", "Content-Length: 0"),
    request("/hit", "Range: bytes=0-1"),
    request("/hit", "Expect: 100-continue"),
]


@pytest.mark.parametrize("raw", OTHERS)
async def test_t16_what_is_not_plain_is_the_whole_lanes(raw: bytes) -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, HIT, raw)

        assert await bodies(client, 2) == [b"plain", b"whole"]


async def test_t16_names_in_lower_case_and_long_heads_are_plain() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        lower = b"GET /hit HTTP/1.1\r\nhost: shop\r\naccept: a\r\n\r\n"
        await send_each(client, lower, request("/hit", "X: " + "x" * 20_000))

        assert await bodies(client, 2) == [b"plain", b"plain"]


async def test_t17_a_hit_after_more_than_aiohttps_queue_of_pipelined_requests() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, MISS * 70, HIT)
        given = await bodies(client, 71)

        assert given[:70] == [b"/miss|"] * 70
        assert given[70] in (b"plain", b"whole")
        await client.send(HIT)
        assert await bodies(client, 1) == [b"plain"]


async def test_t18_a_hit_after_an_early_answer_is_part_of_the_unread_body() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await send_each(client, request("/hit", "Content-Length: 1000", method="POST"), HIT)
        given = await client.answer()

        assert (given.body, given.first("connection")) == (b"whole", b"close")
        assert await client.is_closed()


class Defect(Exception):
    """Of ours."""


def crash(*_: object) -> None:
    raise Defect


@pytest.mark.parametrize("method", ["plain_hit", "is_not_modified"])
async def test_t19_a_defect_of_the_lane_costs_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_with()
    monkeypatch.setattr(flow, method, crash)
    async with serving(flow) as served, connected(served.where) as client:
        await send_each(client, request("/hit", "If-None-Match: b"), request("/hit", "If-None-Match: c"))

        assert await bodies(client, 2) == [b"whole", b"whole"]
        assert len(served.records) == 2


async def test_t19_a_defect_of_the_flow_costs_one_answer() -> None:
    """The whole lane meets it again, tells it and answers."""
    flow = flow_with()
    flow.plan = crash  # type: ignore[assignment, method-assign]
    async with serving(flow) as served, connected(served.where) as client:
        with capture_logs() as lines:
            await client.send(HIT)
            given = await client.answer()

        assert (given.status, len(served.records)) == (500, 1)
        assert [line["event"] for line in lines] == ["request crashed"]


async def test_t19_a_defect_while_a_plain_miss_is_served_costs_one_answer() -> None:
    flow = flow_with()

    async def handler(_given: Request) -> Answer:
        raise Defect

    flow.handler = handler
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(MISS)

        assert (await client.answer()).status == 500
        assert len(served.records) == 1


# The client's end.


@pytest.mark.parametrize("behind", [HIT, MISS, HIT + MISS, request("/p", method="POST", body=b"b")])
async def test_what_was_sent_behind_a_plain_miss_is_answered_though_the_client_has_ended(
    behind: bytes,
) -> None:
    gate = asyncio.Event()
    expected = {b"/hit": b"whole", b"/miss": b"/miss|", b"/p": b"/p|b"}
    targets = [line.split(b" ")[1] for line in behind.split(b"\r\n") if line.endswith(b"HTTP/1.1")]
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await send_each(client, MISS, behind)
        client.send_eof()
        await settle()
        gate.set()

        assert await bodies(client, 1) == [b"/miss|"]
        assert await bodies(client, len(targets)) == [expected[target] for target in targets]
        assert await client.is_closed()


async def test_a_client_that_ends_after_a_hit_is_let_go() -> None:
    async with serving(flow_with()) as served, connected(served.where) as client:
        await client.send(HIT)
        client.send_eof()

        assert await bodies(client, 1) == [b"plain"]
        assert await client.is_closed()


async def test_a_client_that_vanishes_in_a_plain_miss_leaves_nothing() -> None:
    gate = asyncio.Event()
    async with serving(held(flow_with(), gate)) as served, connected(served.where) as client:
        await send_each(client, MISS, HIT)
        client.reset()
        await settle()
        gate.set()
        (record,) = await served.records.until(1)

        assert (record.target, record.complete) == (b"/miss", False)
        await served.listener._connections.wait_until_none(5)
        assert not served.listener._connections.open


async def test_what_waits_on_a_connection_that_closes_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "is_over", lambda *_: True)
    async with serving(flow_with()) as served, connected(served.where) as client:
        (connection,) = served.listener._connections.open
        lane = connection._lane
        assert lane is not None
        monkeypatch.setattr(lane, "_asking", 1)
        await send_each(client, b"no head of a request\r\n\r\n")
        ((waiting, data),) = lane._turns._waiting
        assert connection.transport is not None
        connection.transport.close()
        waiting.resume(data)

        assert not connection._messages
        assert not served.flow.requests


async def test_an_answer_that_breaks_cuts_a_plain_miss_off() -> None:
    flow = flow_with()
    flow.always(lambda: answer(CannedBody(b"part", BROKEN, length=10)))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(MISS)

        with pytest.raises((BrokenOff, ConnectionError)):
            await client.answer()
        await served.records.until(1)
        assert [record.complete for record in served.records] == [False]
