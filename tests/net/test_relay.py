"""Requests that pass, with the relay and without it, in front of the whole engine: the same of everything.

Same bytes to the client and to the origin, metrics, access lines and purges; also where the relay has to hand
the request over to the whole flow, whatever has come by then.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.observe.recorder import Tally
from tests.support.origin_replies import ENDINGS, HANDED_OVER, LENGTH, RELAYED, Reply, reply
from tests.support.raw_client import request
from tests.support.raw_origin import settle
from tests.support.relay_world import assert_equal, relay_world

ON_BOTH_LOOPS = True

GET = request("/off/a")
POST = request("/off/a", "Content-Length: 5", method="POST") + b"hello"


REQUESTS = {
    "get": GET,
    "post": POST,
    "put": request("/off/b?x=%20", "content-length: 5", "Content-Type: text/plain", method="PUT") + b"hello",
    "patch": request("/off/b", "X-Percent: %s%d%%", "Content-Length: 1", method="PATCH") + b"x",
    "addresses": request("/off/a", "X-Forwarded-For: 10.1.2.3, 10.4.5.6", "X-Forwarded-Host: h"),
    "kept alive": request("/off/a", "Connection: keep-alive", "User-Agent:   spaced  "),
    "conditions": request("/off/a", 'If-None-Match: "a"', "If-Modified-Since: now"),
    "cookies": request("/off/a", "Cookie: a=b", "Authorization: Basic x", "Cache-Control: no-cache"),
    "unsafe, of what is kept": request("/kept/a", "Content-Length: 5", method="POST") + b"hello",
    "unsafe, kept elsewhere": request("/off/a", "Content-Length: 5", method="DELETE") + b"hello",
    "head": request("/off/a", method="HEAD"),
}


@pytest.mark.parametrize("given", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("x_cache_status", [False, True])
async def test_every_plain_request_that_passes_is_told_alike(given: bytes, x_cache_status: bool) -> None:
    answer = reply(LENGTH, b"Server: s")
    looked = await assert_equal([given] * 4, [answer], x_cache_status=x_cache_status)

    is_others = given in (REQUESTS["head"], REQUESTS["unsafe, of what is kept"])
    # The first opens the connection, and with its answer the form is learned.
    assert looked.answered == [answer] * (0 if is_others else 3)
    assert not looked.handed_over


async def test_the_answer_to_a_head_is_the_whole_flows_though_it_has_no_body() -> None:
    assert not (await assert_equal([REQUESTS["head"]] * 3, [reply(body=b"")])).answered


@pytest.mark.parametrize("answer", RELAYED.values(), ids=RELAYED)
@pytest.mark.parametrize("given", [GET, POST], ids=["get", "post"])
async def test_whole_answers_of_a_form_that_is_known_are_relayed(given: bytes, answer: bytes) -> None:
    assert (await assert_equal([given] * 3, [answer])).answered == [answer, answer]


@pytest.mark.parametrize("answer", HANDED_OVER.values(), ids=HANDED_OVER)
@pytest.mark.parametrize("given", [GET, POST], ids=["get", "post"])
async def test_other_answers_are_the_whole_flows(given: bytes, answer: bytes) -> None:
    # In turns with one that keeps the connection open: so relayed requests meet it, also when its names have
    # been learned.
    looked = await assert_equal([given] * 6, [reply()], [answer])

    assert looked.handed_over
    assert set(looked.answered) <= {reply()}


@pytest.mark.parametrize("answer", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("given", [GET, POST], ids=["get", "post"])
async def test_an_origin_that_ends_is_met_alike(given: bytes, answer: Reply) -> None:
    await assert_equal([given] * 6, [reply()], answer)


@pytest.mark.parametrize(
    "line", [b"Location: /kept/a", b"Content-Location: /kept/a", b'Cache-Group-Invalidation: "a"']
)
async def test_what_an_unsafe_request_makes_untrue_is_purged_alike(line: bytes) -> None:
    answer = reply(LENGTH, line)

    assert not (await assert_equal([POST] * 3, [answer])).answered
    assert (await assert_equal([GET] * 3, [answer])).answered == [answer, answer]


@pytest.mark.parametrize("given", [GET, POST], ids=["get", "post"])
async def test_an_answer_cut_anywhere_is_the_same_answer(given: bytes) -> None:
    whole = reply()
    for place in range(1, len(whole)):
        looked = await assert_equal([given] * 3, [whole], [whole[:place], whole[place:]])
        assert (looked.answered, looked.handed_over) == ([whole], [whole[:place]])


@pytest.mark.parametrize(
    "sections",
    [
        {"forwarded": {"for": "set", "host": "pass", "proto": "pass", "via": False}},
        {"forwarded": {"for": "pass"}},
        {"origin": {"host": "fixed.example"}},
    ],
)
async def test_what_the_origin_is_told_of_its_clients_is_the_same(sections: dict[str, Any]) -> None:
    given = REQUESTS["addresses"]

    assert len((await assert_equal([given, given, POST], [reply()], **sections)).answered) == 2


async def test_what_a_reload_changes_is_heeded_at_once() -> None:
    async with relay_world([reply()]) as (made, _):
        for _ in range(2):
            await made.send(GET)
            await made.quiet()
        assert b"X-Cache-Status" not in made.client.received
        assert made.client.received.count(b"Via: 1.1 sidecache") == 2
        made.reload(x_cache_status=True, forwarded=made.config.forwarded.model_copy(update={"via": False}))
        await made.send(GET)
        await made.quiet()

        assert made.client.received.count(b"X-Cache-Status: BYPASS\r\n") == 1
        assert made.client.received.count(b"Via: 1.1 sidecache") == 2


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_what_a_reload_caches_is_purged_by_what_was_under_way(is_relayed: bool) -> None:
    async with relay_world([reply()], is_relayed=is_relayed) as (made, origin):
        await made.send(GET)
        await made.quiet()
        origin.connections[0].stop_reading()
        await made.send(POST)
        assert made.relayed == is_relayed
        made.reload(routes=tuple(route.model_copy(update={"cache": True}) for route in made.config.routes))
        origin.connections[0].read_on()
        await made.quiet()

        assert made.log.purged


async def test_reasons_fill_no_memory() -> None:
    long = [[reply(status=b"HTTP/1.1 200 " + b"%d" % n * 5000)] for n in range(3)]
    async with relay_world([reply()], *long) as (made, _):
        for _ in range(8):
            await made.send(GET)
            await made.quiet()

        assert {reason for _, reason, *_ in made.listener._relay.forms.known.keys()} == {b"OK"}  # noqa: SIM118 - no mapping


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_a_crash_behind_the_answer_ends_its_connection_only(
    is_relayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relay_world([reply()], is_relayed=is_relayed) as (made, _):
        await made.send(GET)
        await made.quiet()
        monkeypatch.setattr(Tally, "count", lambda *_: 1 / 0)
        await made.send(GET)
        await made.quiet()

        assert made.client.received.count(b"hello") == 2
        assert made.client.has_ended
        assert made.origin._pool.idle == 1


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_a_client_that_takes_nothing_is_told_of_alike(is_relayed: bool) -> None:
    answer, patience = reply(body=b"x" * 30_000), {"write_idle": "0.3s"}
    async with relay_world([answer], is_relayed=is_relayed, limits=patience) as (made, _):
        await made.send(GET)
        await made.quiet()
        (connection,) = made.listener._connections.open
        made.client.transport.pause_reading()
        while not connection.output.is_full:
            await made.send(GET)
            await settle()
        await made.quiet()

        assert made.lines.written[-1][-2:] == (0, False)
        assert made.metrics.client_timeouts.get("write") == 1


async def test_bytes_that_nobody_asked_for_end_the_connection_and_reach_nobody() -> None:
    async with relay_world([reply()]) as (made, origin):
        for _ in range(2):
            await made.send(GET)
            await made.quiet()
        await origin.connections[0].send(reply(body=b"other"))
        await made.send(GET)
        await made.quiet()

        assert made.client.received.count(b"hello") == 3
        assert b"other" not in made.client.received
        assert made.metrics.origin_connections_closed.get("idle-data") == 1


NAMES = st.sampled_from(
    [b"Server", b"X-A", b"Via", b"Cache-Tag", b"Connection", b"Content-Length", b"Date", b"date"]
)
VALUES = st.sampled_from(
    [b"", b"a", b"5", b"keep-alive", b"close", b" x ", b"%s", b"Thu, 01 Jan 1970 00:00:01 GMT"]
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 None", b"HTTP/1.1 301 Moved"]),
    st.sampled_from([GET, POST]),
)
def test_any_head_is_met_alike(lines: list[tuple[bytes, bytes]], status: bytes, given: bytes) -> None:
    answer = b"\r\n".join(
        (status, *(b"%b: %b" % line for line in (*lines, (b"Content-Length", b"5"))), b"", b"hello")
    )

    asyncio.run(assert_equal([given] * 6, [reply()], [answer]))


async def test_a_silent_origin_is_waited_for_as_long_and_no_longer() -> None:
    async with relay_world([reply()], origin={"response_timeout": "0.05s"}) as (made, origin):
        await made.send(GET)
        await made.quiet()
        origin.connections[0].stop_reading()
        await made.send(GET)
        assert made.relayed == 1
        await asyncio.sleep(0.1)
        await made.quiet()

        assert b"HTTP/1.1 504 Gateway Timeout\r\n" in made.client.received
        assert made.metrics.origin_requests.get("off", "response-timeout") == 1


async def test_a_client_that_leaves_costs_nothing() -> None:
    async with relay_world([reply()]) as (made, origin):
        await made.send(GET)
        await made.quiet()
        origin.connections[0].stop_reading()
        await made.send(GET)
        made.client.reset()
        await settle()
        assert made.relayed == 1
        origin.connections[0].read_on()
        await made.quiet()

        assert [line[-2:] for line in made.lines.written] == [(5, True), (0, False)]
        assert made.origin._pool.idle == 1


async def test_what_is_under_way_when_draining_begins_is_the_last_of_its_connection() -> None:
    async with relay_world([reply()]) as (made, origin):
        await made.send(GET)
        await made.quiet()
        origin.connections[0].stop_reading()
        await made.send(GET)
        made.listener.drain()
        origin.connections[0].read_on()
        await made.quiet()

        assert made.client.received.count(b"hello") == 2
        assert made.client.received.count(b"Connection: close") == 1
        assert made.client.has_ended


async def test_the_end_does_not_wait_for_ever() -> None:
    async with relay_world([reply()]) as (made, origin):
        await made.send(GET)
        await made.quiet()
        origin.connections[0].stop_reading()
        await made.send(GET)
        await made.listener.finish(0.01)

        assert not made.relayed
        assert made.origin._admission.in_flight == 0


async def test_a_slow_answer_is_told_by_the_whole_flow() -> None:
    async with relay_world([reply()]) as (made, origin):
        await made.send(GET)
        await made.quiet()
        origin.connections[0].stop_reading()
        await made.send(GET)
        made.monotonic.step(3600.0)
        origin.connections[0].read_on()
        await made.quiet()

        assert made.metrics.origin_slow.get("off") == 1
        assert made.metrics.origin_requests.get("off", "2xx") == 2


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with relay_world([reply()]) as (made, _):
        await made.send(GET)
        await made.quiet()
        await made.send(GET)
        await made.send(GET + POST)
        await made.quiet()

        assert made.client.received.count(b"HTTP/1.1 200 OK") == 4
        assert made.client.received.count(b"hello") == 4
