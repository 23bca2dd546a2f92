"""Random worlds, each told twice, with the relay and without: requests of all kinds on routes of all kinds,
with purges, reloads and troubles between them. All that can be seen must be the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.engine_fakes import FakeL2, FakeLeases
from tests.support.origin_replies import LENGTH, Reply, reply
from tests.support.raw_client import request
from tests.support.relay_world import NOTHING, Looked, Outside, World, assert_equal, relay_world
from tests.support.responses import date

WORLDS = 240
ROUTES: list[dict[str, Any]] = [
    {
        "name": "kept",
        "match": {"path": "/kept/**"},
        "ttl": "4s",
        "l1_ttl": "3s",
        "stale_if_error": "20s",
        "stale_while_revalidate": "3s",
        "negative": {"404": "3s", "errors": {"503": "2s"}},
        "tags": ["a"],
        "jitter": 0.3,
    },
    {"name": "early", "match": {"path": "/early/**"}, "ttl": "4s", "early_refresh": True},
    {"name": "alone", "match": {"path": "/alone/**"}, "ttl": "4s", "coalesce": {"scope": "process"}},
    {"name": "off", "match": {"path": "/off/**"}, "ttl": "4s", "coalesce": {"scope": "off"}},
    {
        "name": "small",
        "match": {"path": "/small/**"},
        "ttl": "4s",
        "max_body": 4,
        "coalesce": {"scope": "fleet"},
    },
    {"name": "none", "match": {"path": "/none/**"}},
]
PATHS = ["kept", "kept", "kept", "early", "alone", "off", "small", "none"]
KEPT = reply(LENGTH, b"Server: s")
REPLIES: list[Reply] = [
    *[[KEPT]] * 8,
    [KEPT[:30], KEPT[30:]],
    [KEPT[:-2], "eof"],
    [KEPT, "eof"],
    ["eof"],
    ["reset"],
    [reply(LENGTH, b"Vary: X-Version")],
    [reply(LENGTH, b"Vary: X-Version, Accept-Encoding")],
    [reply(LENGTH, b"Cache-Control: no-store")],
    [reply(LENGTH, b"Cache-Control: max-age=1", b'ETag: "a"')],
    [reply(LENGTH, b"Cache-Control: max-age=3", b'ETag: "b"')],
    [reply(LENGTH, b"Cache-Control: no-cache", b'ETag: "a"')],
    [reply(LENGTH, b"Age: 2", b"Cache-Control: max-age=3")],
    [reply(LENGTH, b"Last-Modified: " + date(-90))],
    [reply(LENGTH, b"Expires: " + date(5))],
    [reply(LENGTH, b"Set-Cookie: a=1")],
    [reply(b'ETag: "a"', status=b"HTTP/1.1 304 Not Modified", body=b"")],
    [reply(LENGTH, status=b"HTTP/1.1 503 Busy")],
    [reply(LENGTH, b"Server: s", status=b"HTTP/1.1 404 Not Found")],
    [reply(b"Content-Length: 4", body=b"four")],
]
LINES: list[tuple[str, ...]] = [
    *[()] * 8,
    ("X-Version: 1",),
    ("X-Version: 2",),
    ("Cookie: a=1",),
    ("Cache-Control: no-cache",),
    ("Authorization: x",),
    ("Range: bytes=0-1",),
    ('If-None-Match: "a"',),
]


def _step(made: World, roll: float) -> None:
    made.clock.step(0.5 + 4 * roll)
    made.monotonic.step(0.5 + 4 * roll)


def _sync(made: World, roll: float) -> None:
    made.log.is_synced = roll < 0.5


def _clear_l2(made: World, _: float) -> None:
    if made.l2 is not None:
        made.l2.entries.clear()


def _open_l2(made: World, roll: float) -> None:
    if made.l2 is not None:
        made.l2.is_open = roll < 0.5


def _refuse_leases(made: World, roll: float) -> None:
    if made.leases is not None:
        made.leases.is_down = roll < 0.5
        made.leases.lone.clear()


EVENTS: Mapping[str, Callable[[World, float], None]] = {
    "purge": lambda made, roll: made.log.purge(soft=roll < 0.5),
    "log": _sync,
    "time": _step,
    "skew": lambda made, _: made.clock.step(-1.0),
    "L1": lambda made, _: made.memory.clear(),
    "L2": _clear_l2,
    "link": _open_l2,
    "leases": _refuse_leases,
    "reload": lambda made, roll: made.reload(x_cache_status=roll < 0.5),
}
HAPPENING = [*EVENTS, "time", "purge", "log", "L1"]
ASKING = 0.65


async def _ask(made: World, dice: Random) -> None:
    path, lines = f"/{dice.choice(PATHS)}/{dice.randrange(8)}", dice.choice(LINES)
    method = "HEAD" if dice.random() < 0.1 else "GET"
    if made.client.transport.is_closing():
        await made.connect()
    await made.send(request(path, *lines, method=method))
    await made.quiet()


async def _told(seed: int, *, is_relayed: bool) -> Outside:
    dice = Random(seed)
    l2 = FakeL2() if dice.random() < 0.6 else None
    leases = FakeLeases(l2 if dice.random() < 0.7 else None) if l2 and dice.random() < 0.7 else None
    replies: list[Reply] = [[KEPT], *dice.choices(REPLIES, k=40)]
    sections: dict[str, Any] = {
        "profile": dice.choice(["safe", "safe", "rfc9111"]),
        "x_cache_status": dice.random() < 0.3,
        "routes": ROUTES,
    }
    told = relay_world(*replies, is_relayed=is_relayed, l2=l2, leases=leases, **sections)
    async with told as (made, origin):
        await made.send(request("/kept/first"))
        await made.quiet()
        for _ in range(dice.randrange(8, 40)):
            if dice.random() < ASKING:
                await _ask(made, dice)
            else:
                EVENTS[dice.choice(HAPPENING)](made, dice.random())
        await made.quiet()
        assert made.left == NOTHING
        return made.outside(origin)


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_a_world_is_told_alike(seed: int) -> None:
    relayed, whole = await _told(seed, is_relayed=True), await _told(seed, is_relayed=False)

    for seen, expected in zip(relayed, whole, strict=True):
        assert seen == expected


async def test_the_relay_has_its_part_in_these_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    for seed in range(20):
        await _told(seed, is_relayed=True)

    assert len(looked.answered) > 20
    assert len(looked.handed_over) > 10


REQUEST_LINES = st.sampled_from(
    [
        "Accept-Encoding: gzip, br",
        "Accept-Encoding: ",
        "Pragma: no-cache",
        "Cache-Control: max-stale",
        "Cache-Control: max-age=0",
        "Cache-Control: no-transform",
        "Via: 1.1 x",
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-For: 1.1.1.1",
        "Connection: keep-alive",
        "Cookie: a=1",
        "Authorization: Basic x",
        "X-Who: me",
        "X-Version: 1",
        "Max-Forwards: 1",
        "Early-Data: 1",
        "Purpose: prefetch",
    ]
)
TARGETS = st.sampled_from(
    [
        "/kept/a",
        "/kept/a?b=1&c",
        "/kept/a?",
        "/kept/%41",
        "/kept/a//b/../c",
        "/keyed/a?id=1&x=3",
        "/keyed/a?x=%2f",
    ]
)
ANSWERS = st.sampled_from(
    [
        KEPT,
        reply(LENGTH, b"Vary: X-Version, Accept-Encoding"),
        reply(LENGTH, b"Cache-Control: public, max-age=9"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    target=TARGETS,
    lines=st.lists(REQUEST_LINES, max_size=4, unique_by=lambda line: line.split(":")[0]),
    has_l2=st.booleans(),
    answer=ANSWERS,
)
def test_any_request_is_met_alike(target: str, lines: list[str], has_l2: bool, answer: bytes) -> None:
    asked, plain = request(target, *lines), request(target)
    sent = [request("/kept/first"), asked, asked, plain]

    asyncio.run(assert_equal(sent, [KEPT], [answer], has_l2=has_l2))


PART = (LENGTH, b'ETag: "a"', b"Cache-Control: max-age=60")
PARTIAL = b"HTTP/1.1 206 Partial Content"
LASTING = b"Cache-Control: max-age=60"
ODD = {
    "a sound part": reply(*PART, b"Content-Range: bytes 0-4/9", status=PARTIAL),
    "an unsound part": reply(*PART, b"Content-Range: bytes 0-6/9", status=PARTIAL),
    "a part of an age": reply(
        *PART, b"Content-Range: bytes 0-4/9", b"Cache-Tag: a", b"Age: 3", status=PARTIAL
    ),
    "a part of no range": reply(*PART, status=PARTIAL),
    "a range of no part": reply(*PART, b"Content-Range: bytes 0-4/9"),
    "out of range": reply(*PART, b"Content-Range: bytes */9", status=b"HTTP/1.1 416 Range Not Satisfiable"),
    "a failed condition": reply(LENGTH, LASTING, status=b"HTTP/1.1 412 Precondition Failed"),
    "a lasting error": reply(LENGTH, LASTING, status=b"HTTP/1.1 503 Busy"),
    "names in directives": reply(
        LENGTH, b'Cache-Control: max-age=60, no-cache="X-A", private="X-B"', b"X-A: 1", b"X-B: 2"
    ),
    "spent": reply(LENGTH, b"Age: 99999999", LASTING),
    "to be validated": reply(LENGTH, b"Age: 50", b"Cache-Control: max-age=60, no-cache", b'ETag: "a"'),
    "must understand": reply(LENGTH, b"Cache-Control: must-understand, no-store, max-age=9"),
    "expired": reply(LENGTH, b"Expires: 0", b'ETag: "a"'),
    "no time": b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nCache-Control: max-age=9\r\n\r\nhello",
    "two dates": reply(LENGTH, b"Date: x", LASTING),
    "two tags": reply(LENGTH, b'ETag: "a"', b'ETag: "b"'),
    "an odd Vary": reply(LENGTH, b"Vary: x-version, , Accept-Language", b"Content-Language: de"),
    "varies by the host": reply(LENGTH, b"Vary: Host, User-Agent, Cookie"),
}


@pytest.mark.parametrize("profile", ["safe", "rfc9111"])
@pytest.mark.parametrize("has_l2", [False, True], ids=["alone", "fleet"])
@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_odd_answers_are_met_alike(answer: bytes, profile: str, has_l2: bool) -> None:
    variant = request("/kept/a", "X-Version: 1", "Accept-Language: de")
    plain = [request(f"/kept/{number}") for number in (0, 1, 0)]
    ranges = [request("/kept/0", "Range: bytes=0-1"), request("/kept/1", "Range: bytes=3-8")]
    sent = [request("/kept/first"), variant, *plain, variant, *ranges]

    await assert_equal(sent, [KEPT], [answer], has_l2=has_l2, profile=profile)


@pytest.mark.parametrize("size", [4, 5, 6])
async def test_the_largest_body_is_met_alike(size: int) -> None:
    routes = [{"name": "kept", "match": {"path": "/kept/**"}, "ttl": "1h", "max_body": size}]
    sent = [request(f"/kept/{place}") for place in ("first", "0", "1", "0")]

    looked = await assert_equal(sent, [KEPT], routes=routes)
    assert bool(looked.answered) == (size >= 5)
