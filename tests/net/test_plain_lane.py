"""What the plain lane learns, remembers, answers and leaves alone: on real sockets, answered from a table.

A body of `plain` is the lane's own answer at once; `/x|` was answered by the flow, whichever lane asked it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.config.schema import Config
from proxy.model import NOT_ASKED, Hit
from proxy.net import head_memo, plain_lane
from proxy.net.head_memo import HeadMemo
from proxy.net.plain_lane import MOST_PLAN_BYTES, MOST_PLANS, MOST_SHAPES, PlainLane, missing_internals
from proxy.net.standing_hit import MOST_BYTES
from tests.support.canned_flow import LINES, CannedFlow, Served, plain_hit, serving
from tests.support.raw_client import RawAnswer, RawClient, connected, request, settle

ON_BOTH_LOOPS = True


@pytest.fixture(autouse=True)
def _learns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which heads are plain must not depend on how fast a test runs."""
    monkeypatch.setattr(plain_lane, "LEARNING_SECONDS", 0.0)


def flow_with(**hits: Hit) -> CannedFlow:
    """Plain hits for these paths."""
    flow = CannedFlow()
    flow.plain_hits = {f"/{name}".encode(): hit for name, hit in hits.items()}
    return flow


async def ask(client: RawClient, *fields: str, target: str = "/a", method: str = "GET") -> RawAnswer:
    await client.send(request(target, *fields, method=method))
    return await client.answer(method)


def lane_of(served: Served) -> PlainLane:
    lane = served.listener._lane
    assert lane is not None
    return lane


def use(served: Served, **sections: Any) -> None:
    """A configuration is reloaded."""
    served.listener.use(Config.model_validate({"origin": {"url": "http://127.0.0.1:1"}, **sections}))


async def test_a_hit_is_answered_in_the_step_in_which_it_arrives() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        given = await ask(client)

        assert (given.status, given.reason, given.body) == (200, b"OK", b"plain")
        assert given.lines == (
            (b"Date", b"Mon, 23 Nov 2026 10:00:00 GMT"),
            (b"Content-Type", b"text/plain"),
            (b"Age", b"7"),
            (b"Cache-Status", b"sidecache; hit; ttl=41; detail=l1"),
            (b"Content-Length", b"5"),
        )
        assert not served.flow.requests


async def test_head_gets_the_same_head_and_no_body() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        whole = await ask(client)
        given = await ask(client, method="HEAD")

        assert given.lines == whole.lines
        assert await client.has_silence()


async def test_a_status_without_a_body_has_no_length() -> None:
    hit = plain_hit(b"", status=204, reason=b"No Content")
    async with serving(flow_with(a=hit)) as served, connected(served.where) as client:
        given = await ask(client)

        assert (given.status, given.values("content-length")) == (204, [])
        assert await client.has_silence()


async def test_x_cache_status_on_demand() -> None:
    flow = flow_with(a=plain_hit())
    async with serving(flow, x_cache_status=True) as served, connected(served.where) as client:
        assert (await ask(client)).first("x-cache-status") == b"HIT"
        use(served, x_cache_status=False)
        assert (await ask(client)).first("x-cache-status") is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (('If-None-Match: "1"',), 304),
        (('If-None-Match:  W/"1"  ',), 304),
        (("If-None-Match: *",), 304),
        (('If-None-Match: "2"',), 200),
        (("If-None-Match: ",), 200),
        (("If-Modified-Since: Mon, 23 Nov 2026 09:00:00 GMT",), 304),
        (("If-Modified-Since: Mon, 23 Nov 2026 08:00:00 GMT",), 200),
        (("If-Modified-Since: Mon, 23 Nov 2026 09:00:00 GMT", 'If-None-Match: "2"'), 200),
        (('if-none-match: "1"', "if-modified-since: Mon, 23 Nov 2026 08:00:00 GMT"), 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_choose_between_the_response_and_a_304(
    fields: tuple[str, ...], status: int, method: str
) -> None:
    hit = plain_hit(etag=b'"1"', last_modified=b"Mon, 23 Nov 2026 09:00:00 GMT")
    async with serving(flow_with(a=hit)) as served, connected(served.where) as client:
        given = await ask(client, *fields, method=method)

        assert (given.status, given.body) == (status, b"plain" if (status, method) == (200, "GET") else b"")
        assert given.values("content-length") == ([b"5"] if status == 200 else [])
        assert await client.has_silence()
        assert not served.flow.requests


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> None:
    """How soon something is asked for again must not depend on how fast a test runs."""
    monkeypatch.setattr(plain_lane, "AGAIN_SECONDS", 3600.0)


def lasting(**hits: Hit) -> CannedFlow:
    flow = flow_with(**hits)
    flow.hits_last = True
    return flow


@pytest.mark.usefixtures("again")
async def test_what_is_asked_for_again_is_made_once() -> None:
    async with serving(lasting(a=plain_hit())) as served, connected(served.where) as client:
        given = [await ask(client, f"X-Request-Id: {n}") for n in range(5)]

        assert {(one.status, one.lines, one.body) for one in given} == {(200, given[0].lines, b"plain")}
        assert served.flow.repeats == 3  # the first two were made anew: only then is it one of many
        assert len(served.records) == 5


@pytest.mark.usefixtures("again")
async def test_what_has_changed_is_made_anew() -> None:
    async with serving(lasting(a=plain_hit())) as served, connected(served.where) as client:
        for _ in range(3):
            await ask(client)
        served.flow.plain_hits[b"/a"] = plain_hit(b"changed", age=9)
        given = await ask(client)
        assert (given.body, given.first("age")) == (b"changed", b"9")
        del served.flow.plain_hits[b"/a"]

        assert (await ask(client)).body == b"/a|"


@pytest.mark.usefixtures("again")
async def test_conditions_are_asked_of_what_is_made_once() -> None:
    flow = lasting(a=plain_hit(etag=b'"1"'))
    async with serving(flow) as served, connected(served.where) as client:
        for tag, status in [("1", 304), ("2", 200), ("1", 304)] * 2:
            given = await ask(client, f'If-None-Match: "{tag}"')
            assert (given.status, given.body) == (status, b"" if status == 304 else b"plain")
        assert (await ask(client)).status == 200
        assert (await ask(client, method="HEAD")).body == b""

        assert await client.has_silence()
        assert served.flow.repeats == 5


@pytest.mark.usefixtures("again")
async def test_the_line_of_what_is_made_once_says_what_was_sent() -> None:
    flow = lasting(a=plain_hit(etag=b'"1"'))
    async with serving(flow) as served, connected(served.where) as client:
        for _ in range(4):
            await ask(client, 'If-None-Match: "1"')
        await ask(client)

        assert [(record.status, record.sent) for record in served.records] == [*[(304, 0)] * 4, (200, 5)]
        assert served.flow.repeats == 3


async def test_what_is_asked_for_seldom_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lane, "AGAIN_SECONDS", 0.0)
    async with serving(lasting(a=plain_hit())) as served, connected(served.where) as client:
        for _ in range(4):
            await ask(client)

        assert served.flow.repeats == 0


@pytest.mark.usefixtures("again")
async def test_large_answers_are_made_anew() -> None:
    flow = lasting(a=plain_hit(b"x" * (MOST_BYTES + 1)))
    async with serving(flow) as served, connected(served.where) as client:
        for _ in range(4):
            assert len((await ask(client)).body) == MOST_BYTES + 1

        assert served.flow.repeats == 0


@pytest.mark.usefixtures("again")
async def test_answers_with_many_fields_are_made_anew() -> None:
    flow = lasting(a=plain_hit(lines=LINES + b"X-Long: %b\r\n" % (b"x" * MOST_BYTES)))
    async with serving(flow) as served, connected(served.where) as client:
        for _ in range(4):
            assert (await ask(client)).body == b"plain"

        assert served.flow.repeats == 0


@pytest.mark.usefixtures("again")
async def test_a_flow_that_cannot_know_is_asked_each_time() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        for _ in range(4):
            assert (await ask(client)).body == b"plain"

        assert served.flow.repeats == 0


async def test_a_miss_goes_through_the_same_flow_with_all_its_fields() -> None:
    async with serving() as served, connected(served.where) as client:
        given = await ask(client, "Accept:  b ", "X-Y: ")
        (asked,) = served.flow.requests

        assert given.body == b"/a|"
        assert asked.fields.lines == ((b"Host", b"shop"), (b"Accept", b"b"), (b"X-Y", b""))
        assert (asked.method, asked.target, asked.host, asked.peer) == ("GET", b"/a", b"shop", "127.0.0.1")
        assert asked.body is None
        assert asked.on_interim is not None


POST = request("/p", method="POST", body=b"0123456789")


@pytest.mark.parametrize(
    ("segments", "taken"),
    [
        ([POST], [True]),
        ([POST[:-1], POST[-1:]], [False]),
        ([POST[:-10], POST[-10:]], [False]),
        ([POST[:40], POST[40:]], [False]),
        ([request("/p", "Content-Length: 10", method="POST", body=b"012345\r\n\r\n")], [False]),
        ([request("/p", method="POST", body=b"x" * 100)], [True]),
        ([request("/p", method="POST", body=b"x" * 101)], [False]),
    ],
)
async def test_a_body_is_taken_if_it_has_come_whole_with_its_head(
    segments: list[bytes], taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[bool] = []
    take = PlainLane.take

    def noted(lane: PlainLane, connection: Any, data: bytes) -> bool:
        words.append(take(lane, connection, data))
        return words[-1]

    async with serving() as served, connected(served.where) as client:
        await client.send(request("/p", method="POST", body=b"x"))  # its names are learned
        await client.answer()
        monkeypatch.setattr(PlainLane, "take", noted)
        monkeypatch.setattr(plain_lane, "MOST_CONTENT_BYTES", 100)
        for segment in segments:
            await client.send(segment)
            await settle()
        body = b"".join(segments).partition(b"\r\n\r\n")[2]

        assert (await client.answer()).body == b"/p|" + body
        assert words[: len(taken)] == taken
        assert (await ask(client)).body == b"/a|"


async def test_what_follows_a_body_is_a_request_of_its_own() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(POST)
        await client.send(POST + POST + request("/b"))

        assert [(await client.answer()).body for _ in range(4)] == [b"/p|0123456789"] * 3 + [b"/b|"]


async def test_the_switch_turns_it_off() -> None:
    flow = flow_with(a=plain_hit())
    async with serving(flow, plain_lane=False) as served, connected(served.where) as client:
        assert served.listener._lane is None
        assert (await ask(client)).body == b"/a|"


# Counting and lines.


async def test_a_hit_is_counted_once_and_gets_its_line() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        await ask(client)
        await ask(client, 'If-None-Match: "1"')
        await ask(client, method="HEAD")

        lines = [(record.target, record.status, record.sent, record.complete) for record in served.records]
        assert lines == [(b"/a", 200, 5, True), (b"/a", 200, 5, True), (b"/a", 200, 0, True)]
        assert all(0 <= record.seconds < 5 for record in served.records)


async def test_a_miss_is_counted_once() -> None:
    async with serving() as served, connected(served.where) as client:
        await ask(client)

        (record,) = served.records
        assert (record.target, record.status, record.sent, record.complete) == (b"/a", 200, 3, True)


async def test_the_line_of_a_hit_names_what_the_line_of_a_request_names() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        await ask(client, "X-Request-ID: 77", method="HEAD")
        (line,) = served.records.requests

        assert (line.method, line.host, line.peer) == ("HEAD", b"shop", "127.0.0.1")
        assert line.fields.first(b"x-request-id") == b"77"


async def test_no_line_is_made_where_none_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        monkeypatch.setattr(served.records, "count", lambda *_: False)
        await ask(client)

        assert not served.records


# What is learned and remembered.


async def test_at_most_one_list_of_names_is_learned_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lane, "LEARNING_SECONDS", 3600.0)
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        known = [(await ask(client, "X: 1")).body for _ in range(2)]
        unknown = [(await ask(client, "Y: 1")).body for _ in range(2)]

        assert known == [b"plain", b"plain"]
        assert unknown == [b"/a|", b"/a|"]
        lane_of(served)._learns_at = 0.0
        assert (await ask(client, "Y: 1")).body == b"plain"
        assert (await ask(client, "X: 1")).body == b"plain"


async def test_what_is_learned_on_one_connection_is_known_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lane, "LEARNING_SECONDS", 3600.0)
    async with serving(flow_with(a=plain_hit())) as served:
        for _ in range(3):
            async with connected(served.where) as client:
                assert (await ask(client, "X: 1")).body == b"plain"


async def test_lists_of_names_are_bounded() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        for number in range(MOST_SHAPES + 10):
            assert (await ask(client, f"X-{number}: 1")).body == b"plain"

        assert len(lane_of(served)._shapes) == MOST_SHAPES
        assert (await ask(client, "X-0: 1")).body == b"plain"


async def test_names_without_measure_are_not_remembered() -> None:
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        given = await ask(client, *[f"X{number}-{'n' * 400}: 1" for number in range(100)])

        assert given.body == b"/a|"
        assert not lane_of(served)._shapes


async def test_plans_are_remembered_by_method_target_and_host() -> None:
    async with serving() as served, connected(served.where) as client:
        for _ in range(2):
            await ask(client, "X: 1")
            await ask(client, "X: 2", "Y: 3")
            await ask(client, method="HEAD")
            await ask(client, target="/b")
            await client.send(request("/a", host="other"))
            await client.answer()

        asked = [(given.method, given.target, given.host) for given in served.flow.planned]
        assert asked == [
            ("GET", b"/a", b"shop"),
            ("HEAD", b"/a", b"shop"),
            ("GET", b"/b", b"shop"),
            ("GET", b"/a", b"other"),
        ]


async def test_plans_are_bounded() -> None:
    async with serving() as served, connected(served.where) as client:
        for number in range(MOST_PLANS + 10):
            await ask(client, target=f"/{number}")

        assert len(lane_of(served)._planned) == MOST_PLANS


async def test_plans_for_long_targets_are_not_remembered() -> None:
    async with serving() as served, connected(served.where) as client:
        for _ in range(2):
            await ask(client, target="/" + "x" * MOST_PLAN_BYTES)

        assert not lane_of(served)._planned
        assert len(served.flow.planned) == 2


@pytest.mark.parametrize("field", ["Cookie: a=1", "authorization: x"])
async def test_a_request_with_a_telling_field_has_a_plan_of_its_own(field: str) -> None:
    async with serving() as served, connected(served.where) as client:
        for fields in ((), (field,), (), (field,)):
            await ask(client, *fields)

        name = field.partition(":")[0].lower().encode()
        assert [name in planned.fields for planned in served.flow.planned] == [False, True, True]
        assert [name in given.fields for given in served.flow.requests] == [False, True, False, True]
        assert len(lane_of(served)._planned) == 1


# Reloading.


async def test_a_reload_forgets_plans() -> None:
    async with serving() as served, connected(served.where) as client:
        await ask(client)
        use(served)
        await ask(client)

        assert len(served.flow.planned) == 2


async def test_a_reload_forgets_which_fields_tell_also_on_open_connections() -> None:
    """A shape says whether its fields tell; the connection that learned it must not go on saying so."""
    async with serving() as served, connected(served.where) as client:
        await ask(client, "X-Tenant: 1")
        served.flow.telling_fields = frozenset({b"x-tenant"})
        use(served)
        await ask(client, "X-Tenant: 2")

        assert served.flow.planned[-1].fields.first(b"x-tenant") == b"2"


# Heads that come again.


def crash(*_: object) -> None:
    raise AssertionError


async def test_a_head_that_comes_the_third_time_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_memo, "SKIPPED", 0)
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        before = [(await ask(client, "X: 1")).lines for _ in range(2)]
        monkeypatch.setattr(lane_of(served), "_asked", crash)

        assert (await ask(client, "X: 1")).lines in before
        assert (await ask(client, "X: 2")).body == b"/a|"


async def test_what_comes_with_a_head_that_is_known_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_memo, "SKIPPED", 0)
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        for _ in range(3):
            await ask(client, "X: 1")
        known = request("/a", "X: 1")
        await client.send(known + known + request("/b"))

        assert [(await client.answer()).status for _ in range(3)] == [200] * 3
        assert served.records[-1].target == b"/b"


async def test_heads_that_never_come_again_are_looked_for_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sought: list[bytes] = []
    recall = HeadMemo.recall

    def counting(memo: HeadMemo[Any], sender: Any, head: bytes) -> Any:
        sought.append(head)
        return recall(memo, sender, head)

    monkeypatch.setattr(HeadMemo, "recall", counting)
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        for number in range(50):
            await ask(client, f"X: {number}")

        assert [head.split(b"X: ")[1].strip() for head in sought] == [b"0", b"16", b"32", b"48"]
        assert not len(lane_of(served)._heads)


@pytest.mark.parametrize("field", ["Cookie: a=1", "Authorization: Basic YQ=="])
async def test_heads_with_fields_that_may_tell_are_read_each_time(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_memo, "SKIPPED", 0)
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        for _ in range(4):
            await ask(client, field)

        assert len(served.flow.planned) == 4
        assert not len(lane_of(served)._heads)


async def test_a_reload_makes_heads_that_came_before_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_memo, "SKIPPED", 0)
    async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
        for _ in range(3):
            await ask(client)
        assert (len(served.flow.planned), len(lane_of(served)._heads)) == (1, 1)
        use(served)
        await ask(client)

        assert (len(served.flow.planned), len(lane_of(served)._heads)) == (2, 0)


async def test_who_names_the_very_tag_needs_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_with(a=plain_hit(etag=b'"1"'))
    monkeypatch.setattr(flow, "is_not_modified", crash)
    async with serving(flow) as served, connected(served.where) as client:
        assert (await ask(client, 'If-None-Match: "1"', "If-Modified-Since: nonsense")).status == 304
        assert (await ask(client, 'If-None-Match: "1", "2"')).body == b"/a|"


# What L2 has.


def with_l2(**hits: Hit | None) -> CannedFlow:
    """L2 is asked for these paths."""
    flow = CannedFlow()
    flow.l2 = {f"/{name}".encode(): hit for name, hit in hits.items()}
    return flow


async def test_what_l2_has_is_answered_without_serve() -> None:
    flow = with_l2(a=plain_hit(etag=b'"1"'))
    async with serving(flow) as served, connected(served.where) as client:
        assert [(await ask(client)).body for _ in range(3)] == [b"plain"] * 3
        assert (await ask(client, 'If-None-Match: "1"')).status == 304
        assert (await ask(client, method="HEAD")).first("content-length") == b"5"

        assert not flow.found
        assert [record.sent for record in served.records] == [5, 5, 5, 0, 0]


async def test_serve_is_told_what_l2_had() -> None:
    flow = with_l2(a=None)
    async with serving(flow) as served, connected(served.where) as client:
        assert (await ask(client)).body == b"/a|"
        assert (await ask(client, target="/b")).body == b"/b|"

        assert flow.found == [None, NOT_ASKED]


@pytest.mark.parametrize("method", ["plain_hit_l2", "is_not_modified"])
async def test_a_defect_behind_l2_is_met_again_by_serve(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = with_l2(a=plain_hit())
    monkeypatch.setattr(flow, method, crash)
    async with serving(flow) as served, connected(served.where) as client:
        assert (await ask(client, "If-None-Match: b")).body == b"/a|"
        assert len(served.records) == 1


async def test_what_comes_while_l2_is_asked_waits_for_its_turn() -> None:
    flow = with_l2(a=plain_hit())
    flow.plain_hits = {b"/b": plain_hit(b"other")}
    flow.answers_l2 = False
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/a"))
        await settle()
        await client.send(request("/b"))
        assert await client.has_silence()
        flow.waiting.pop()()

        assert (await client.answer()).body == b"plain"
        assert (await client.answer()).body == b"/b|"
        await client.send(request("/b"))
        assert (await client.answer()).body == b"other"


async def test_while_draining_what_l2_has_is_the_last_answer() -> None:
    flow = with_l2(a=plain_hit())
    flow.answers_l2 = False
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/a"))
        await settle()
        finishing = asyncio.gather(served.listener.finish(5))
        await settle()
        assert not finishing.done()
        flow.waiting.pop()()
        given = await client.answer()

        assert (given.body, given.first("connection")) == (b"/a|", b"close")
        assert await client.is_closed()
        await finishing


@pytest.mark.parametrize("has", [True, False])
async def test_a_client_that_leaves_while_l2_is_asked_leaves_nothing(has: bool) -> None:
    flow = with_l2(a=plain_hit() if has else None)
    flow.answers_l2 = False
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/a"))
        await settle()
        client.reset()
        await served.listener._connections.wait_until_none(5)
        flow.waiting.pop()()
        (record,) = await served.records.until(1)

        assert (record.sent, record.complete) == (0, False)


async def test_a_client_that_ends_while_l2_is_asked_gets_its_answer() -> None:
    flow = with_l2(a=plain_hit())
    flow.answers_l2 = False
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request("/a"))
        client.send_eof()
        await settle()
        flow.waiting.pop()()

        assert (await client.answer()).body == b"plain"
        assert await client.is_closed()


async def test_a_slow_client_is_waited_for_behind_l2() -> None:
    flow = with_l2(a=plain_hit(b"x" * 5_000_000))
    async with serving(flow) as served, connected(served.where, receive_buffer=4096) as client:
        await client.send(request("/a"))
        await settle()
        (connection,) = served.listener._connections.open
        assert connection.is_answering
        await client.send(request("/a"))

        assert [(await client.answer()).body for _ in range(2)] == [b"x" * 5_000_000, b"/a|"]


# Whose heads are left to the whole lane.


@pytest.mark.parametrize("host", ["a b", "a/b", "", "a:b", "a@b"])
async def test_a_faulty_host_is_refused(host: str) -> None:
    flow = flow_with(a=plain_hit())
    async with serving(flow) as served, connected(served.where) as client:
        assert (await ask(client)).body == b"plain"
        await client.send(request("/a", host=host))

        assert (await client.answer()).status == 400
        assert served.refused() == {"host": 1}


async def test_a_head_above_the_limit_is_refused_though_its_names_are_known() -> None:
    async with serving(flow_with(a=plain_hit()), head=4096) as served, connected(served.where) as client:
        assert (await ask(client, "X: 1")).body == b"plain"
        await client.send(request("/a", "X: " + "x" * 5000))

        assert (await client.answer()).status == 431
        assert await client.is_closed()


async def test_a_head_just_at_the_limit_is_answered() -> None:
    async with serving(flow_with(a=plain_hit()), head=4096) as served, connected(served.where) as client:
        size = 4096 - len(request("/a", "X: "))

        assert (await ask(client, "X: " + "x" * size)).body == b"plain"


async def test_an_aiohttp_that_is_not_known_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lane, "_TOUCHED", ("_waiter", "_renamed"))
    with capture_logs() as lines:
        async with serving(flow_with(a=plain_hit())) as served, connected(served.where) as client:
            assert served.listener._lane is None
            assert (await ask(client)).body == b"/a|"

    (line,) = lines
    assert (line["event"], line["log_level"]) == ("plain lane off: unknown aiohttp", "warning")
    assert line["missing"] == ["_renamed"]


def test_this_aiohttp_has_what_is_touched() -> None:
    assert missing_internals() == []


@pytest.mark.parametrize("name", plain_lane._TOUCHED)
def test_each_thing_that_is_touched_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = type("Lacking", (), {other: None for other in plain_lane._TOUCHED if other != name})
    monkeypatch.setattr(plain_lane, "RequestHandler", lacking)

    assert missing_internals() == [name]
