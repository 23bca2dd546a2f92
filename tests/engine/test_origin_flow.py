"""What a miss gets: its own fetch, another's, or what stands in when the origin fails."""

from __future__ import annotations

import asyncio

import pytest

from proxy.engine.coalescing import Ending, Flight, Released
from proxy.engine.lookup import Lookup
from proxy.model import CacheStatus, FailureKind, Forward, OriginFailure, Outcome, Reason, Validity
from tests.support.engine_fakes import REFUSED, Engine, FakeL2, detail_of, reply, turns
from tests.support.routing import get

TIMED_OUT = OriginFailure(FailureKind.RESPONSE_TIMEOUT)
ETAG = (b"ETag", b'"a"')
WINDOW = b"max-age=100, stale-while-revalidate=50"


@pytest.mark.parametrize(
    ("failure", "forward_status"),
    [(REFUSED, None), (TIMED_OUT, None), *((status, status) for status in (500, 502, 503, 504))],
)
async def test_stale_stands_in_when_the_origin_fails(
    failure: OriginFailure | int, forward_status: int | None
) -> None:
    engine = Engine()
    said = reply(b"", status=failure) if isinstance(failure, int) else failure
    engine.origin.will(reply(), said)
    await engine.ask()
    engine.step(150)
    answer = await engine.ask()
    assert (answer.status, answer.body, answer.outcome, answer.cache_status.ttl) == (
        200,
        b"body",
        Outcome.STALE,
        -50,
    )
    assert (answer.cache_status.forward_status, detail_of(answer)) == (forward_status, "stale-if-error")


@pytest.mark.parametrize("rule", [b"must-revalidate", b"proxy-revalidate", b"no-cache"])
@pytest.mark.parametrize("failure", [REFUSED, TIMED_OUT, 500, 503])
async def test_stale_never_stands_in_where_the_response_forbids_it(
    rule: bytes, failure: OriginFailure | int
) -> None:
    engine = Engine()
    said = reply(b"", status=failure) if isinstance(failure, int) else failure
    engine.origin.will(reply(b"max-age=100, " + rule, (b"ETag", b'"1"')), said)
    await engine.ask()
    engine.step(150)
    expected = failure if isinstance(failure, int) else failure.kind.status
    assert (await engine.ask()).status == expected


@pytest.mark.parametrize(("overdue", "status"), [(299, 200), (301, 502)])
async def test_stale_stands_in_within_its_window_only(overdue: int, status: int) -> None:
    engine = Engine()
    engine.origin.will(reply(b"max-age=100", (b"ETag", b'"1"')), REFUSED)
    await engine.ask()
    engine.step(100 + overdue)
    assert (await engine.ask()).status == status


async def test_a_key_that_fails_is_not_asked_for_again_at_once() -> None:
    engine = Engine()
    engine.origin.will(reply(), REFUSED)
    await engine.ask()
    engine.step(150)
    asked, *others = [await engine.ask() for _ in range(5)]
    assert ({asked.outcome} | {answer.outcome for answer in others}) == {Outcome.STALE}
    assert asked.cache_status == CacheStatus(forward=Forward.STALE, ttl=-50, detail="stale-if-error")
    assert {answer.cache_status for answer in others} == {
        CacheStatus(hit=True, ttl=-50, detail="stale-if-error")
    }
    assert len(engine.origin.requests) == 2
    engine.step(1)
    await engine.ask()
    assert len(engine.origin.requests) == 3


async def test_what_was_made_stale_is_negative_although_its_lifetime_goes_on() -> None:
    engine = Engine()
    engine.origin.will(reply(WINDOW), REFUSED)
    await engine.ask()
    engine.log.purge(soft=True)
    while_refreshed = await engine.ask()
    await engine.settle()
    after_failure = await engine.ask()
    assert while_refreshed.cache_status == CacheStatus(hit=True, ttl=-1, detail="l1")
    assert after_failure.cache_status is not None
    assert after_failure.cache_status.ttl == -1


async def test_a_failing_key_without_a_stand_in_is_asked_for_each_time() -> None:
    engine = Engine()
    engine.origin.will(REFUSED)
    assert [(await engine.ask()).status for _ in range(2)] == [502, 502]
    assert len(engine.origin.requests) == 2


async def test_a_success_ends_the_failing() -> None:
    engine = Engine()
    engine.origin.will(REFUSED, reply(b"max-age=1"))
    await engine.ask()
    await engine.ask()
    assert not engine.refresher.is_failing(engine.lookup(get()))


async def test_a_remembered_error_never_replaces_a_usable_good_entry() -> None:
    engine = Engine(negative={404: "30s", "errors": {500: "5s"}})
    engine.origin.will(reply(), reply(b"", status=500))
    await engine.ask()
    engine.step(150)
    assert [(await engine.ask()).status for _ in range(3)] == [200] * 3
    engine.step(10)
    assert (await engine.ask()).status == 200


@pytest.mark.parametrize("soft", [True, False])
async def test_a_purge_during_the_fetch_keeps_it_from_being_served_fresh(soft: bool) -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(engine.ask())
        await engine.origin.asked(1)
        engine.log.purge(soft=soft)
        engine.origin.gate.set()
    assert asked.result().body == b"body"
    assert asked.result().cache_status.stored is soft
    engine.origin.will(reply(pieces=(b"new",)))
    assert (await engine.ask()).body == b"new"
    assert len(engine.origin.requests) == 2


@pytest.mark.parametrize("soft", [True, False])
async def test_a_purge_during_a_refresh_keeps_it_from_being_served_fresh(soft: bool) -> None:
    engine = Engine()
    engine.origin.will(reply(WINDOW), reply(pieces=(b"old",)), reply(pieces=(b"new",)))
    await engine.ask()
    engine.step(120)
    engine.origin.gate.clear()
    await engine.ask()
    await engine.origin.asked(2)
    engine.log.purge(soft=soft)
    engine.origin.gate.set()
    await engine.settle()
    assert (await engine.ask()).body == b"new"


@pytest.mark.parametrize("soft", [True, False])
async def test_a_purge_during_200_fetches_never_leaves_a_stale_answer(soft: bool) -> None:
    engine = Engine()
    for number in range(200):
        old, new = b"old %d" % number, b"new %d" % number
        engine.origin.will(reply(pieces=(old,)), reply(pieces=(new,)))
        target = b"/%d" % (number % 3)
        engine.step(101)
        asked = len(engine.origin.requests)
        engine.origin.gate.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.ask(target))
            await engine.origin.asked(asked + 1)
            await turns(number % 4)
            engine.log.purge(soft=soft)
            engine.origin.gate.set()
        assert (await engine.ask(target)).body == new


@pytest.mark.parametrize("soft", [True, False])
async def test_who_asked_before_a_purge_shares_the_fetch_and_who_asks_after_does_not(soft: bool) -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"old",)), reply(pieces=(b"new",)))
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(engine.ask())
        await engine.origin.asked(1)
        before = group.create_task(engine.ask())
        await turns(3)
        engine.log.purge(soft=soft)
        after = group.create_task(engine.ask())
        await turns(3)
        engine.origin.gate.set()
    assert [task.result().body for task in (leader, before, after)] == [b"old", b"old", b"new"]


async def test_a_window_for_stale_answers_does_not_give_a_follower_what_a_soft_purge_overtook() -> None:
    engine = Engine(stale_while_revalidate="60s")
    engine.origin.will(reply(pieces=(b"old",)), reply(pieces=(b"new",)))
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(engine.ask())
        await engine.origin.asked(1)
        engine.log.purge(soft=True)
        follower = group.create_task(engine.ask())
        await turns(3)
        engine.origin.gate.set()
    assert [task.result().body for task in (leader, follower)] == [b"old", b"new"]


@pytest.mark.parametrize("validity", [Validity.DISTRUSTED, Validity.UNSYNCED])
async def test_a_follower_gets_nothing_that_the_log_no_longer_vouches_for(validity: Validity) -> None:
    engine = Engine()
    engine.origin.will(reply(pieces=(b"old",)), reply(pieces=(b"new",)))
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(engine.ask())
        await engine.origin.asked(1)
        follower = group.create_task(engine.ask())
        await turns(3)
        engine.log.forced = validity
        engine.origin.gate.set()
    assert [task.result().body for task in (leader, follower)] == [b"old", b"new"]


async def test_out_of_step_a_follower_does_not_share_what_was_purged_meanwhile() -> None:
    """Its own arrival binds it, but a fetch may be older than what this replica may be behind (R9, R15)."""
    engine = Engine()
    engine.origin.will(reply(pieces=(b"old",)), reply(pieces=(b"new",)))
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(engine.ask())
        await engine.origin.asked(1)
        follower = group.create_task(engine.ask())
        await turns(3)
        engine.log.purge()
        engine.log.is_synced = False
        engine.origin.gate.set()
    assert [task.result().body for task in (leader, follower)] == [b"old", b"new"]


async def test_a_follower_overtaken_again_and_again_flies_alone_in_the_end() -> None:
    engine = Engine()
    engine.origin.will(*(reply(b"max-age=0", (b"ETag", b'"1"')) for _ in range(20)))
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.ask()) for _ in range(8)]
        await engine.origin.asked(1)
        await turns(5)
        engine.origin.gate.set()
    assert {task.result().status for task in asked} == {200}
    assert len(engine.origin.requests) == 8


async def test_only_if_cached_is_504_on_a_miss_and_a_hit_on_a_hit() -> None:
    engine = Engine()
    line = (b"Cache-Control", b"only-if-cached")
    answer = await engine.ask(b"/", line)
    assert (answer.status, detail_of(answer), engine.origin.requests) == (504, "only-if-cached", [])
    await engine.ask()
    assert (await engine.ask(b"/", line)).outcome is Outcome.HIT


async def test_only_if_cached_can_be_ignored() -> None:
    engine = Engine(client_cache_control="ignore")
    assert (await engine.ask(b"/", (b"Cache-Control", b"only-if-cached"))).status == 200


async def test_an_l2_that_is_lost_sheds_where_the_operator_said_so() -> None:
    l2 = FakeL2()
    l2.is_open = True
    engine = Engine(l2=l2, on_error="shed")
    answer = await engine.ask()
    assert (answer.status, detail_of(answer), engine.origin.requests) == (503, "shed", [])
    assert answer.extra.startswith(b"Retry-After: ")


async def test_a_response_for_somebody_elses_authorization_is_asked_for() -> None:
    engine = Engine()
    await engine.ask()
    answer = await engine.ask(b"/", (b"Authorization", b"x"))
    assert (answer.outcome, detail_of(answer)) == (Outcome.BYPASS, "authorization")


async def test_a_response_that_is_not_stored_says_why() -> None:
    engine = Engine()
    engine.origin.will(reply(b"private"))
    answer = await engine.ask()
    assert (answer.outcome, answer.cache_status.forward, detail_of(answer)) == (
        Outcome.MISS,
        Forward.URI_MISS,
        "private",
    )


async def test_a_leader_whose_fetch_ends_with_nothing_to_share_gets_503(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()

    async def release(_: Flight, __: Lookup) -> Ending:
        return Released(Reason.NO_STORE)

    monkeypatch.setattr(engine.fetcher, "fetch", release)
    assert (await engine.ask()).status == 503


@pytest.mark.parametrize("failure", [REFUSED, 503])
async def test_cut_off_from_the_log_a_stored_response_stands_in_unvalidated(
    failure: OriginFailure | int,
) -> None:
    engine = Engine(negative={"errors": {500: "5s"}})
    said = reply(b"", status=failure) if isinstance(failure, int) else failure
    engine.origin.will(reply(b"max-age=100", (b"ETag", b'"1"')), said)
    await engine.ask()
    engine.log.is_synced, engine.log.forced = False, Validity.UNSYNCED
    answer = await engine.ask()
    assert (answer.body, answer.outcome, detail_of(answer)) == (b"body", Outcome.STALE, "unsynced")
    assert b"if-none-match" not in engine.origin.requests[1].fields


async def test_what_a_hard_purge_took_back_never_stands_in() -> None:
    engine = Engine()
    engine.origin.will(reply(), REFUSED)
    await engine.ask()
    engine.log.purge()
    assert (await engine.ask()).status == 502


async def test_what_a_soft_purge_made_stale_stands_in() -> None:
    engine = Engine()
    engine.origin.will(reply(), REFUSED)
    await engine.ask()
    engine.log.purge(soft=True)
    assert (await engine.ask()).outcome is Outcome.STALE


async def test_what_a_hard_purge_took_back_while_the_origin_failed_does_not_stand_in() -> None:
    engine = Engine()
    engine.origin.will(reply(), REFUSED)
    await engine.ask()
    engine.step(150)
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(engine.ask())
        await engine.origin.asked(2)
        engine.log.purge()
        engine.origin.gate.set()
    assert asked.result().status == 502


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_purged_while_l2_is_asked_is_not_validated(method: str) -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    engine.origin.will(reply(b"max-age=10", ETAG), reply(b"max-age=50", ETAG, length=4))
    await engine.ask()
    l2.entries.clear()
    engine.step(10)
    l2.on_look_up = engine.log.purge
    await engine.serve(get(method=method))
    l2.on_look_up = lambda: None
    assert b"if-none-match" not in engine.origin.requests[1].fields
    answer = engine.flow.try_hit(get())
    assert (answer is None) == (method == "HEAD")


async def test_a_part_that_is_purged_while_l2_is_asked_is_not_completed() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    span = (b"Content-Range", b"bytes 0-1/4")
    engine.origin.will(reply(b"max-age=10", ETAG, span, status=206, pieces=(b"bo",)), reply())
    await engine.ask(b"/", (b"Range", b"bytes=0-1"))
    l2.entries.clear()
    l2.on_look_up = engine.log.purge
    answer = await engine.ask()
    assert (answer.body, answer.cache_status.forward) == (b"body", Forward.URI_MISS)
    assert b"range" not in engine.origin.requests[1].fields


async def test_a_range_whose_base_was_purged_while_it_waited_is_not_shared() -> None:
    engine = Engine()
    part = reply(b"max-age=100", ETAG, (b"Content-Range", b"bytes 0-1/4"), status=206, pieces=(b"ne",))
    varied = reply(b"max-age=100", (b"Vary", b"X"))
    engine.origin.will(reply(b"max-age=10", ETAG), varied, part, reply(pieces=(b"new!",)))
    await engine.ask()
    engine.step(10)
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.ask(b"/", (b"X", b"1")))
        await engine.origin.asked(2)
        ranged = group.create_task(engine.ask(b"/", (b"X", b"2"), (b"Range", b"bytes=0-1")))
        plain = group.create_task(engine.ask(b"/", (b"X", b"2")))
        await turns(3)
        engine.log.purge()
        engine.origin.gate.set()
    assert engine.origin.requests[2].fields.first(b"range") == b"bytes=0-1"
    assert b"if-none-match" not in engine.origin.requests[2].fields
    assert (ranged.result().status, plain.result().status, plain.result().body) == (206, 200, b"new!")
