"""The life of a request through stores, rules, origin and log."""

from __future__ import annotations

import pytest

from proxy.model import Forward, Outcome, Reason, Request, Validity, VaryRecord
from tests.support.configs import config
from tests.support.engine_fakes import Engine, FakeL2, body_of, detail_of, reply
from tests.support.responses import NOW
from tests.support.routing import get

WINDOW = b"max-age=100, stale-while-revalidate=50"


async def test_a_miss_is_stored_and_then_hit_without_waiting() -> None:
    engine = Engine()
    assert engine.flow.try_hit(get()) is None
    first = await engine.ask()
    assert (first.outcome, first.cache_status.forward, first.cache_status.stored) == (
        Outcome.MISS,
        Forward.URI_MISS,
        True,
    )
    engine.step(30)
    hit = engine.flow.try_hit(get())
    assert hit is not None
    assert (hit.outcome, hit.body, hit.age) == (Outcome.HIT, b"body", 30)
    assert (hit.cache_status.ttl, hit.cache_status.detail, hit.route) == (70, "l1", "all")


async def test_a_request_that_bypasses_is_no_hit_and_passes() -> None:
    engine = Engine()
    posted = get(method="POST")
    assert engine.flow.try_hit(posted) is None
    answer = await engine.serve(posted)
    assert (answer.outcome, answer.cache_status.forward, detail_of(answer)) == (
        Outcome.BYPASS,
        Forward.METHOD,
        "method",
    )
    assert await body_of(answer) == b"body"


async def test_purge_is_answered_here_where_networks_are_named() -> None:
    engine = Engine(sections={"data_purge": {"from": ["10.0.0.0/8"]}})
    answer = await engine.serve(get(method="PURGE", peer="10.1.2.3"))
    assert (answer.status, len(engine.log.purged), engine.origin.requests) == (200, 1, [])


async def test_a_new_configuration_counts_from_the_next_request_on() -> None:
    engine = Engine()
    await engine.ask()
    engine.flow.use(config(routes=[{"name": "off", "match": {"path": "/**"}, "cache": False}]))
    answer = await engine.ask()
    assert (answer.outcome, answer.route, detail_of(answer)) == (Outcome.BYPASS, "off", "route")


@pytest.mark.parametrize("overdue", [0, 49])
async def test_stale_while_revalidate_serves_stale_and_refreshes_once(overdue: int) -> None:
    engine = Engine()
    engine.origin.will(reply(WINDOW), reply(pieces=(b"new",)))
    await engine.ask()
    engine.step(100 + overdue)
    engine.origin.gate.clear()
    answers = [await engine.ask() for _ in range(10)]
    await engine.origin.asked(2)
    assert {(answer.outcome, answer.body) for answer in answers} == {(Outcome.UPDATING, b"body")}
    engine.origin.gate.set()
    await engine.settle()
    assert len(engine.origin.requests) == 2
    assert (await engine.ask()).body == b"new"


async def test_after_the_window_the_client_waits_for_the_origin() -> None:
    engine = Engine()
    engine.origin.will(reply(WINDOW), reply(pieces=(b"new",)))
    await engine.ask()
    engine.step(150)
    answer = await engine.ask()
    assert (answer.outcome, answer.body, answer.cache_status.forward) == (
        Outcome.EXPIRED,
        b"new",
        Forward.STALE,
    )


async def test_a_missing_thing_is_remembered() -> None:
    engine = Engine(negative={404: "30s"})
    engine.origin.will(reply(b"", status=404))
    await engine.ask()
    answer = await engine.ask()
    assert (answer.status, answer.outcome, detail_of(answer)) == (404, Outcome.NEGATIVE, "negative")
    engine.step(31)
    await engine.ask()
    assert len(engine.origin.requests) == 2


async def test_a_304_renews_the_stored_response() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", (b"ETag", b'"1"')), reply(status=304, pieces=()))
    await engine.ask()
    engine.step(150)
    answer = await engine.ask()
    assert engine.origin.requests[1].fields.first(b"if-none-match") == b'"1"'
    assert (answer.status, answer.body, answer.outcome) == (200, b"body", Outcome.REVALIDATED)
    assert (answer.cache_status.forward_status, answer.cache_status.ttl) == (304, 100)
    assert (await engine.ask()).outcome is Outcome.HIT


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (get(method="HEAD"), "method"),
        (get(b"/", (b"Range", b"bytes=0-1,3-4")), "range"),
        (get(b"/", (b"Range", b"lines=0-1")), "range"),
    ],
)
async def test_head_and_unclear_ranges_pass_as_they_are_on_a_miss(request_: Request, reason: str) -> None:
    engine = Engine()
    answer = await engine.serve(request_)
    assert engine.origin.requests == [request_]
    assert (answer.outcome, detail_of(answer), len(engine.memory)) == (Outcome.MISS, reason, 0)


async def test_a_range_of_a_stored_response_is_answered_here() -> None:
    engine = Engine()
    await engine.ask()
    answer = await engine.ask(b"/", (b"Range", b"bytes=1-2"))
    assert (answer.status, answer.body, answer.length) == (206, b"od", 2)


async def test_a_conditional_client_gets_304_made_here_on_a_miss() -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", (b"ETag", b'"1"')))
    answer = await engine.ask(b"/", (b"If-None-Match", b'"1"'))
    assert b"if-none-match" not in engine.origin.requests[0].fields
    assert (answer.status, answer.body, answer.length) == (304, b"", None)
    assert (await engine.ask()).body == b"body"


async def test_max_variants_bounds_the_variants_the_oldest_going_first() -> None:
    engine = Engine(max_variants=2)
    engine.origin.will(reply(b"max-age=100", (b"Vary", b"Accept-Language")))
    for language in (b"a", b"b", b"c", b"b", b"c"):
        await engine.ask(b"/", (b"Accept-Language", language))
    assert len(engine.origin.requests) == 3
    answer = await engine.ask(b"/", (b"Accept-Language", b"a"))
    assert (answer.cache_status.forward, len(engine.origin.requests)) == (Forward.VARY_MISS, 4)


async def test_an_l2_hit_is_kept_in_l1() -> None:
    l2 = FakeL2()
    await Engine(l2=l2).ask()
    engine = Engine(l2=l2)
    answer = await engine.ask()
    assert (answer.outcome, answer.body, detail_of(answer)) == (Outcome.HIT_L2, b"body", "l2")
    assert (await engine.ask()).outcome is Outcome.HIT
    assert engine.origin.requests == []


async def test_a_copy_older_than_l1_ttl_asks_l2_again() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2, l1_ttl="10s")
    await engine.ask()
    engine.step(10)
    assert (await engine.ask()).outcome is Outcome.HIT
    engine.step(1)
    assert engine.flow.try_hit(get()) is None
    assert (await engine.ask()).outcome is Outcome.HIT_L2


async def test_a_copy_older_than_l1_ttl_stands_where_l2_has_nothing() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2, l1_ttl="10s")
    await engine.ask()
    l2.entries.clear()
    engine.step(11)
    asked = len(l2.asked)
    assert [(await engine.ask()).outcome for _ in range(3)] == [Outcome.HIT] * 3
    assert (len(l2.asked) - asked, len(engine.origin.requests)) == (1, 1)


async def test_a_newer_copy_stands_where_l2_has_an_older_one() -> None:
    """Its write to L2 was lost, or it came while L2 was being asked: of two, the newer one counts."""
    l2 = FakeL2()
    await Engine(l2=l2).ask()
    older = dict(l2.entries)
    l2.entries.clear()
    engine = Engine(l2=l2, l1_ttl="10s")
    engine.step(1)
    engine.origin.will(reply(pieces=(b"new",)))
    await engine.ask()
    l2.entries = older
    engine.step(11)
    asked = len(l2.asked)
    answers = [await engine.ask() for _ in range(2)]
    assert [(answer.outcome, answer.body) for answer in answers] == [(Outcome.HIT, b"new")] * 2
    assert len(l2.asked) - asked == 1


async def test_a_vary_record_that_came_meanwhile_is_no_newer_copy() -> None:
    l2 = FakeL2()
    await Engine(l2=l2).ask()
    engine = Engine(l2=l2)
    record = VaryRecord((b"accept-language",), (), NOW + 100)

    def keep_record() -> None:
        engine.memory.put(next(iter(l2.entries)), record, NOW)

    l2.on_look_up = keep_record
    assert (await engine.ask()).outcome is Outcome.HIT_L2


async def test_a_purge_while_l2_answers_counts() -> None:
    l2 = FakeL2()
    await Engine(l2=l2).ask()
    engine = Engine(l2=l2)
    l2.on_look_up = engine.log.purge
    engine.origin.will(reply(pieces=(b"new",)))
    assert (await engine.ask()).body == b"new"


async def test_a_back_fill_keeps_the_writers_place_in_the_log() -> None:
    """Our own may be ahead of records that we have not read, which then would not reach the copy."""
    l2 = FakeL2()
    writer = Engine(l2=l2)
    await writer.ask()
    born = writer.log.capture().born
    engine = Engine(l2=l2)
    engine.log.purge()
    engine.log.forced = Validity.ALIVE
    engine.origin.will(reply(pieces=(b"new",)))
    assert (await engine.ask()).body == b"body"
    ((_, held),) = engine.memory.entries()
    assert held.entry.born == born  # type: ignore[union-attr]
    assert held.began_at is None
    engine.log.forced = None
    l2.entries.clear()
    assert (await engine.ask()).body == b"new"


async def test_a_hit_says_that_the_log_is_behind() -> None:
    engine = Engine()
    await engine.ask()
    engine.log.is_synced = False
    assert detail_of(await engine.ask()) == "unsynced"


async def test_a_dead_copy_is_a_miss() -> None:
    engine = Engine()
    await engine.ask()
    engine.log.forced = Validity.DEAD
    assert engine.flow.try_hit(get()) is None


async def test_an_assumed_lifetime_is_not_shared_with_cookies() -> None:
    engine = Engine(ttl="60s")
    engine.origin.will(reply(b""))
    await engine.ask()
    answer = await engine.ask(b"/", (b"Cookie", b"user=1"))
    assert (answer.outcome, answer.cache_status.forward, detail_of(answer)) == (
        Outcome.BYPASS,
        Forward.BYPASS,
        Reason.COOKIE.value,
    )
