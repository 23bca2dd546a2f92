"""What the plain lane asks of the flow: what `try_hit` would say, in one step and without a request."""

from __future__ import annotations

import asyncio

import pytest

from proxy.engine.plan import Plan
from proxy.engine.request_flow import Lasting
from proxy.model import (
    Entry,
    FieldLine,
    Held,
    Hit,
    OriginResponse,
    Outcome,
    Part,
    StoredResponse,
    Validity,
    VaryRecord,
)
from tests.support.engine_fakes import Engine, FakeL2, Reply, reply
from tests.support.responses import NOW, entry
from tests.support.routing import get

SHARED = b"public, max-age=100"
COOKIE = (b"Cookie", b"a=b")


async def filled(*lines: FieldLine, control: bytes = SHARED, **policy: object) -> Engine:
    engine = Engine(**policy)
    engine.origin.will(reply(control, *lines))
    await engine.ask()
    return engine


def hit_for(engine: Engine, plan: Plan) -> Hit | None:
    """As the lane asks."""
    held = engine.flow.held(plan)
    return None if held is None else engine.flow.plain_hit(plan, held)


def plain(engine: Engine, *lines: FieldLine, method: str = "GET") -> Hit | None:
    return hit_for(engine, engine.flow.plan(get(b"/", *lines, method=method)))


async def test_it_is_what_try_hit_answers_with() -> None:
    engine = await filled()
    engine.step(30)

    hit, answer = plain(engine), engine.flow.try_hit(get())

    assert hit is not None
    assert answer is not None
    assert (hit.age, hit.ttl, hit.detail, hit.outcome, hit.route, hit.status) == (
        answer.age,
        answer.cache_status.ttl,
        answer.cache_status.detail,
        answer.outcome,
        answer.route,
        answer.status,
    )
    assert hit.stored.body == answer.body == b"body"


async def test_an_absence_is_one_too() -> None:
    engine = Engine(negative={404: "30s"})
    engine.origin.will(reply(b"", status=404))
    await engine.ask()

    hit = plain(engine)

    assert hit is not None
    assert (hit.outcome, hit.detail) == (Outcome.NEGATIVE, "negative")


@pytest.mark.parametrize("line", [COOKIE, (b"Authorization", b"x"), (b"Cache-Control", b"max-age=50")])
async def test_what_asks_for_more_is_decided_with_care(line: FieldLine) -> None:
    engine = await filled()

    assert plain(engine, line) is not None


@pytest.mark.parametrize(
    ("line", "control"),
    [
        ((b"Authorization", b"x"), b"max-age=100"),
        ((b"Cache-Control", b"no-cache"), SHARED),
        ((b"Cache-Control", b"max-age=10"), SHARED),
    ],
)
async def test_what_it_may_not_answer_takes_the_whole_way(line: FieldLine, control: bytes) -> None:
    engine = await filled(control=control)
    engine.step(20)

    assert plain(engine, line) is None


async def test_a_bypass_an_expired_and_a_missing_answer_are_none() -> None:
    engine = await filled()

    assert plain(engine, method="POST") is None
    assert hit_for(engine, engine.flow.plan(get(b"/other"))) is None
    engine.step(101)
    assert plain(engine) is None


async def test_an_invalidated_answer_is_none() -> None:
    engine = await filled()
    engine.log.purge()

    assert plain(engine) is None


async def test_variants_are_chosen_by_the_whole_request() -> None:
    engine = await filled((b"Vary", b"X"))

    assert plain(engine) is None
    assert engine.flow.try_hit(get()) is not None


async def test_after_l1_ttl_l2_is_asked_first() -> None:
    engine = await filled(l2=FakeL2(), l1_ttl="10s")
    assert plain(engine) is not None

    engine.step(11)

    assert plain(engine) is None


def lasting(engine: Engine) -> Lasting | None:
    plan = engine.flow.plan(get())
    hit = hit_for(engine, plan)
    assert hit is not None
    return engine.flow.lasting(plan, hit)


def lasts(engine: Engine, lasting: Lasting | None) -> bool:
    assert lasting is not None
    return engine.flow.still_lasts(engine.flow.plan(get()), lasting)


async def test_a_hit_lasts_until_its_age_changes() -> None:
    engine = await filled()
    engine.step(0.5)
    hit = lasting(engine)

    assert lasts(engine, hit)
    engine.step(0.49)
    assert lasts(engine, hit)
    engine.step(0.02)
    assert not lasts(engine, hit)


async def test_asking_whether_it_lasts_is_a_use() -> None:
    engine = await filled(idle="2s")
    engine.step(1.1)
    assert lasts(engine, lasting(engine))
    engine.step(1.1)
    hit = lasting(engine)
    engine.step(0.7)
    assert lasts(engine, hit)
    engine.step(1.9)
    assert plain(engine) is not None
    engine.step(2.1)
    assert plain(engine) is None


async def test_a_hit_lasts_no_longer_than_the_log_says() -> None:
    engine = await filled()
    engine.step(0.5)
    hit = lasting(engine)
    assert lasts(engine, hit)
    engine.log.purge()

    assert not lasts(engine, hit)


async def test_a_hit_does_not_last_while_the_log_is_behind() -> None:
    engine = await filled()
    engine.step(0.5)
    hit = lasting(engine)
    assert lasts(engine, hit)
    engine.log.is_synced = False

    assert not lasts(engine, hit)
    assert lasting(engine) is None


async def test_a_hit_ends_with_its_copy() -> None:
    engine = await filled()
    engine.step(0.5)
    hit = lasting(engine)
    assert lasts(engine, hit)
    held = engine.memory.peek(engine.flow.plan(get()).digest, NOW)
    assert held is not None
    engine.memory.put(engine.flow.plan(get()).digest, held.entry, NOW)

    assert not lasts(engine, hit)


async def test_a_hit_lasts_no_longer_than_l1_may_answer_alone() -> None:
    engine = await filled(l2=FakeL2(), l1_ttl="10.5s")
    engine.step(10.25)
    hit = lasting(engine)
    engine.step(0.24)
    assert lasts(engine, hit)
    engine.step(0.02)

    assert not lasts(engine, hit)
    assert plain(engine) is None


async def test_who_asks_for_more_is_answered_anew_each_time() -> None:
    engine = await filled()
    plan = engine.flow.plan(get(b"/", (b"Cache-Control", b"max-age=50")))
    hit = hit_for(engine, plan)
    assert hit is not None

    assert engine.flow.lasting(plan, hit) is None


@pytest.mark.parametrize("is_there", [True, False])
async def test_what_has_left_l1_since_does_not_last(is_there: bool) -> None:
    engine = await filled()
    plan = engine.flow.plan(get())
    hit = hit_for(engine, plan)
    assert hit is not None
    engine.memory.drop(plan.digest, "invalidated")
    if is_there:
        engine.memory.put(plan.digest, entry(), NOW)

    assert engine.flow.lasting(plan, hit) is None


class SlowReply(Reply):
    """Took ten seconds."""

    def respond(self, now: float) -> OriginResponse:
        response = super().respond(now)
        response.requested_at = now - 10
        return response


async def test_an_early_refresh_is_rolled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(early_refresh=True)
    engine.origin.will(SlowReply())
    await engine.ask()
    engine.step(80)
    rolls = iter([0.999, 0.0])
    monkeypatch.setattr(engine.flow, "_dice", lambda: next(rolls))
    plan = engine.flow.plan(get())

    assert hit_for(engine, plan) is None
    assert (await engine.flow.serve(get(), plan)).outcome is Outcome.HIT
    await engine.settle()
    assert len(engine.origin.requests) == 2


async def test_conditions_choose_between_the_answer_and_a_304() -> None:
    engine = await filled((b"ETag", b'"1"'))
    hit = plain(engine)
    assert hit is not None

    assert engine.flow.is_not_modified(get(b"/", (b"If-None-Match", b'"1"')), hit)
    assert not engine.flow.is_not_modified(get(b"/", (b"If-None-Match", b'"2"')), hit)
    hit.is_not_modified = True
    assert hit.status == 304


async def test_the_fields_that_may_tell_are_those_of_all_routes() -> None:
    engine = Engine(key={"headers": ["X-Key"]}, bypass_when={"headers": ["X-Preview"]})

    told = engine.flow.telling_fields

    assert {b"x-key", b"x-preview", b"cookie", b"authorization", b"x-forwarded-host"} <= told
    assert b"accept" not in told


async def test_an_unsafe_request_waits_until_the_others_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, order = Engine(), []

    async def tell() -> None:
        await asyncio.sleep(0)
        order.append("told")

    monkeypatch.setattr(engine.log, "purge_soon", lambda _selectors: tell())

    await engine.serve(get(b"/a", method="POST"))
    order.append("answered")

    assert order == ["told", "answered"]


# Where L2 is asked.


class Told:
    """What L2 is asked for a plan, and what came of it."""

    def __init__(self, engine: Engine, *lines: FieldLine, method: str = "GET") -> None:
        self.engine, self.request = engine, get(b"/", *lines, method=method)
        self.plan = engine.flow.plan(self.request)
        self.found: list[Entry | None] = []
        self.is_asked = engine.flow.ask_l2(self.plan, engine.flow.held(self.plan), self.found.append)

    async def hit(self) -> Hit | None:
        """After the answer of L2."""
        await asyncio.sleep(0)
        (found,) = self.found
        return self.engine.flow.plain_hit_l2(self.plan, found)


async def in_l2(*lines: FieldLine, control: bytes = SHARED, **policy: object) -> Engine:
    """Held there alone."""
    engine = await filled(*lines, control=control, l2=FakeL2(), **policy)
    await engine.settle()
    engine.memory.clear()
    return engine


async def test_what_l2_has_is_what_serve_answers_with() -> None:
    engine, other = await in_l2(), await in_l2()
    for each in (engine, other):
        each.step(30)

    hit, answer = await Told(engine).hit(), await other.ask()

    assert hit is not None
    assert answer.cache_status is not None
    assert (hit.age, hit.ttl, hit.detail, hit.outcome, hit.route) == (
        answer.age,
        answer.cache_status.ttl,
        answer.cache_status.detail,
        answer.outcome,
        answer.route,
    )
    assert (hit.outcome, hit.detail) == (Outcome.HIT_L2, "l2")
    assert plain(engine) is not None  # back-filled
    assert plain(other) is not None


async def test_without_an_l2_nobody_is_asked() -> None:
    assert not Told(Engine()).is_asked


async def test_what_bypasses_is_not_looked_up() -> None:
    assert not Told(Engine(l2=FakeL2()), method="POST").is_asked


async def test_where_a_refresh_is_rolled_for_serve_asks() -> None:
    assert not Told(Engine(l2=FakeL2(), early_refresh=True)).is_asked


async def test_an_l2_that_is_down_is_not_asked() -> None:
    l2 = FakeL2()
    l2.is_open = True
    assert not Told(Engine(l2=l2)).is_asked


async def test_what_l1_has_a_say_in_is_serves() -> None:
    engine = await filled(l2=FakeL2(), l1_ttl="10s", stale_while_revalidate="1h")
    assert not Told(engine).is_asked

    engine.step(10)
    assert not Told(engine).is_asked
    engine.step(1)
    assert Told(engine).is_asked


async def test_variants_are_looked_up_by_serve() -> None:
    engine = await filled((b"Vary", b"X"), l2=FakeL2(), l1_ttl="10s")
    engine.step(11)

    assert not Told(engine).is_asked


@pytest.mark.parametrize("found", [None, VaryRecord((b"x",), (), NOW + 99), entry(part=Part(0, 3, 9))])
async def test_what_is_no_whole_response_is_serves(found: Entry | None) -> None:
    engine = Engine(l2=FakeL2())

    assert engine.flow.plain_hit_l2(engine.flow.plan(get()), found) is None
    assert len(engine.memory) == 0


async def test_a_purge_while_l2_answers_is_heeded() -> None:
    engine = await in_l2()
    told = Told(engine)
    engine.log.purge()

    assert await told.hit() is None
    assert len(engine.memory) == 0


async def test_what_has_ended_in_l2_is_serves() -> None:
    engine = await in_l2()
    engine.step(101)

    assert await Told(engine).hit() is None


async def test_what_l1_got_meanwhile_is_newer() -> None:
    engine = await in_l2()
    told = Told(engine)
    await asyncio.sleep(0)
    (found,) = told.found
    assert isinstance(found, StoredResponse)
    newer = found.but(received_at=found.received_at + 1)
    held = engine.memory.put(told.plan.digest, newer, engine.clock())

    assert engine.flow.plain_hit_l2(told.plan, found) is None
    assert engine.memory.peek(told.plan.digest, engine.clock()) is held


@pytest.mark.parametrize("lane", ["plain", "whole"])
async def test_what_l1_has_too_is_renewed_there(lane: str) -> None:
    engine = await filled(l2=FakeL2(), l1_ttl="10s", idle="20s")
    held = copy_of(engine)
    held.idle = None
    engine.step(11)

    if lane == "plain":
        hit = await Told(engine).hit()
        assert hit is not None
        assert (hit.outcome, hit.detail, hit.age) == (Outcome.HIT_L2, "l2", 11)
    else:
        assert (await engine.ask()).outcome is Outcome.HIT_L2

    assert copy_of(engine) is held
    assert (held.kept_at, held.idle) == (engine.clock(), 20.0)
    assert engine.metrics.l1_evictions.get("replaced") == 0
    assert not Told(engine).is_asked  # for the next ten seconds


def copy_of(engine: Engine) -> Held:
    ((_, held),) = engine.memory.entries()
    return held


async def test_what_l1_has_too_is_judged_as_its_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await filled(l2=FakeL2(), l1_ttl="10s")
    engine.step(11)
    judged: list[Held] = []

    def judge_held(held: Held) -> Validity:
        judged.append(held)
        return Validity.DEAD

    monkeypatch.setattr(engine.log, "judge_held", judge_held)
    told, kept_at = Told(engine), copy_of(engine).kept_at

    assert await told.hit() is None
    assert judged == [copy_of(engine)]
    assert copy_of(engine).kept_at == kept_at  # L2 is asked again


async def test_what_was_purged_while_l2_answers_is_dead_in_l1_too() -> None:
    engine = await filled(l2=FakeL2(), l1_ttl="10s")
    engine.step(11)
    told = Told(engine)
    engine.log.purge()

    assert await told.hit() is None


async def test_serve_does_not_ask_again_for_what_was_found() -> None:
    engine = await in_l2()
    l2 = engine.l2
    assert l2 is not None
    told = Told(engine)
    await asyncio.sleep(0)
    l2.asked.clear()

    answer = await engine.flow.serve(told.request, told.plan, told.found[0])

    assert (answer.outcome, l2.asked) == (Outcome.HIT_L2, [])


async def test_serve_goes_to_the_origin_where_nothing_was_found() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    engine.origin.will(reply(SHARED))

    answer = await engine.flow.serve(get(), engine.flow.plan(get()), None)

    assert answer.outcome is Outcome.MISS


async def test_what_was_found_is_of_no_use_once_variants_are_known() -> None:
    engine, request = Engine(l2=FakeL2()), get(b"/", (b"X", b"1"))
    plan = engine.flow.plan(request)
    engine.origin.will(reply(SHARED, (b"Vary", b"X")))
    await engine.ask(b"/", (b"X", b"1"))

    engine.step(61)
    answer = await engine.flow.serve(request, plan, entry(body=b"of the primary key"))

    assert (answer.outcome, answer.body) == (Outcome.HIT_L2, b"body")
