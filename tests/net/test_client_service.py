"""What goes out for an answer, and what follows on the connection: on real sockets."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from proxy.model import (
    Answer,
    BodyBroken,
    CacheStatus,
    FailureKind,
    Fields,
    OriginFailure,
    Outcome,
    Request,
    ResponseHead,
)
from tests.support.canned_flow import BROKEN, LINES, CannedBody, CannedFlow, answer, read_all, serving
from tests.support.raw_client import BrokenOff, chunked, connected, request, settle

ON_BOTH_LOOPS = True

HINTS = ResponseHead(103, Fields([(b"Link", b"</a.css>")]), b"Early Hints")


def flow_of(make: object) -> CannedFlow:
    flow = CannedFlow()
    flow.always(make)  # type: ignore[arg-type]
    return flow


async def test_the_answer_is_exactly_status_lines_length_and_body() -> None:
    flow = flow_of(lambda: answer(b"hi", lines=b"A: \xe9\xff\r\na: 2\r\nSet-Cookie: x\r\nSet-Cookie: y\r\n"))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/", "Connection: close"))

        assert await client.rest() == (
            b"HTTP/1.1 200 OK\r\nA: \xe9\xff\r\na: 2\r\nSet-Cookie: x\r\nSet-Cookie: y\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n\r\nhi"
        )


async def test_request_bytes_arrive_as_they_were_sent() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a%2f?b=%C3%A9", "X-A: caf\xe9", "x-a: \xff", "X_B: 1"))
        await client.answer()
        (given,) = served.flow.requests

        assert given.target == b"/a%2f?b=%C3%A9"
        assert given.fields.lines == (
            (b"Host", b"shop"),
            (b"X-A", b"caf\xe9"),
            (b"x-a", b"\xff"),
            (b"X_B", b"1"),
        )
        assert given.peer == "127.0.0.1"


async def test_hits_are_answered_without_the_slow_way() -> None:
    async with serving() as served, connected(served.where) as client:
        status = CacheStatus(hit=True, ttl=41, detail="l1")
        served.flow.hits = {b"/a": answer(b"hit", age=7, cache_status=status, outcome=Outcome.HIT)}
        served.flow.handler = None  # type: ignore[assignment]
        await client.send(request("/a"))
        given = await client.answer()

        assert (given.body, given.first("age")) == (b"hit", b"7")
        assert given.first("cache-status") is not None
        assert given.first("x-cache-status") is None


async def test_x_cache_status_on_demand() -> None:
    flow = flow_of(lambda: answer(cache_status=CacheStatus(hit=True), outcome=Outcome.STALE))
    async with serving(flow, x_cache_status=True) as served, connected(served.where) as client:
        await client.send(request())

        assert (await client.answer()).first("x-cache-status") == b"STALE"


EMPTY = [
    ("HEAD", 200, lambda: answer(b"abc"), b"3"),
    ("HEAD", 200, lambda: answer(b"", length=17), b"17"),
    ("HEAD", 200, lambda: answer(CannedBody(b"abc", length=3)), b"3"),
    ("HEAD", 200, lambda: answer(CannedBody(b"abc")), None),
    ("GET", 204, lambda: answer(b"abc", status=204, reason=b""), None),
    ("GET", 204, lambda: answer(CannedBody(b"abc"), status=204, reason=b""), None),
    ("GET", 304, lambda: answer(b"abc", status=304, reason=b""), None),
    ("GET", 304, lambda: answer(CannedBody(b"abc", length=3), status=304, reason=b""), None),
]


@pytest.mark.parametrize(("method", "status", "make", "length"), EMPTY)
async def test_no_body_where_none_may_be(
    method: str, status: int, make: object, length: bytes | None
) -> None:
    async with serving(flow_of(make)) as served, connected(served.where) as client:
        await client.send(request(method=method) * 2)
        for _ in range(2):
            given = await client.answer(method)
            assert given.status == status
            assert given.first("content-length") == length
            assert given.first("transfer-encoding") is None

        assert await client.has_silence()


VERSIONS = [
    # version, the client's Connection, body, the answer's Connection, whether the connection goes on
    ("HTTP/1.1", None, "bytes", None, True),
    ("HTTP/1.1", "keep-alive", "bytes", None, True),
    ("HTTP/1.1", "close", "bytes", b"close", False),
    ("HTTP/1.1", "close", "chunked", b"close", False),
    ("HTTP/1.1", None, "chunked", None, True),
    ("HTTP/1.0", None, "bytes", b"close", False),
    ("HTTP/1.0", None, "chunked", b"close", False),
    ("HTTP/1.0", "keep-alive", "bytes", b"keep-alive", True),
    ("HTTP/1.0", "keep-alive", "counted", b"keep-alive", True),
    ("HTTP/1.0", "keep-alive", "chunked", b"close", False),
]


@pytest.mark.parametrize(("version", "connection", "kind", "said", "goes_on"), VERSIONS)
async def test_persistence(
    version: str, connection: str | None, kind: str, said: bytes | None, goes_on: bool
) -> None:
    bodies = {
        "bytes": lambda: b"abcdef",
        "counted": lambda: CannedBody(b"abc", b"def", length=6),
        "chunked": lambda: CannedBody(b"abc", b"def"),
    }
    fields = [f"Connection: {connection}"] if connection else []
    async with serving(flow_of(lambda: answer(bodies[kind]()))) as served, connected(served.where) as client:
        await client.send(request("/", *fields, version=version))
        given = await client.answer()

        assert (given.body, given.first("connection")) == (b"abcdef", said)
        assert (given.first("transfer-encoding") is None) == (kind != "chunked" or version == "HTTP/1.0")
        if not goes_on:
            assert await client.is_closed()
            return
        await client.send(request("/", *fields, version=version))
        assert (await client.answer()).body == b"abcdef"


async def test_an_answer_may_be_the_last_by_its_own_word() -> None:
    async with serving(flow_of(lambda: answer(close=True))) as served, connected(served.where) as client:
        await client.send(request())

        assert (await client.answer()).first("connection") == b"close"
        assert await client.is_closed()


async def test_every_piece_is_sent_as_it_comes() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    flow = flow_of(lambda: answer(CannedBody(b"one", gates[0], b"two", gates[1])))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request())
        assert b"Transfer-Encoding: chunked" in await client.head()
        assert await client.exactly(8) == b"3\r\none\r\n"
        assert await client.has_silence()
        gates[0].set()
        assert await client.exactly(8) == b"3\r\ntwo\r\n"
        assert await client.has_silence()
        gates[1].set()
        assert await client.exactly(5) == b"0\r\n\r\n"


async def test_the_head_does_not_wait_for_the_body() -> None:
    gate = asyncio.Event()
    flow = flow_of(lambda: answer(CannedBody(gate, b"abc", length=3)))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request())

        assert b"Content-Length: 3" in await client.head()
        gate.set()
        assert await client.exactly(3) == b"abc"


BREAKS = [
    lambda: CannedBody(b"abc", BROKEN),
    lambda: CannedBody(BROKEN),
    lambda: CannedBody(b"abc", BROKEN, length=6),
    lambda: CannedBody(b"abc", length=6),
    lambda: CannedBody(length=1),
]


@pytest.mark.parametrize("make", BREAKS)
async def test_a_body_that_breaks_never_looks_complete(make: object) -> None:
    body = make()  # type: ignore[operator]
    async with serving(flow_of(lambda: answer(body))) as served, connected(served.where) as client:
        await client.send(request())
        with pytest.raises((BrokenOff, ConnectionError)):
            await client.answer()
        (record,) = await served.records.until(1)

        assert not record.complete
        assert body.is_abandoned or not body._pieces


async def test_a_body_that_only_the_close_would_end_is_reset_when_it_breaks() -> None:
    flow = flow_of(lambda: answer(CannedBody(b"abc", BROKEN)))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request(version="HTTP/1.0"))

        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_bytes_beyond_the_stated_length_are_never_written() -> None:
    body = CannedBody(b"abc", b"defGHI", b"JKL", length=6)
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {b"/a": answer(body), b"/b": answer(b"next")}
        await client.send(request("/a") + request("/b"))

        assert (await client.answer()).body == b"abcdef"
        assert (await client.answer()).body == b"next"
        assert body.is_abandoned
        assert served.records[0].sent == 6
        assert served.records[0].complete


async def test_expect_continue_is_answered_when_the_body_is_wanted() -> None:
    gate = asyncio.Event()

    async def handler(given: Request) -> Answer:
        await gate.wait()
        return answer(await read_all(given))

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        raw = request("/", "Expect: 100-continue", method="POST", body=b"abc")
        await client.send(raw[:-3])
        assert await client.has_silence()
        gate.set()
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(raw[-3:] + request("/next"))

        assert (await client.answer()).body == b"abc"
        assert (await client.answer()).status == 200


async def test_no_continue_for_a_body_that_is_coming_anyway() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/", "Expect: 100-continue", method="POST", body=b"abc"))

        assert (await client.answer()).body == b"/|abc"


async def test_no_continue_for_a_body_that_nobody_wants() -> None:
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {b"/": answer(status=413, reason=b"")}
        await client.send(request("/", "Expect: 100-continue", "Content-Length: 3", method="POST"))
        given = await client.answer()

        assert (given.status, given.first("connection")) == (413, b"close")
        assert await client.is_closed()


async def test_an_http_10_client_is_never_sent_a_continue() -> None:
    async with serving() as served, connected(served.where) as client:
        raw = request("/", "Expect: 100-continue", method="POST", version="HTTP/1.0", body=b"abc")
        await client.send_cut(raw, len(raw) - 3)

        assert (await client.answer()).body == b"/|abc"


async def test_interim_heads_come_before_the_answer() -> None:
    async def handler(given: Request) -> Answer:
        assert given.on_interim is not None
        await given.on_interim(HINTS)
        await given.on_interim(ResponseHead(102, Fields(), b"Processing"))
        return answer()

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request())

        assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        assert await client.head() == b"HTTP/1.1 102 Processing\r\n\r\n"
        assert (await client.answer()).status == 200


async def test_interim_heads_that_come_too_late_are_dropped() -> None:
    late = []

    async def handler(given: Request) -> Answer:
        late.append(given.on_interim)
        return answer()

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request())
        await client.answer()
        await late[0](HINTS)

        assert await client.has_silence()
        client.reset()
        await settle()
        await late[0](HINTS)


async def test_http_10_clients_get_no_interim_heads() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request(version="HTTP/1.0"))
        await client.answer()

        assert served.flow.requests[0].on_interim is None


async def test_a_slow_body_ends_in_408() -> None:
    async with serving(body_idle=0.05) as served, connected(served.where) as client:
        await client.send(request("/p", "Content-Length: 10", method="POST") + b"abc")
        given = await client.answer()

        assert (given.status, given.first("content-type")) == (408, b"application/problem+json")
        assert given.first("connection") == b"close"
        assert await client.is_closed()
        assert served.metrics.client_timeouts.get("body") == 1
        assert [record.status for record in served.records] == [408]


async def test_a_body_that_drips_in_time_is_taken() -> None:
    async with serving(body_idle=0.2) as served, connected(served.where) as client:
        await client.send(request("/p", "Content-Length: 10", method="POST"))
        for _ in range(10):
            await asyncio.sleep(0.03)
            await client.send(b"x")

        assert (await client.answer()).body == b"/p|" + b"x" * 10


async def test_an_answer_that_came_before_the_body_stopped_stands() -> None:
    failure = OriginFailure(FailureKind.REFUSED)

    async def handler(given: Request) -> Answer:
        with suppress(BodyBroken):  # the origin has answered all the same
            await read_all(given)
        return answer(b"too long", status=413, reason=b"", failure=failure)

    async with serving(body_idle=0.05) as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request("/p", "Content-Length: 10", method="POST"))

        assert (await client.answer()).status == 413


BIG = b"x" * (8 * 1024 * 1024)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BIG,
        lambda: CannedBody(BIG[:4_000_000], BIG),
        lambda: CannedBody(BIG, BIG, length=2 * len(BIG)),
    ],
)
async def test_a_client_that_does_not_read_is_cut_off(make: object) -> None:
    async with serving(write_idle=0.1) as served, connected(served.where, receive_buffer=4096) as client:
        body = make()  # type: ignore[operator]
        served.flow.always(lambda: answer(body))
        await client.send(request())
        (record,) = await served.records.until(1)

        assert not record.complete
        assert served.metrics.client_timeouts.get("write") == 1
        assert not isinstance(body, CannedBody) or body.is_abandoned
        with pytest.raises((BrokenOff, ConnectionError)):
            await client.answer()


async def test_a_client_that_reads_slowly_gets_it_all() -> None:
    async with serving(write_idle=0.1) as served, connected(served.where, receive_buffer=65536) as client:
        served.flow.hits = {b"/big": answer(BIG), b"/small": answer(b"small")}
        await client.send(request("/big") + request("/small"))
        await client.head()
        for _ in range(16):
            await client.exactly(len(BIG) // 16)
            await asyncio.sleep(0.03)

        assert (await client.answer()).body == b"small"
        assert [record.complete for record in await served.records.until(2)] == [True, True]
        assert served.metrics.client_timeouts.get("write") == 0


async def test_a_client_that_does_not_read_holds_up_nobody() -> None:
    async with serving() as served, connected(served.where, receive_buffer=4096) as deaf:
        served.flow.hits = {b"/big": answer(BIG), b"/small": answer(b"small")}
        await deaf.send(request("/big") * 50)
        async with connected(served.where) as client:
            for _ in range(20):
                await client.send(request("/small"))
                assert (await client.answer()).body == b"small"

        assert len(served.records) == 20
        unsent = [connection.output._unsent() for connection in served.listener._connections.open]
        assert 0 < max(unsent) <= len(BIG) + 1000
        deaf.reset()
        await served.records.until(21)


async def test_a_last_answer_that_is_not_taken_does_not_keep_the_connection() -> None:
    """What is below the transport's mark waits in its buffer, and so does its close."""
    async with serving(write_idle=0.1) as served, connected(served.where, receive_buffer=4096) as client:
        served.flow.always(lambda: answer(CannedBody(*[b"x" * 60_000] * 100, length=6_000_000), close=True))
        await client.send(request())
        await served.records.until(1)
        await served.listener._connections.wait_until_none(5)

        assert not served.listener._connections.open


async def test_a_client_that_leaves_abandons_the_answer_but_not_the_fetch() -> None:
    gate, body = asyncio.Event(), CannedBody(b"abc")

    async def handler(_request: Request) -> Answer:
        await gate.wait()
        return answer(body)

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request())
        await settle()
        client.reset()
        await settle()
        assert not served.records
        gate.set()
        (record,) = await served.records.until(1)

        assert (record.sent, record.complete) == (0, False)
        assert body.is_abandoned


@pytest.mark.parametrize("leave", ["reset", "close", "end"])
async def test_a_client_that_leaves_a_stream_without_end_is_noticed_at_once(leave: str) -> None:
    body = CannedBody(b"event", asyncio.Event())
    async with serving(flow_of(lambda: answer(body))) as served, connected(served.where) as client:
        await client.send(request())
        await client.head()
        {"reset": client.reset, "close": client._writer.close, "end": client.send_eof}[leave]()
        (record,) = await served.records.until(1)

        assert (record.sent, record.complete) == (5, False)
        assert body.is_abandoned


async def test_a_client_that_ended_its_side_gets_a_body_of_known_length_whole() -> None:
    gate = asyncio.Event()
    flow = flow_of(lambda: answer(CannedBody(b"abc", gate, b"def", length=6)))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request())
        await client.head()
        client.send_eof()
        await settle()
        gate.set()

        assert await client.rest() == b"abcdef"


async def test_a_crash_costs_one_answer() -> None:
    async def handler(_request: Request) -> Answer:
        raise LookupError("a defect")

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request("/a"))
        given = await client.answer()

        assert (given.status, given.first("connection")) == (500, b"close")
        assert b"defect" not in given.body
        assert [record.status for record in served.records] == [500]


async def test_a_cancelled_fetch_of_others_costs_one_answer() -> None:
    async def handler(_request: Request) -> Answer:
        shared = asyncio.get_running_loop().create_future()
        shared.cancel()
        return await shared  # type: ignore[no-any-return]

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request())

        assert (await client.answer()).status == 500
        assert len(served.records) == 1


async def test_each_answer_is_recorded_once_with_its_bytes() -> None:
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {
            b"/bytes": answer(b"abc"),
            b"/stream": answer(CannedBody(b"ab", b"cd")),
            b"/empty": answer(b"xyz", status=204, reason=b""),
            b"/broken": answer(CannedBody(b"ab", BROKEN)),
        }
        await client.send(b"".join(request(t) for t in ("/bytes", "/stream", "/empty", "/broken")))
        records = await served.records.until(4)

        assert [(record.target, record.sent, record.complete) for record in records] == [
            (b"/bytes", 3, True),
            (b"/stream", 4, True),
            (b"/empty", 0, True),
            (b"/broken", 2, False),
        ]
        assert all(0 <= record.seconds < 10 for record in records)


async def test_nothing_is_logged_of_ordinary_clients(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving() as served, connected(served.where) as client:
            await client.send(request() + b"GARBAGE\r\n\r\n")
            await client.rest()

    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_chunked_both_ways() -> None:
    flow = CannedFlow()

    async def handler(given: Request) -> Answer:
        return answer(CannedBody(*[piece async for piece in pieces(given)]), lines=LINES)

    async def pieces(given: Request):  # type: ignore[no-untyped-def]
        assert given.body is not None
        assert given.body.length is None
        while piece := await given.body.read():
            yield piece

    flow.handler = handler
    body = [bytes([n]) * (n * 211) for n in range(1, 60)]
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/", "Transfer-Encoding: chunked", method="POST", body=chunked(*body)))

        assert (await client.answer()).body == b"".join(body)
