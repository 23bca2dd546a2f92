"""T20: the same bytes, with the plain lane and without, in front of the whole engine: the same of everything.

Same answers byte by byte, the same requests at the origin, metrics and access lines, and the same in L1.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine.request_flow import RequestFlow
from proxy.net import head_memo, plain_lane
from proxy.net.head_memo import HeadMemo
from proxy.net.plain_lane import PlainLane
from tests.support.lane_world import Outside, World, world
from tests.support.raw_client import chunked, request

pytestmark = pytest.mark.timeout(300)
"""A story that ends amid a head takes a second; a busy machine makes all of them slower."""

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(
    scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs on a loop of its own: hypothesis asks for many runs in one test."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module", autouse=True)
def recalled() -> Iterator[list[bytes]]:
    """Heads that were not read, for they were here before. The lane looks for each, so that it finds all."""
    heads: list[bytes] = []
    recall = HeadMemo.recall

    def counting(memo: HeadMemo[Any], sender: Any, head: bytes) -> Any:
        known = recall(memo, sender, head)
        heads.extend([head] * (known is not None))
        return known

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_memo, "SKIPPED", 0)
        patch.setattr(HeadMemo, "recall", counting)
        yield heads


@pytest.fixture(scope="module", autouse=True)
def taken() -> Iterator[list[bytes]]:
    """Heads that the lane has taken. It learns at once, so that it takes all that it may."""
    heads: list[bytes] = []
    take = PlainLane.take

    def counting(lane: PlainLane, connection: Any, head: bytes) -> bool:
        has_taken = take(lane, connection, head)
        heads.extend([head] * has_taken)
        return has_taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_lane, "LEARNING_SECONDS", 0.0)
        patch.setattr(plain_lane, "AGAIN_SECONDS", 3600.0)
        patch.setattr(PlainLane, "take", counting)
        yield heads


class Send(NamedTuple):
    """Bytes on one of two connections, cut at these places (shares of their length)."""

    data: bytes
    cuts: tuple[float, ...] = ()
    connection: int = 0

    async def happen(self, to: World) -> None:
        places = sorted({int(share * len(self.data)) for share in self.cuts})
        ends = [*places, len(self.data)]
        pieces = [self.data[start:end] for start, end in zip([0, *places], ends, strict=True)]
        await to.send([piece for piece in pieces if piece], self.connection)


class Step(NamedTuple):
    """Time passes."""

    seconds: float

    async def happen(self, to: World) -> None:
        to.step(self.seconds)


class Purge(NamedTuple):
    """Of everything."""

    soft: bool

    async def happen(self, to: World) -> None:
        to.log.purge(soft=self.soft)


class Reload(NamedTuple):
    """The other routes come into force."""

    async def happen(self, to: World) -> None:
        to.reload()


class Drain(NamedTuple):
    """Every answer is the last from now on, or no longer."""

    begins: bool

    async def happen(self, to: World) -> None:
        if self.begins:
            to.listener.drain()
        else:
            to.listener.undo_drain()


Act = Send | Step | Purge | Reload | Drain


async def told(acts: list[Act], *, plain_lane: bool, l2: bool = False) -> Outside:
    async with world(plain_lane=plain_lane, l2=l2) as made:
        for act in acts:
            await act.happen(made)
        return made.outside()


async def both(acts: list[Act], *, l2: bool) -> tuple[Outside, Outside]:
    return await told(acts, plain_lane=True, l2=l2), await told(acts, plain_lane=False, l2=l2)


def assert_equal(run: Run, *acts: Act, l2: bool = False) -> Outside:
    with_lane, without = run(both(list(acts), l2=l2))
    for seen, expected in zip(with_lane, without, strict=True):
        assert seen == expected
    return without


TRACE = "X-Request-ID: {}"
PATHS = [
    "/product/etag",
    "/product/etag?page=1&x=2",
    "/product/etag?page=1&x=3",
    "/product/gone",
    "/product/plain",
    "/product/fails",
    "/product/large",
    "/product/empty",
    "/product/varies",
    "/product/private",
    "/product/cookie",
    "/product/unknown",
    "/tenant/public",
    "/tenant/plain",
    "/user/plain",
    "/preview/etag",
    "/preview/plain",
    "/off/etag",
    "/elsewhere",
    "/product/../off/etag",
    "/product/%2e",
]
FIELDS = [
    'If-None-Match: "e"',
    'If-None-Match: W/"e", "f"',
    'If-None-Match: "other"',
    "If-Modified-Since: Sun, 09 Sep 2001 01:00:00 GMT",
    "If-Modified-Since: nonsense",
    'If-Match: "e"',
    "Range: bytes=0-3",
    "Cache-Control: no-cache",
    "Cache-Control: max-age=3",
    "Cache-Control: only-if-cached",
    "Cache-Control: max-stale=5",
    "Pragma: no-cache",
    "Authorization: Basic YQ==",
    "Cookie: session=1",
    "Cookie: theme=dark",
    "Cookie: admin=1; session=2",
    "Accept-Language: de",
    "Accept-Language: fr",
    "X-Tenant: 1",
    "X-Tenant: 2",
    "X_Tenant: 3",
    "X-Preview: 1",
    "X-Trace: 7",
    "X-Forwarded-Host: evil",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: X-Tenant",
    "Accept:   text/html  ",
    "Accept:text/html",
    "X: \xe9",
    "Content-Length: 0",
    "Upgrade-Insecure-Requests: 1",
]
GETS = st.builds(
    lambda path, fields, method, host, version: request(
        path, *fields, method=method, host=host, version=version
    ),
    st.sampled_from(PATHS[:6]) | st.sampled_from(PATHS),
    st.lists(st.sampled_from(FIELDS), max_size=3),
    st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    st.sampled_from(["shop", "shop", "SHOP:80", "other", "a b"]),
    st.sampled_from(["HTTP/1.1"] * 7 + ["HTTP/1.0"]),
)
WITH_BODIES = st.builds(
    lambda path, fields, method, body: request(path, *fields, method=method, body=body),
    st.sampled_from(PATHS),
    st.lists(st.sampled_from([*FIELDS, "Content-Type: text/plain", "Expect: 100-continue"]), max_size=2),
    st.sampled_from(["POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET"]),
    st.sampled_from([b"12", b"x" * 5000, b"\r\n\r\n", request("/product/etag")]),
)
OTHERS = st.sampled_from(
    [
        request("/product/etag", method="POST", body=request("/product/plain")),
        request("/product/plain", "Transfer-Encoding: chunked", method="POST", body=chunked(b"a", b"b")),
        request("/product/etag", body=b"fat"),
        request("/product/plain", "Connection: Upgrade", "Upgrade: websocket"),
        b"\r\n" + request("/product/etag"),
        b"GARBAGE\r\n\r\n",
        request("http://evil/"),
    ]
)
SENDS = st.builds(
    Send,
    st.lists(GETS | GETS | GETS | WITH_BODIES | OTHERS, min_size=1, max_size=3).map(b"".join),
    st.just(()) | st.lists(st.floats(0, 1), max_size=3).map(tuple),
    st.sampled_from([0, 0, 1]),
)
ACTS = st.lists(
    SENDS
    | SENDS
    | SENDS
    | SENDS
    | st.builds(Step, st.sampled_from([0.25, 1, 4, 7, 9, 13, 25]))
    | st.builds(Purge, st.booleans())
    | st.just(Reload())
    | st.builds(Drain, st.booleans()),
    min_size=3,
    max_size=14,
)


@settings(max_examples=300)
@given(acts=ACTS)
def test_t20_any_story_ends_alike(run: Run, acts: list[Act]) -> None:
    assert_equal(run, *acts)


@st.composite
def stories_of_few_heads(draw: st.DrawFn) -> list[Act]:
    """The same three heads again and again, whatever happens between."""
    sends = st.sampled_from(draw(st.lists(GETS, min_size=1, max_size=3)))
    acts = st.builds(Send, sends, st.just(()), st.sampled_from([0, 0, 1])) | st.sampled_from(
        [Step(0.25), Step(4), Step(9), Step(25), Purge(soft=True), Purge(soft=False), Reload()]
    )
    return draw(st.lists(acts, min_size=8, max_size=24))


@settings(max_examples=150)
@given(acts=stories_of_few_heads())
def test_t20_any_story_of_few_heads_ends_alike(run: Run, acts: list[Act]) -> None:
    assert_equal(run, *acts)


@settings(max_examples=150)
@given(acts=ACTS)
def test_t20_any_story_with_an_l2_ends_alike(run: Run, acts: list[Act]) -> None:
    assert_equal(run, *acts, l2=True)


@pytest.mark.parametrize("path", PATHS[:12])
def test_t20_what_l2_has_is_answered_alike(run: Run, path: str) -> None:
    asking = [Send(request(path, field)) for field in ("X-A: 1", 'If-None-Match: "e"', "X-A: 1")]
    happenings: list[Act] = [Step(2), Step(4), Purge(soft=True), Step(4), Purge(soft=False), Step(9), Step(4)]
    acts = [act for happening in happenings for act in (*asking, happening)]
    seen = assert_equal(run, *acts, *asking, l2=True)

    if path == "/product/etag":
        assert b"detail=l2" in seen.received[0]


STREAM = b"".join(
    [
        request("/product/etag", "X-A: 1"),
        request("/product/etag", 'If-None-Match: "e"'),
        request("/product/gone", method="HEAD"),
        request("/product/etag", method="POST", body=b"12"),
        request("/product/etag", "X-A: 2"),
    ]
)
FILL = [Send(request("/product/etag", "X-A: 0")), Send(request("/product/gone", "X-A: 0"))]


@pytest.mark.parametrize("half", [0, 1])
def test_t20_a_stream_cut_at_every_offset_is_the_same_stream(run: Run, half: int) -> None:
    whole = assert_equal(run, *FILL, Send(STREAM))
    size = len(STREAM)
    for cut in range(1 + half, size, 2):
        seen = run(told([*FILL, Send(STREAM, ((cut + 0.5) / size,))], plain_lane=True))
        assert seen == whole


def test_t20_requests_in_segments_of_their_own_are_the_same_stream(run: Run) -> None:
    segments = [request("/product/etag", TRACE.format(number)) for number in range(9)]
    each = assert_equal(run, *map(Send, segments))
    at_once = assert_equal(run, Send(b"".join(segments)))

    assert each == at_once


def each_twice(path: str, *fields: str, **how: str) -> list[Act]:
    """A plain request that fills, this one, and this one again when it may be stored."""
    return [
        Send(request(path)),
        Send(request(path, *fields, **how)),
        Send(request(path, *fields, **how)),
    ]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_t20_every_path_is_answered_alike(run: Run, path: str, method: str) -> None:
    acts = [*each_twice(path, method=method), Step(9), *each_twice(path, method=method), Step(30)]
    assert_equal(run, *acts, *each_twice(path, method=method), Reload(), *each_twice(path, method=method))


@pytest.mark.parametrize("field", ["X-A: 1", *FIELDS])
def test_t20_heads_that_come_again_are_answered_alike(run: Run, field: str) -> None:
    """Whatever comes between them, also on another connection, and other heads for the same."""
    again = [Send(request(path, field), connection=number % 2) for path in PATHS[:9] for number in range(4)]
    others = [Send(request(path, "Cookie: session=2", "X-Tenant: 2", "X-Preview: 1")) for path in PATHS[:9]]
    happenings: list[Act] = [Step(5), Purge(soft=True), Step(9), Purge(soft=False), Reload(), Reload()]
    acts = [act for happening in happenings for act in (*again, *others, happening)]
    assert_equal(run, *acts, *again)


def test_t20_heads_that_come_again_are_not_read(run: Run, recalled: list[bytes]) -> None:
    """Else the above would compare what is read with what is read."""
    before = len(recalled)
    head = request("/product/etag", "X-A: 1", 'If-None-Match: "e"')
    telling = request("/product/etag", "Cookie: theme=1")
    run(told([*[Send(head)] * 5, *[Send(telling)] * 5, Reload(), Send(head)], plain_lane=True))

    assert recalled[before:] == [head] * 3


@pytest.mark.parametrize("field", FIELDS)
def test_t20_every_field_is_answered_alike(run: Run, field: str) -> None:
    acts = [act for path in PATHS for act in each_twice(path, field)]
    assert_equal(run, *acts, Step(5), *acts)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_t20_every_path_takes_a_body_alike(run: Run, taken: list[bytes], method: str) -> None:
    writes = [request(path, method=method, body=b"12345") for path in PATHS]
    acts = [
        act for path, write in zip(PATHS, writes, strict=True) for act in (Send(request(path)), Send(write))
    ]
    assert_equal(run, *acts, *acts, *FILL)

    assert set(writes) <= set(taken)


FRAMINGS = [
    *[
        f"Content-Length: {odd}"
        for odd in ("05", "+5", "-5", "5_", "0x5", "5, 5", "5;", "5 ", " 5", "\t5", "")
    ],
    *[f"Content-Length: {odd}" for odd in ("0", "3", "4", "0000000005", "\u0665", "5\0")],
    "Content-Length : 5",
    "Content-Length:5",
    "Content-Length:\r\n 5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\ncontent-length: 3",
    "Content-Length: 5\r\nContent_Length: 3",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nTransfer-Encoding : chunked",
    "Transfer-Encoding: identity\r\nContent-Length: 5",
    "Content-Length: 5\nX: y",
    "Content-Length: 5\r\nX: y\rContent-Length: 3",
    "Content-Length: 5\r\nExpect: 100-continue",
    "Content-Length: 5\r\nExpect: other",
    "Content-Length: 5\r\nConnection: close",
    "Content-Length: 5\r\nConnection: Content-Length",
    "Content-Length: 5\r\nContent-Encoding: gzip",
    "Content-Length: 5\r\nUpgrade: websocket\r\nConnection: Upgrade",
    "X: y",
]


@pytest.mark.parametrize("line", ["POST {} HTTP/1.1", "GET {} HTTP/1.1", "POST {} HTTP/1.0"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_t20_every_framing_is_taken_alike(run: Run, framing: str, line: str) -> None:
    """In one read, cut behind the head and within the body, and with a request behind it."""
    head = f"{line.format('/product/plain')}\r\nHost: shop\r\n{framing}\r\n\r\n".encode()
    follower = request("/product/etag")
    for body in (b"123\n\n", b"1\r\n\r\n"):  # what is left of them is refused, or ignored, at once
        whole = head + body
        cuts = ((), (len(head) / len(whole),), ((len(head) + 2) / len(whole),))
        assert_equal(run, *[Send(whole, cut) for cut in cuts], Send(whole + follower), Send(follower))


STORIES: dict[str, list[Act]] = {
    "expiry": [Step(7.9), Step(0.2), Step(4), Step(30)],
    "hard purge": [Purge(soft=False)],
    "soft purge": [Purge(soft=True), Step(1), Step(20)],
    "reload": [Reload(), Reload()],
    "drain": [Drain(begins=True), Drain(begins=False)],
}


@pytest.mark.parametrize("name", STORIES)
def test_t15_t20_what_happens_between_two_hits_counts(run: Run, name: str) -> None:
    asking = [Send(request(path, TRACE.format(1))) for path in PATHS[:12]]
    acts: list[Act] = [*asking, *asking]
    for happening in STORIES[name]:
        acts += [happening, *asking, *asking]
    assert_equal(run, *acts)


CHANGES: dict[str, list[Act]] = {
    "age": [Step(0.4), Step(0.4), Step(0.4), Step(3)],
    "expiry": [Step(7.6), Step(0.3), Step(0.3), Step(20)],
    "hard purge": [Purge(soft=False)],
    "soft purge": [Purge(soft=True)],
    "reload": [Reload(), Reload()],
}


@pytest.mark.parametrize("l2", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_t15_a_hit_that_stands_falls_with_what_it_stands_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, l2: bool
) -> None:
    stands: list[bool] = []
    still_lasts = RequestFlow.still_lasts

    def counting(flow: RequestFlow, plan: Any, lasting: Any) -> bool:
        stands.append(still_lasts(flow, plan, lasting))
        return stands[-1]

    monkeypatch.setattr(RequestFlow, "still_lasts", counting)
    asking = [Send(request(path, field)) for path in PATHS[:4] for field in ("X-A: 1", FIELDS[0], FIELDS[2])]
    # At the very instant of its storing the last second of what is left to it ends.
    acts: list[Act] = [*asking, Step(0.1), *asking, *asking]
    for change in CHANGES[name]:
        acts += [change, *asking, *asking]
    assert_equal(run, *acts, l2=l2)

    assert stands.count(True) >= 12
    assert False in stands


@pytest.fixture
def everybody_waits(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """For another pass of the loop, as if the process were busy with others."""
    waited: list[bytes] = []

    def take(lane: PlainLane, connection: Any, data: bytes) -> bool:
        waited.append(data)
        connection.asked_at = 0.0
        connection.begin_plain()
        lane._turns._begin(-1.0)
        lane._turns.add(connection, data)
        return True

    monkeypatch.setattr(PlainLane, "take", take)
    return waited


@pytest.mark.parametrize("name", STORIES)
def test_t20_who_waits_is_answered_alike(run: Run, everybody_waits: list[bytes], name: str) -> None:
    asking = [Send(request(path, TRACE.format(1))) for path in PATHS[:12]]
    acts: list[Act] = [*asking, *asking]
    for happening in STORIES[name]:
        acts += [happening, *asking, *asking]
    assert_equal(run, *acts, *[Send(STREAM, (share / 20,)) for share in range(20)])

    assert len(everybody_waits) > len(acts) / 2


def test_t15_a_hit_ends_with_its_lifetime_and_with_a_purge(run: Run) -> None:
    asking = Send(request("/product/public"))
    seen = assert_equal(
        run, asking, asking, Step(7), asking, Step(1), asking, asking, Purge(soft=False), asking
    )
    (received,) = seen.received

    # The fourth is stale and lets the origin be asked in the background; the purge lets nothing stand.
    assert re.findall(rb"/product/public (\d)", received) == [b"1", b"1", b"1", b"1", b"2", b"3"]
    assert re.findall(rb"Age: (\d+)", received) == [b"0", b"7", b"8", b"0"]
    assert len(seen.asked) == 3


def test_t20_the_lane_takes_part(run: Run, taken: list[bytes]) -> None:
    """Else all of the above would compare one lane with itself."""
    before = len(taken)
    head = request("/product/etag")
    run(told([Send(head), Send(head), Send(head + head)], plain_lane=True))
    run(told([Send(head), Send(head)], plain_lane=False))

    assert taken[before:] == [head, head]
