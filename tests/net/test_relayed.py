"""Misses, stored in the step that reads the answer and otherwise, in front of the whole engine: the same of
everything, also of what is kept in L1 and L2, and where the whole flow has to go on with them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine.fetching import Fetcher
from tests.support.engine_fakes import FakeL2, FakeLeases
from tests.support.origin_replies import ENDINGS, HANDED_OVER, LENGTH, RELAYED, Reply, reply
from tests.support.raw_client import request
from tests.support.raw_origin import settle
from tests.support.relay_world import World, assert_equal, relay_world
from tests.support.responses import date

ON_BOTH_LOOPS = True

FIRST = request("/kept/first")
"""Opens the connection; with its answer the form is learned."""
NEW = [request(f"/kept/{number}") for number in range(8)]
KEPT = reply(LENGTH, b"Server: s")
IN_FLEET = pytest.mark.parametrize("has_l2", [False, True], ids=["alone", "fleet"])

STORED = {
    "plain": KEPT,
    "the origin's own lifetime": reply(LENGTH, b"Cache-Control: max-age=60, stale-if-error=5"),
    "validators": reply(LENGTH, b'ETag: "a"', b"Last-Modified: " + date(-9)),
    "tags": reply(LENGTH, b"Surrogate-Key: a b", b"Cache-Tag: c", b'Cache-Groups: "g"'),
    "varies": reply(LENGTH, b"Vary: X-Version"),
    "an age": reply(LENGTH, b"Age: 7", b"Cache-Control: max-age=60"),
    "moved": reply(LENGTH, b"Location: /b", b"Cache-Control: max-age=9", status=b"HTTP/1.1 301 Moved"),
    "of another cache": reply(LENGTH, b"Via: 1.1 a", b'Cache-Status: other; hit; detail="%"'),
    "an expired error": reply(LENGTH, b"Cache-Control: max-age=60", status=b"HTTP/1.1 404 Not Found"),
    "bytes": reply(LENGTH, b"X-A: caf\xe9\xff", b"X-Empty:", b"X-Percent: %s%d"),
    "empty": reply(body=b""),
}
UNSTORED = {
    "no store": reply(LENGTH, b"Cache-Control: no-store"),
    "private": reply(LENGTH, b"Cache-Control: private"),
    "cookies": reply(LENGTH, b"Set-Cookie: a=1"),
    "varies by everything": reply(LENGTH, b"Vary: *"),
    "no lifetime": reply(LENGTH, status=b"HTTP/1.1 404 Not Found"),
    "an error": reply(LENGTH, status=b"HTTP/1.1 503 Busy"),
    "not modified": reply(LENGTH, status=b"HTTP/1.1 304 Not Modified", body=b""),
    "a part": reply(LENGTH, b"Content-Range: bytes 0-4/9", status=b"HTTP/1.1 206 Partial Content"),
    "events": reply(LENGTH, b"Content-Type: text/event-stream"),
    "large tag": reply(LENGTH, b"Cache-Tag: " + b"x" * 2000),
}


@IN_FLEET
@pytest.mark.parametrize("answer", STORED.values(), ids=STORED)
async def test_what_is_stored_is_answered_in_one_step(answer: bytes, has_l2: bool) -> None:
    looked = await assert_equal([FIRST, *NEW[:3], NEW[0]], [answer], has_l2=has_l2)

    assert looked.answered == [answer] * 3
    assert not looked.handed_over


@IN_FLEET
@pytest.mark.parametrize("answer", UNSTORED.values(), ids=UNSTORED)
async def test_what_is_not_stored_is_the_whole_flows(answer: bytes, has_l2: bool) -> None:
    # Twice, as what was not stored is remembered for a while.
    looked = await assert_equal([FIRST, *NEW[:3], NEW[0]], [KEPT], [answer], has_l2=has_l2)

    assert answer in looked.handed_over
    assert answer not in looked.answered


@IN_FLEET
@pytest.mark.parametrize("answer", HANDED_OVER.values(), ids=HANDED_OVER)
async def test_other_answers_are_the_whole_flows(answer: bytes, has_l2: bool) -> None:
    looked = await assert_equal([FIRST, *NEW[:5]], [KEPT], [answer], has_l2=has_l2)

    assert looked.handed_over


@pytest.mark.parametrize("answer", RELAYED.values(), ids=RELAYED)
async def test_every_whole_answer_is_met_alike(answer: bytes) -> None:
    await assert_equal([FIRST, *NEW[:5]], [KEPT], [answer])


@IN_FLEET
@pytest.mark.parametrize("answer", ENDINGS.values(), ids=ENDINGS)
async def test_an_origin_that_ends_is_met_alike(answer: Reply, has_l2: bool) -> None:
    await assert_equal([FIRST, *NEW[:5]], [KEPT], answer, has_l2=has_l2)


async def test_an_answer_cut_anywhere_is_the_same_answer() -> None:
    for place in range(1, len(KEPT)):
        looked = await assert_equal([FIRST, *NEW[:2]], [KEPT], [KEPT[:place], KEPT[place:]])
        assert (looked.answered, looked.handed_over) == ([KEPT], [KEPT[:place]])


ASKED_OTHERWISE = {
    "no-cache": request("/kept/a", "Cache-Control: no-cache"),
    "only if cached": request("/kept/a", "Cache-Control: only-if-cached"),
    "somebody's": request("/kept/a", "Authorization: Basic x"),
    "with cookies": request("/kept/a", "Cookie: a=b"),
    "conditions": request("/kept/a", 'If-None-Match: "a"'),
    "a range": request("/kept/a", "Range: bytes=0-1"),
    "head": request("/kept/a", method="HEAD"),
    "unsafe": request("/kept/a", "Content-Length: 5", method="POST") + b"hello",
    "not shared": request("/alone/a"),
}
ASKED = {
    "query": request("/kept/a?x=%20&y"),
    "addresses": request("/kept/a", "X-Forwarded-For: 10.1.2.3, 10.4.5.6", "X-Forwarded-Host: h"),
    "variant": request("/kept/a", "X-Version: 1", "Accept-Language: de"),
    "keyed": request("/keyed/a?utm=1&id=2", "X-Who: me"),
}


@IN_FLEET
@pytest.mark.parametrize("asked", ASKED_OTHERWISE.values(), ids=ASKED_OTHERWISE)
async def test_who_asks_for_more_is_served_by_the_whole_flow(asked: bytes, has_l2: bool) -> None:
    looked = await assert_equal([FIRST, asked, asked], [KEPT], has_l2=has_l2)

    assert not looked.answered


@IN_FLEET
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("x_cache_status", [False, True])
async def test_every_plain_miss_is_told_alike(asked: bytes, x_cache_status: bool, has_l2: bool) -> None:
    answer = STORED["varies"]
    looked = await assert_equal([FIRST, asked], [answer], has_l2=has_l2, x_cache_status=x_cache_status)

    assert looked.answered == [answer]


NAMES = st.sampled_from(
    [
        b"Cache-Control",
        b"Age",
        b"Date",
        b"Expires",
        b"ETag",
        b"Vary",
        b"Set-Cookie",
        b"Content-Length",
        b"Via",
    ]
)
VALUES = st.sampled_from(
    [b"", b"5", b'"a"', b"max-age=9", b"private", b"X-A", date(), date(-5), date(60), b"s-maxage=1"]
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404 None", b"HTTP/1.1 301 Moved", b"HTTP/1.1 500 No"]),
)
def test_any_head_is_met_alike(lines: list[tuple[bytes, bytes]], status: bytes) -> None:
    answer = b"\r\n".join(
        (status, *(b"%b: %b" % line for line in (*lines, (b"Content-Length", b"5"))), b"", b"hello")
    )

    asyncio.run(assert_equal([FIRST, *NEW[:5]], [reply()], [answer]))


async def _under_way(made: World, origin: Any, asked: bytes) -> None:
    """Sent, with an origin that is silent."""
    await made.send(FIRST)
    await made.quiet()
    origin.connections[0].stop_reading()
    await made.send(asked)


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_others_share_what_is_under_way(is_relayed: bool) -> None:
    async with relay_world([KEPT], is_relayed=is_relayed) as (made, origin):
        await _under_way(made, origin, NEW[0])
        other = await made.another()
        other.transport.write(NEW[0])
        await settle()
        origin.connections[0].read_on()
        await made.quiet()

        assert other.received.count(b"hello") == 1
        assert b"collapsed" in other.received
        assert made.client.received.count(b"hello") == 2
        assert origin.connections[0].received.count(b"GET /kept/0 ") == 1


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_what_comes_behind_it_waits_for_its_turn(is_relayed: bool) -> None:
    async with relay_world([KEPT], is_relayed=is_relayed) as (made, origin):
        await _under_way(made, origin, NEW[0])
        await made.send(FIRST)  # a hit
        assert made.client.received.count(b"hello") == 1
        origin.connections[0].read_on()
        await made.quiet()

        assert made.client.received.count(b"hello") == 3
        assert made.client.received.rindex(b"fwd=uri-miss") < made.client.received.rindex(b"; hit")


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_how_long_the_origin_took_counts_for_the_age(is_relayed: bool) -> None:
    answer = reply(LENGTH, b"Age: 1", b"Cache-Control: max-age=60")
    async with relay_world([answer], is_relayed=is_relayed) as (made, origin):
        await _under_way(made, origin, NEW[0])
        made.clock.step(5)
        origin.connections[0].read_on()
        await made.quiet()

        assert made.client.received.count(b"Age: 6\r\n") == 1
        assert {entry.fetch_seconds for entry in made.kept_in_l1.values()} == {0, 5}  # type: ignore[union-attr]


async def test_others_share_what_was_handed_over() -> None:
    async with relay_world([KEPT], [KEPT[:40], KEPT[40:]]) as (made, origin):
        await _under_way(made, origin, NEW[0])
        other = await made.another()
        other.transport.write(NEW[0])
        await settle()
        origin.connections[0].read_on()
        await made.quiet()

        assert b"collapsed" in other.received
        assert made.client.received.count(b"hello") == 2
        assert origin.connections[0].received.count(b"GET /kept/0 ") == 1


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_a_purge_while_it_is_under_way_lets_nothing_be_kept(is_relayed: bool) -> None:
    async with relay_world([KEPT], is_relayed=is_relayed) as (made, origin):
        await _under_way(made, origin, NEW[0])
        made.log.purge()
        origin.connections[0].read_on()
        await made.quiet()

        assert len(made.kept_in_l1) == 1
        assert made.metrics.not_stored.get("kept", "invalidated") == 1
        assert made.client.received.count(b"hello") == 2


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_who_leaves_takes_nothing_along(is_relayed: bool) -> None:
    async with relay_world([KEPT], is_relayed=is_relayed) as (made, origin):
        await _under_way(made, origin, NEW[0])
        made.client.reset()
        await settle()
        origin.connections[0].read_on()
        await made.quiet()

        assert len(made.kept_in_l1) == 2
        assert made.lines.written[-1][-2:] == (0, False)


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_what_is_under_way_over_a_reload_is_kept_as_it_was_asked(is_relayed: bool) -> None:
    async with relay_world([KEPT], is_relayed=is_relayed) as (made, origin):
        await _under_way(made, origin, NEW[0])
        assert made.relayed == is_relayed
        made.reload(routes=tuple(route.model_copy(update={"ttl": 5.0}) for route in made.config.routes))
        assert not made.relayed
        origin.connections[0].read_on()
        await made.quiet()

        assert made.client.received.count(b"hello") == 2
        assert {entry.lifetime for entry in made.kept_in_l1.values()} == {3600.0}  # type: ignore[union-attr]


async def test_what_is_under_way_when_draining_begins_is_the_last_of_its_connection() -> None:
    async with relay_world([KEPT]) as (made, origin):
        await _under_way(made, origin, NEW[0])
        made.listener.drain()
        origin.connections[0].read_on()
        await made.quiet()

        assert made.client.received.count(b"hello") == 2
        assert made.client.received.count(b"Connection: close") == 1
        assert len(made.kept_in_l1) == 2


async def test_a_silent_origin_is_waited_for_as_long_and_no_longer() -> None:
    async with relay_world([KEPT], origin={"response_timeout": "0.05s"}) as (made, origin):
        await _under_way(made, origin, NEW[0])
        assert made.relayed == 1
        await asyncio.sleep(0.1)
        await made.quiet()

        assert b"HTTP/1.1 504 Gateway Timeout\r\n" in made.client.received


async def test_a_slow_answer_is_told_by_the_whole_flow() -> None:
    async with relay_world([KEPT]) as (made, origin):
        await _under_way(made, origin, NEW[0])
        made.monotonic.step(3600.0)
        origin.connections[0].read_on()
        await made.quiet()

        assert made.metrics.origin_slow.get("kept") == 1
        assert len(made.kept_in_l1) == 2


@IN_FLEET
async def test_a_crash_while_it_is_stored_costs_one_answer(
    has_l2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    l2 = FakeL2() if has_l2 else None
    leases = FakeLeases(l2) if has_l2 else None
    async with relay_world([KEPT], l2=l2, leases=leases) as (made, _):
        await made.send(FIRST)
        await made.quiet()
        with monkeypatch.context() as broken:
            broken.setattr(Fetcher, "plan", lambda *_: 1 / 0)
            await made.send(NEW[0])
            await made.quiet()
        assert b"HTTP/1.1 503 " in made.client.received
        await made.send(NEW[0])
        await made.quiet()

        assert made.client.received.count(b"hello") == 2
        assert leases is None or not leases.holders


async def test_without_a_free_connection_the_whole_flow_waits_for_one() -> None:
    async with relay_world([KEPT], origin={"max_in_flight": 1}) as (made, origin):
        await _under_way(made, origin, NEW[0])
        other = await made.another()
        other.transport.write(NEW[1])
        await settle()
        assert made.relayed == 1
        origin.connections[0].read_on()
        await made.quiet()

        assert other.received.count(b"hello") == 1
        assert len(made.kept_in_l1) == 3


@pytest.mark.parametrize("is_relayed", [True, False])
async def test_what_another_replica_fetches_is_waited_for(is_relayed: bool) -> None:
    l2, leases = FakeL2(), FakeLeases()
    async with relay_world([KEPT], is_relayed=is_relayed, l2=l2, leases=leases) as (made, _):
        await made.send(FIRST)
        await made.quiet()
        (key,) = l2.entries
        leases.holders.add(key)
        made.memory.clear()
        entry = l2.entries.pop(key)
        await made.send(FIRST)
        l2.entries[key] = entry
        await made.quiet()

        assert made.metrics.leases.get("kept", "shared") == 1
        assert made.metrics.origin_requests.get("kept", "2xx") == 1
        assert made.client.received.count(b"hello") == 2
        assert leases.holders == {key}


@pytest.mark.parametrize("is_relayed", [True, False])
@pytest.mark.parametrize("trouble", ["down", "lone", "unsynced"])
async def test_without_a_lease_it_is_fetched_alone(trouble: str, is_relayed: bool) -> None:
    l2, leases = FakeL2(), FakeLeases()
    async with relay_world([KEPT], is_relayed=is_relayed, l2=l2, leases=leases) as (made, _):
        await made.send(FIRST)
        await made.quiet()
        (key,) = l2.entries
        leases.is_down = trouble == "down"
        made.log.is_synced = trouble != "unsynced"
        if trouble == "lone":
            leases.lone[key] = 1.0
        made.memory.clear()
        l2.entries.clear()
        await made.send(FIRST)
        await made.quiet()

        word = "lone" if trouble == "lone" else "unavailable"
        assert made.metrics.leases.get("kept", word) == 1
        assert made.client.received.count(b"hello") == 2


async def test_what_is_purged_while_the_lease_is_asked_for_is_no_news_to_the_fetch() -> None:
    l2, leases = FakeL2(), FakeLeases()
    async with relay_world([KEPT], l2=l2, leases=leases) as (made, _):
        await made.send(FIRST)
        await made.quiet()
        claim = leases.claim

        async def purged_meanwhile(key: bytes, entry_key: bytes) -> Any:
            made.log.purge()
            return await claim(key, entry_key)

        leases.claim = purged_meanwhile  # type: ignore[method-assign]
        await made.send(NEW[0])
        await made.quiet()

        assert len(made.kept_in_l1) == 2
        assert not made.metrics.not_stored.values
