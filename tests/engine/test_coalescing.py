"""One fetch for all who ask: what leaders and followers get, and who is left behind (nobody)."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from proxy.engine.coalescing import Ending, Failed, Flight, Flights, Released, Streaming, Uncacheable
from proxy.engine.spool import Spool, SpoolBudget
from proxy.model import Answer, Capture, FailureKind, OriginFailure, Outcome, Reason
from tests.support.engine_fakes import REFUSED, Engine, Reply, body_of, reply, turns
from tests.support.responses import head

CAPTURE = Capture(None, 0, 0.0)
KEY = b"k" * 16
DONE = Released(Reason.NO_STORE)


def streaming() -> Streaming:
    spool = Spool(length=None, max_bytes=10, budget=SpoolBudget(10))
    return Streaming(head(), spool.reader())


def uncacheable() -> Uncacheable:
    return Uncacheable(Reply().respond(0.0), Reason.NO_STORE)


async def gathered(engine: Engine, count: int, *lines: tuple[bytes, bytes]) -> list[Answer]:
    """`count` requests for one URL that all wait before the origin answers."""
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.ask(b"/", *lines)) for _ in range(count)]
        await engine.origin.asked(1)
        await turns(5)
        engine.origin.gate.set()
    return [task.result() for task in asked]


async def test_500_requests_for_a_cold_key_make_one_origin_request_and_500_right_answers() -> None:
    engine = Engine()
    answers = await gathered(engine, 500)
    assert len(engine.origin.requests) == 1
    assert {await body_of(answer) for answer in answers} == {b"body"}
    assert [answer.outcome for answer in answers].count(Outcome.COLLAPSED) == 499
    assert {answer.status for answer in answers} == {200}


async def test_the_first_client_hanging_up_changes_nothing() -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(engine.ask())
        await engine.origin.asked(1)
        second = group.create_task(engine.ask())
        await turns(5)
        first.cancel()
        await turns(5)
        engine.origin.gate.set()
    assert await body_of(second.result()) == b"body"
    assert (await engine.ask()).outcome is Outcome.HIT
    assert len(engine.origin.requests) == 1


async def test_a_follower_hanging_up_changes_nothing() -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(engine.ask())
        await engine.origin.asked(1)
        second = group.create_task(engine.ask())
        await turns(5)
        second.cancel()
        engine.origin.gate.set()
    assert await body_of(first.result()) == b"body"


async def test_a_failing_leader_gives_every_follower_the_failure() -> None:
    engine = Engine()
    engine.origin.will(REFUSED)
    answers = await gathered(engine, 50)
    assert len(engine.origin.requests) == 1
    assert {(answer.status, answer.outcome) for answer in answers} == {(502, Outcome.ERROR)}
    assert sum(answer.cache_status.collapsed for answer in answers if answer.cache_status) == 49


async def test_an_uncacheable_error_of_the_leader_is_shared_by_its_status() -> None:
    engine = Engine()
    engine.origin.will(reply(b"", status=503))
    answers = await gathered(engine, 20)
    assert len(engine.origin.requests) == 1
    assert [answer.status for answer in answers] == [503] * 20
    assert await body_of(answers[0]) == b"body"
    assert b"waited for" in await body_of(answers[1])


async def test_a_failing_leader_gives_every_follower_the_stale_answer() -> None:
    engine = Engine()
    await engine.ask()
    engine.step(150)
    engine.origin.will(REFUSED)
    answers = await gathered(engine, 20)
    assert {(answer.status, answer.body, answer.outcome) for answer in answers} == {
        (200, b"body", Outcome.STALE)
    }
    assert len(engine.origin.requests) == 2


async def test_an_uncacheable_answer_releases_followers_and_marks_the_key() -> None:
    engine = Engine()
    engine.origin.will(reply(b"no-store"))
    await gathered(engine, 5)
    assert len(engine.origin.requests) == 5
    assert len(engine.uncacheable) == 1


async def test_whoever_comes_in_the_step_that_releases_followers_finds_the_mark() -> None:
    engine = Engine()
    engine.origin.will(reply(b"no-store"))
    engine.origin.gate.clear()
    marked: list[int] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.ask())
        await engine.origin.asked(1)
        flight = engine.flights.get(engine.lookup(engine.origin.requests[0]).flight_key())
        assert flight is not None
        flight.when_ended(lambda _: marked.append(len(engine.uncacheable)))
        engine.origin.gate.set()
    assert marked == [1]


async def test_a_fetch_whose_leader_has_left_marks_nothing() -> None:
    engine = Engine()
    engine.origin.will(reply(b"no-store"))
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(engine.ask())
        await engine.origin.asked(1)
        first.cancel()
        await turns(5)
        engine.origin.gate.set()
    await turns(5)
    assert len(engine.uncacheable) == 0


async def test_while_the_origin_answers_errors_each_burst_costs_it_one_request() -> None:
    engine = Engine()
    engine.origin.will(reply(b"", status=503))
    for bursts in (1, 2, 3):
        answers = await gathered(engine, 5)
        assert [answer.status for answer in answers] == [503] * 5
        assert len(engine.origin.requests) == bursts
    assert len(engine.uncacheable) == 0


@pytest.mark.parametrize("refused", [reply(b"no-store"), reply(b"", status=503), reply(b"", status=429)])
async def test_a_refresh_marks_nothing_whatever_it_gets(refused: Reply) -> None:
    engine = Engine(stale_while_revalidate="1h")
    await engine.ask()
    engine.step(150)
    engine.origin.will(refused)
    assert (await engine.ask()).outcome is Outcome.UPDATING
    await turns(5)
    assert len(engine.origin.requests) == 2
    assert len(engine.uncacheable) == 0


async def test_a_client_that_wants_nothing_stored_marks_nothing_for_others() -> None:
    engine = Engine(client_cache_control="honour")
    await engine.ask(b"/", (b"Cache-Control", b"no-store"))
    assert len(engine.origin.requests) == 1
    assert len(engine.uncacheable) == 0


async def test_an_answer_that_is_kept_ends_the_mark() -> None:
    engine = Engine()
    engine.origin.will(reply(b"no-store"), reply())
    await engine.ask()
    assert len(engine.uncacheable) == 1
    await engine.ask()
    assert len(engine.uncacheable) == 0
    assert (await engine.ask()).outcome is Outcome.HIT


async def test_a_marked_key_is_not_coalesced_until_the_mark_ends() -> None:
    engine = Engine()
    engine.origin.will(reply(b"no-store"), reply())
    await engine.ask()
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(engine.ask())
        await engine.origin.asked(4)
        engine.origin.gate.set()
    engine.step(200)
    engine.origin.requests.clear()
    await gathered(engine, 3)
    assert len(engine.origin.requests) == 1


async def test_different_authorization_never_shares_a_flight() -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        for user in (b"a", b"b", b"c"):
            group.create_task(engine.ask(b"/", (b"Authorization", user)))
        group.create_task(engine.ask())
        await engine.origin.asked(4)
        engine.origin.gate.set()
    asked = [request.fields.first(b"authorization") for request in engine.origin.requests]
    assert asked == [b"a", b"b", b"c", None]


async def test_equal_authorization_does_not_share_what_is_not_shared() -> None:
    engine = Engine()
    answers = await gathered(engine, 3, (b"Authorization", b"a"))
    assert [answer.status for answer in answers] == [200] * 3
    assert len(engine.origin.requests) == 3


async def test_a_shared_answer_may_be_shared_despite_authorization() -> None:
    engine = Engine()
    engine.origin.will(reply(b"public, max-age=100"))
    await gathered(engine, 3, (b"Authorization", b"a"))
    assert len(engine.origin.requests) == 1


async def test_a_follower_of_another_variant_asks_for_itself() -> None:
    engine = Engine()
    vary = (b"Vary", b"Accept-Language")
    engine.origin.will(
        reply(b"max-age=100", vary, pieces=(b"de",)), reply(b"max-age=100", vary, pieces=(b"en",))
    )
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        asked = []
        for language in (b"de", b"de", b"en"):
            asked.append(group.create_task(engine.ask(b"/", (b"Accept-Language", language))))
            await turns(3)
        engine.origin.gate.set()
    assert [await body_of(task.result()) for task in asked] == [b"de", b"de", b"en"]
    assert len(engine.origin.requests) == 2


async def test_coalescing_can_be_switched_off() -> None:
    engine = Engine(coalesce="off")
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(engine.ask())
        await engine.origin.asked(3)
        engine.origin.gate.set()
    assert len(engine.flights) == 0


@pytest.mark.parametrize("directive", [b"no-cache", b"no-store", b"max-age=0"])
async def test_a_client_that_wants_its_own_answer_flies_alone(directive: bytes) -> None:
    engine = Engine()
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(engine.ask(b"/", (b"Cache-Control", directive)))
        await engine.origin.asked(3)
        engine.origin.gate.set()


async def test_a_route_that_ignores_clients_coalesces_them_all_the_same() -> None:
    engine = Engine(client_cache_control="ignore")
    await gathered(engine, 3, (b"Cache-Control", b"no-cache"))
    assert len(engine.origin.requests) == 1


async def test_an_opened_flight_takes_no_second_opening_but_an_end() -> None:
    flight = Flight(KEY, CAPTURE)
    first = streaming()
    assert repr(flight) == f"<Flight {KEY.hex()} asking>"
    assert flight.open(first)
    assert not flight.open(streaming())
    assert repr(flight).endswith(" opened>")
    flight.end(DONE)
    flight.end(Failed(503))
    assert repr(flight).endswith(" ended>")
    assert await flight.opening() is first
    assert await flight.ending() is DONE


def test_who_is_to_be_told_of_the_end_is_told_once() -> None:
    flight = Flight(KEY, CAPTURE)
    told: list[Ending] = []
    flight.when_ended(told.append)
    flight.when_ended(told.append)
    assert told == []
    flight.end(DONE)
    flight.end(Failed(503))
    assert told == [DONE, DONE]
    flight.when_ended(told.append)
    assert told == [DONE] * 3


async def test_who_crashes_when_told_of_the_end_takes_nobody_along() -> None:
    flight = Flight(KEY, CAPTURE)
    told: list[Ending] = []

    def crash(ending: Ending) -> None:
        raise RuntimeError("a bug")

    flight.when_ended(crash)
    flight.when_ended(told.append)
    follower = asyncio.create_task(flight.ending())  # noqa: TID251 - the test is its owner
    await turns(2)
    with capture_logs() as lines:
        flight.end(DONE)

    assert (told, await follower) == ([DONE], DONE)
    assert [line["event"] for line in lines] == ["who waited for the end of a fetch crashed"]


async def test_an_end_without_an_opening_is_the_leaders_too() -> None:
    flight = Flight(KEY, CAPTURE)
    flight.end(DONE)
    assert await flight.opening() is DONE
    assert flight.is_ended


async def test_a_flight_without_a_leader_cannot_be_opened() -> None:
    assert not Flight(KEY, CAPTURE, has_leader=False).open(streaming())


async def cancelled_leader(flight: Flight, opening: Streaming | Uncacheable | Ending | None) -> None:
    """The leader is cancelled in the tick in which the flight opens."""
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(flight.opening())
        await turns(2)
        if isinstance(opening, Streaming | Uncacheable):
            flight.open(opening)
        elif opening is not None:
            flight.end(opening)
        leader.cancel()


async def test_a_leader_that_leaves_before_the_head_leaves_nothing_to_open() -> None:
    flight = Flight(KEY, CAPTURE)
    await cancelled_leader(flight, None)
    assert not flight.open(streaming())


async def test_a_leader_that_leaves_as_the_body_begins_abandons_it() -> None:
    opening = streaming()
    await cancelled_leader(Flight(KEY, CAPTURE), opening)
    assert opening.body.is_abandoned


async def test_a_leader_that_leaves_as_an_uncacheable_answer_comes_abandons_it() -> None:
    opening = uncacheable()
    await cancelled_leader(Flight(KEY, CAPTURE), opening)
    assert opening.response.body.is_abandoned


async def test_a_leader_may_leave_at_the_end() -> None:
    flight = Flight(KEY, CAPTURE)
    await cancelled_leader(flight, DONE)
    assert await flight.ending() is DONE


async def test_a_flight_that_has_ended_cannot_be_joined() -> None:
    flights = Flights()
    go = asyncio.Event()

    async def fetch(flight: Flight) -> Ending:
        flight.end(DONE)
        await go.wait()
        return DONE

    flights.start(KEY, CAPTURE, fetch)
    assert flights.get(KEY) is not None
    await turns(2)
    assert flights.get(KEY) is None
    assert len(flights) == 1
    go.set()
    await turns(3)
    assert len(flights) == 0


async def test_a_newer_flight_of_the_key_is_left_alone_by_the_end_of_the_older() -> None:
    flights = Flights()
    go = asyncio.Event()

    async def slow(_: Flight) -> Ending:
        await go.wait()
        return DONE

    async def quick(_: Flight) -> Ending:
        return DONE

    newer = flights.start(KEY, CAPTURE, slow, is_shared=True)
    await (flights.start(KEY, CAPTURE, quick, is_shared=False)).ending()
    assert flights.get(KEY) is newer
    go.set()
    assert await newer.ending() is DONE


async def test_a_crash_of_the_fetch_leaves_nobody_waiting() -> None:
    flights = Flights()

    async def crash(_: Flight) -> Ending:
        raise ZeroDivisionError

    flight = flights.start(KEY, CAPTURE, crash)
    expected = Failed(503, OriginFailure(FailureKind.CLOSED, "the fetch was ended"))
    assert await flight.ending() == expected
    assert len(flights) == 0
