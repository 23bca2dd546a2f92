"""Sockets, limits, draining and the end: on real sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import http_parser

from proxy.config.schema import Address, Config
from proxy.model import Answer, Request
from proxy.net.listener import Listener, ParserMissing, require_c_parser
from proxy.observe.metrics import Metrics
from tests.support.canned_flow import CannedBody, CannedFlow, Records, Served, answer, serving
from tests.support.origin_clients import unasked_origin
from tests.support.raw_client import connect, connected, request, settle

ON_BOTH_LOOPS = True
PAUSE_SECONDS = 1.2
"""Longer than idle connections once lived when draining; no shorter pause could show that they live."""


def gauge(served: Served) -> float:
    return served.metrics.gauges["client_connections"]()[()]


async def test_serves_on_a_unix_socket(tmp_path: Path) -> None:
    async with serving(unix=tmp_path / "data.sock") as served, connected(served.where) as client:
        await client.send(request("/a") + b"GARBAGE\r\n\r\n")

        assert (await client.answer()).body == b"/a|"
        assert (await client.answer()).status == 400
        assert await client.is_closed()
        assert served.flow.requests[0].peer == ""


async def test_says_where_it_listens() -> None:
    listener = listener_of(CannedFlow())
    (bound,) = await listener.start(Address("127.0.0.1", 0))

    assert bound.host == "127.0.0.1"
    assert bound.port > 0
    await listener.finish(0)


def listener_of(flow: CannedFlow) -> Listener:
    config = Config.model_validate({"origin": {"url": "http://127.0.0.1:1"}})
    metrics = Metrics()
    return Listener(flow, config, metrics, Records().record, unasked_origin(config, metrics))


async def test_it_accepts_on_sockets_that_it_is_given_and_closes_them() -> None:
    listener = listener_of(CannedFlow())
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        where = [bound.getsockname() for bound in (one, other)]
        await listener.start_on([one.dup(), other.dup()])
        for at in where:
            async with connected(at) as client:
                await client.send(request("/"))
                assert (await client.answer()).status == 200
        await listener.finish(0)


async def test_a_port_in_use_is_an_error() -> None:
    async with serving() as served:
        with pytest.raises(OSError, match="address already in use"):
            await listener_of(CannedFlow()).start(Address(*served.where))  # type: ignore[misc]


def test_the_python_parser_is_not_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    require_c_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)

    with pytest.raises(ParserMissing, match="AIOHTTP_NO_EXTENSIONS"):
        require_c_parser()


async def test_connections_above_the_limit_are_told_so() -> None:
    async with serving(connections=2) as served:
        async with connected(served.where) as first, connected(served.where) as second:
            await first.send(request())
            await first.answer()
            await second.send(request())
            await second.answer()
            assert gauge(served) == 2
            async with connected(served.where) as third:
                given = await third.answer()

                assert (given.status, given.first("retry-after")) == (503, b"1")
                assert given.first("connection") == b"close"
                assert await third.is_closed()
            await first.send(request())
            assert (await first.answer()).status == 200

        await until_connections(served, 0)
        async with connected(served.where) as fourth:
            await fourth.send(request())
            assert (await fourth.answer()).status == 200
    assert served.metrics.connections_refused.get() == 1


async def until_connections(served: Served, count: int) -> None:
    async with asyncio.timeout(5):
        while gauge(served) != count:  # noqa: ASYNC110 - a gauge has no event
            await asyncio.sleep(0.001)


async def test_the_limit_holds_for_connections_that_come_at_once() -> None:
    async with serving(connections=3) as served:
        clients = await asyncio.gather(*(connect(served.where) for _ in range(10)))
        accepted = [client for client in clients if await client.has_silence()]
        for client in accepted:
            await client.send(request())
        statuses = [(await client.answer()).status for client in clients]
        for client in clients:
            await client.close()

        assert len(accepted) == 3
        assert sorted(statuses) == [200] * 3 + [503] * 7


async def test_draining_makes_every_answer_the_last_and_still_accepts() -> None:
    async with serving() as served, connected(served.where) as old:
        await old.send(request())
        assert (await old.answer()).first("connection") is None
        served.listener.drain()
        assert served.listener.is_draining
        await old.send(request("/old"))
        given = await old.answer()

        assert (given.body, given.first("connection")) == (b"/old|", b"close")
        assert await old.is_closed()
        async with connected(served.where) as new:
            await new.send(request("/new"))
            given = await new.answer()
            assert (given.body, given.first("connection")) == (b"/new|", b"close")
            assert await new.is_closed()


async def test_draining_ends_with_the_next_answer_also_when_more_is_pipelined() -> None:
    gate = asyncio.Event()

    async def handler(_request: Request) -> Answer:
        await gate.wait()
        return answer()

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request() * 3)
        await settle()
        served.listener.drain()
        gate.set()

        assert (await client.answer()).first("connection") == b"close"
        assert await client.is_closed()


async def test_draining_leaves_idle_connections_to_their_next_answer() -> None:
    async with serving() as served, connected(served.where) as used, connected(served.where) as fresh:
        await used.send(request())
        await used.answer()
        served.listener.drain()
        await asyncio.sleep(PAUSE_SECONDS)
        for client in (used, fresh):
            assert await client.has_silence()
            await client.send(request())

        assert (await used.answer()).first("connection") == b"close"
        assert (await fresh.answer()).first("connection") == b"close"


async def test_finish_closes_what_is_idle() -> None:
    async with serving() as served, connected(served.where) as used, connected(served.where) as fresh:
        await used.send(request())
        await used.answer()
        served.listener.drain()
        await served.listener.finish(10)

        assert await used.is_closed()
        assert await fresh.is_closed()


async def test_draining_does_not_cut_off_what_is_under_way() -> None:
    gate = asyncio.Event()
    flow = CannedFlow()
    flow.always(lambda: answer(CannedBody(b"abc", gate, b"def")))
    async with serving(flow) as served, connected(served.where) as busy, connected(served.where) as slow:
        await busy.send(request())
        await slow.send(b"GET / HT")
        await settle()
        served.listener.drain()
        gate.set()
        await slow.send(b"TP/1.1\r\nHost: a\r\n\r\n")

        assert (await busy.answer()).body == b"abcdef"
        assert (await slow.answer()).body == b"abcdef"


async def test_a_drain_can_be_undone() -> None:
    async with serving() as served, connected(served.where) as client:
        served.listener.drain()
        served.listener.undo_drain()
        await client.send(request())

        assert (await client.answer()).first("connection") is None


async def test_nothing_is_accepted_after_stop_but_connections_live_on() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request())
        await client.answer()
        served.listener.stop_accepting()
        await settle()
        with pytest.raises(ConnectionRefusedError):
            await connect(served.where)
        await client.send(request("/b"))

        assert (await client.answer()).body == b"/b|"


async def test_finish_waits_for_what_is_under_way() -> None:
    gate = asyncio.Event()

    async def handler(_request: Request) -> Answer:
        await gate.wait()
        return answer(b"done")

    async with serving() as served, connected(served.where) as idle, connected(served.where) as busy:
        served.flow.handler = handler
        await busy.send(request())
        await settle()
        finishing = asyncio.ensure_future(served.listener.finish(5))  # noqa: TID251
        assert await idle.is_closed()
        assert not finishing.done()
        gate.set()
        given = await busy.answer()

        assert (given.body, given.first("connection")) == (b"done", b"close")
        await finishing
        assert await busy.is_closed()


async def test_finish_cuts_off_what_takes_too_long() -> None:
    never, body = asyncio.Event(), CannedBody(b"abc", asyncio.Event())

    async def handler(given: Request) -> Answer:
        if given.target == b"/stream":
            return answer(body)
        await never.wait()
        return answer()

    async with serving() as served, connected(served.where) as waiting, connected(served.where) as streaming:
        served.flow.handler = handler
        await waiting.send(request("/wait"))
        await streaming.send(request("/stream"))
        await streaming.head()
        await served.listener.finish(0.05)

        assert await waiting.is_closed()
        assert body.is_abandoned
        assert not served.listener._connections.open
        assert not served.listener._service.under_way
        assert "accepting" not in repr(served.listener)


async def test_finish_ends_requests_whose_clients_have_left() -> None:
    async def handler(_request: Request) -> Answer:
        await asyncio.Event().wait()
        return answer()

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request())
        await settle()
        client.reset()
        await until_connections(served, 0)
        assert len(served.listener._service.under_way) == 1
        await served.listener.finish(0)

        assert not served.listener._service.under_way
