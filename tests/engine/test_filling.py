"""Misses in two steps: which may be begun, what is stored of the answer, and who goes on with the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.engine.filling import Fill
from proxy.model import Answer, OriginFailure, OriginResponse, Outcome, Request
from proxy.model import FailureKind as Kind
from proxy.observe.tasks import spawn
from tests.support.configs import config
from tests.support.engine_fakes import Engine, FakeL2, FakeLeases, Reply, body_of, reply
from tests.support.responses import date, entry, get

GET = get(b"/a")
ANSWER = reply(has_arrived=True)


def begin(engine: Engine, request: Request = GET, **changes: Any) -> Fill | None:
    plan = engine.flow.plan(request)
    return None if engine.flow.held(plan) else engine.flow.begin_fill(plan, request, **changes)


def begun(engine: Engine, request: Request = GET, **changes: Any) -> Fill:
    fill = begin(engine, request, **changes)
    assert fill is not None
    return fill


def response(engine: Engine, answer: Reply = ANSWER) -> OriginResponse:
    return answer.respond(engine.clock())


def stored(engine: Engine) -> list[Any]:
    return [held.entry for _, held in engine.memory.entries()]


async def answered(fill: Fill, request: Request = GET) -> Answer:
    fill.go_on(request)
    return await fill.serve(request)


async def served(fill: Fill, request: Request = GET) -> bytes:
    return await body_of(await answered(fill, request))


async def test_what_is_taken_is_what_a_fetch_stores_and_answers() -> None:
    engine, other = Engine(), Engine()
    other.origin.will(ANSWER)
    answer = await other.serve(GET)
    fill = begun(engine)
    lines = fill.take(response(engine))

    assert lines == (answer.lines, answer.age) == (answer.lines, None)  # new, so it has no age to tell
    assert stored(engine) == stored(other)
    assert answer.cache_status is not None
    assert (fill.terms.route, fill.terms.outcome) == (answer.route, answer.outcome) == ("all", Outcome.MISS)
    assert fill.terms.cache_status.forward is answer.cache_status.forward
    assert fill.terms.cache_status.stored == answer.cache_status.stored
    assert len(engine.flights) == 0
    assert (await engine.serve(GET)).outcome is Outcome.HIT


async def test_an_age_is_told_once() -> None:
    engine = Engine()
    taken = begun(engine).take(response(engine, reply(b"max-age=9", (b"age", b"7"), has_arrived=True)))

    assert taken == (b"Date: %b\r\nCache-Control: max-age=9\r\n" % date(), 7)


@pytest.mark.parametrize(
    ("request_", "policy"),
    [
        (get(b"/a", (b"Cache-Control", b"no-cache")), {}),
        (get(b"/a", (b"Authorization", b"x")), {}),
        (get(b"/a", (b"Cookie", b"a=b")), {}),
        (GET, {"coalesce": {"scope": "off"}}),
        (GET, {"cache": False}),
    ],
)
async def test_what_takes_more_is_not_begun(request_: Request, policy: dict[str, Any]) -> None:
    engine = Engine(**policy)

    assert begin(engine, request_) is None
    assert len(engine.flights) == 0


async def test_what_the_origin_is_asked_for_is_the_keyed_target() -> None:
    query = {"include": ["id"], "forward": "keyed"}

    assert begun(Engine(), get(b"/a?utm=1&id=2")).target == b"/a?utm=1&id=2"
    assert begun(Engine(key={"query": query}), get(b"/a?utm=1&id=2")).target == b"/a?id=2"


async def test_what_is_there_or_under_way_is_not_begun() -> None:
    engine = Engine()
    fill = begun(engine)
    assert begin(engine) is None
    fill.take(response(engine))
    assert begin(engine) is None
    engine.step(1000)

    assert begin(engine) is not None


async def test_what_was_not_stored_lately_is_not_begun() -> None:
    engine = Engine()
    engine.origin.will(reply(b"no-store"))
    await engine.serve(GET)
    assert begin(engine) is None
    engine.step(11)

    assert begin(engine) is not None


async def test_l2_has_to_be_asked_first() -> None:
    engine = Engine(l2=FakeL2())
    assert begin(engine) is None
    assert begin(engine, found=entry()) is None

    assert begin(engine, found=None) is not None


async def test_nothing_is_begun_while_the_origin_is_not_to_be_exposed() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2, on_error="shed")
    l2.is_open = True
    assert begin(engine, found=None) is None
    l2.is_open = False

    assert begin(engine, found=None) is not None


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"no-store", has_arrived=True),
        reply(b"", has_arrived=True),
        reply(has_arrived=True, status=304),
        reply(has_arrived=True, status=206),
        reply(has_arrived=False),
        reply(has_arrived=True, pieces=(b"x" * 600_000,)),
    ],
)
async def test_what_is_not_taken_changes_nothing(answer: Reply) -> None:
    engine = Engine()
    fill = begun(engine)
    before = engine.metrics.exposition()

    assert fill.take(response(engine, answer)) is None
    assert stored(engine) == []
    assert engine.metrics.exposition() == before
    assert len(engine.flights) == 1


async def test_what_was_purged_meanwhile_is_not_taken() -> None:
    engine = Engine()
    fill = begun(engine)
    engine.log.purge()

    assert fill.take(response(engine)) is None
    assert stored(engine) == []
    assert not engine.metrics.not_stored.values


async def test_who_joins_gets_what_is_taken() -> None:
    engine = Engine()
    fill = begun(engine)
    joined = spawn("asking", engine.serve(GET))
    await asyncio.sleep(0)
    fill.take(response(engine))

    assert (await joined).outcome is Outcome.COLLAPSED
    assert not engine.origin.requests


async def test_who_joins_with_another_variant_asks_for_itself() -> None:
    engine = Engine()
    asks = [get(b"/a", (b"X-Version", version)) for version in (b"1", b"2")]
    fill = begun(engine, asks[0])
    same, other = [spawn("asking", engine.serve(request)) for request in asks]
    await asyncio.sleep(0)
    fill.take(response(engine, reply(b"max-age=9", (b"Vary", b"X-Version"), has_arrived=True)))

    assert (await same).outcome is Outcome.COLLAPSED
    assert (await other).outcome is Outcome.MISS
    assert engine.origin.requests == [asks[1]]


async def test_what_is_taken_ends_the_time_in_which_the_origin_is_not_asked() -> None:
    engine = Engine(ttl="1s", respect_origin=False, stale_if_error="100s")
    engine.origin.will(OriginFailure(Kind.RESET, "gone"))
    await engine.serve(GET)  # leaves a mark
    assert begun(engine).take(response(engine)) is not None
    engine.clock.step(2)  # stale now; the mark would stand, as the other clock does
    engine.origin.will(reply())

    assert (await engine.serve(GET)).outcome is not Outcome.STALE
    assert len(engine.origin.requests) == 2


async def test_serving_goes_on_in_the_same_flight() -> None:
    engine = Engine()
    fill = begun(engine)
    joined = spawn("asking", engine.serve(GET))
    await asyncio.sleep(0)
    asked = get(b"/a", (b"X-A", b"1"))

    assert await served(fill, asked) == b"body"
    assert (await joined).outcome is Outcome.COLLAPSED
    assert engine.origin.requests == [asked]
    assert len(engine.flights) == 0


async def test_a_failure_is_shared_too() -> None:
    engine = Engine()
    engine.origin.will(OriginFailure(Kind.RESET, "gone"))
    fill = begun(engine)
    joined = spawn("asking", engine.serve(GET))
    await asyncio.sleep(0)

    assert (await answered(fill)).status == 502
    assert (await joined).status == 502


async def test_other_routes_have_other_terms() -> None:
    engine = Engine()
    terms = begun(engine).terms
    assert begun(engine, get(b"/b")).terms is terms
    engine.flow.use(config(routes=[engine.route]))

    assert begun(engine, get(b"/c")).terms is not terms


async def claimed(fill: Fill) -> None:
    done = asyncio.Event()
    fill.claim(done.set)
    await done.wait()


def in_fleet() -> tuple[Engine, FakeLeases]:
    l2 = FakeL2()
    leases = FakeLeases(l2)
    return Engine(l2=l2, leases=leases), leases


async def test_with_the_lease_in_hand_the_origin_may_be_asked() -> None:
    engine, leases = in_fleet()
    fill = begun(engine, found=None)
    assert not fill.is_ready
    await claimed(fill)
    assert fill.is_ready
    assert len(leases.holders) == 1
    engine.log.purge()  # no news to a fetch that begins now
    assert fill.take(response(engine)) is None

    fill = begun(engine, get(b"/b"), found=None)
    engine.log.purge()
    await claimed(fill)
    assert fill.take(response(engine)) is not None
    assert len(leases.holders) == 1
    assert engine.metrics.leases.get("all", "held") == 2


async def test_a_lease_that_was_claimed_is_not_claimed_again() -> None:
    engine, leases = in_fleet()
    fill = begun(engine, found=None)
    await claimed(fill)

    assert await served(fill) == b"body"
    assert not leases.holders
    assert engine.metrics.leases.get("all", "held") == 1


async def test_what_is_taken_is_known_to_have_been_fetched_here_since_the_lease() -> None:
    engine, _ = in_fleet()
    fill = begun(engine, found=None)
    engine.monotonic.step(7)
    await claimed(fill)
    began_at = engine.monotonic()
    engine.monotonic.step(5)
    fill.take(response(engine))
    (held,) = [held for _, held in engine.memory.entries()]

    assert held.began_at == began_at


async def test_the_lease_is_held_until_l2_has_what_was_taken() -> None:
    engine, leases = in_fleet()
    assert engine.l2 is not None
    engine.l2.unwritten = []
    fill = begun(engine, found=None)
    await claimed(fill)
    fill.take(response(engine))
    assert len(leases.holders) == 1
    for written in engine.l2.unwritten:
        written(True)

    assert not leases.holders
    assert not leases.lone


async def test_no_lease_is_asked_for_while_the_log_cannot_be_read() -> None:
    engine, _ = in_fleet()
    fill = begun(engine, found=None)
    engine.log.is_synced = False
    told: list[bool] = []
    fill.claim(lambda: told.append(fill.is_ready))

    assert told == [False]


@pytest.mark.parametrize("trouble", ["down", "lone", "unsynced"])
async def test_without_a_lease_serving_goes_on(trouble: str) -> None:
    engine, leases = in_fleet()
    fill = begun(engine, found=None)
    leases.is_down = trouble == "down"
    engine.log.is_synced = trouble != "unsynced"
    if trouble == "lone":
        leases.lone[engine.flow.plan(GET).digest] = 1.0
    await claimed(fill)

    assert not fill.is_ready
    assert await served(fill) == b"body"
    assert engine.metrics.leases.get("all", "lone" if trouble == "lone" else "unavailable") == 1
    assert not leases.holders


async def test_what_l2_has_got_meanwhile_is_shared() -> None:
    engine, leases = in_fleet()
    assert engine.l2 is not None
    await engine.serve(GET)
    (entry,) = stored(engine)
    engine.memory.clear()
    engine.l2.entries.clear()
    fill = begun(engine, found=None)
    engine.l2.entries[engine.flow.plan(GET).digest] = entry
    await claimed(fill)

    assert not fill.is_ready
    assert await served(fill) == b"body"
    assert len(engine.origin.requests) == 1
    assert engine.metrics.leases.get("all", "shared") == 1
    assert not leases.holders


async def test_another_replicas_lease_is_waited_for() -> None:
    engine, leases = in_fleet()
    leases.holders.add(engine.flow.plan(GET).digest)
    fill = begun(engine, found=None)
    await claimed(fill)
    assert not fill.is_ready
    serving = spawn("asking", served(fill))
    await engine.pause.begun()
    leases.holders.clear()
    engine.pause.end()

    assert await serving == b"body"
    assert engine.metrics.leases.get("all", "takeover") == 1
