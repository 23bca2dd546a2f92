from __future__ import annotations

import asyncio
import time

import pytest

from proxy.model import FailureKind, OriginFailure
from proxy.net.admission import Admission, Place
from proxy.observe.tasks import spawn

PATIENT = 10.0


def admission(*, max_in_flight: int = 1, queue_size: int = 2, max_tunnels: int = 1) -> Admission:
    return Admission(max_in_flight=max_in_flight, queue_size=queue_size, max_tunnels=max_tunnels)


async def entered(gate: Admission, timeout: float = PATIENT) -> Place:
    place = await gate.enter(timeout)
    assert isinstance(place, Place), place
    return place


async def kind_of(gate: Admission, timeout: float = PATIENT) -> FailureKind:
    failure = await gate.enter(timeout)
    assert isinstance(failure, OriginFailure), failure
    return failure.kind


async def queue_up(gate: Admission, timeout: float = PATIENT) -> asyncio.Task[Place | OriginFailure]:
    """A request that has begun to wait."""
    waiting = spawn("waiting", gate.enter(timeout))
    await asyncio.sleep(0)
    return waiting


async def test_as_many_as_allowed_enter_at_once() -> None:
    gate = admission(max_in_flight=2)
    await entered(gate)
    await entered(gate)
    waiting = await queue_up(gate)

    assert (gate.in_flight, gate.queued) == (2, 1)
    waiting.cancel()


async def test_a_place_given_back_goes_to_whoever_waits_longest() -> None:
    gate = admission()
    place = await entered(gate)
    first, second = await queue_up(gate), await queue_up(gate)
    place.leave()
    granted = await first

    assert isinstance(granted, Place)
    assert not second.done()
    granted.leave()
    assert isinstance(await second, Place)
    assert gate.in_flight == 1


async def test_whoever_was_let_in_but_has_not_run_yet_bars_nobody_from_a_free_slot() -> None:
    gate = admission(max_in_flight=3)
    places = [await entered(gate) for _ in range(3)]
    waiting = await queue_up(gate)
    places[0].leave()
    places[1].leave()
    newcomer = gate.enter(PATIENT)
    with pytest.raises(StopIteration) as entry:
        newcomer.send(None)

    assert isinstance(entry.value.value, Place)
    assert isinstance(await waiting, Place)
    assert (gate.in_flight, gate.queued) == (3, 0)


async def test_nobody_overtakes_those_who_wait() -> None:
    gate = admission()
    place = await entered(gate)
    first = await queue_up(gate)
    place.leave()
    second = await queue_up(gate)

    assert isinstance(await first, Place)
    assert not second.done()
    second.cancel()


async def test_a_full_queue_refuses_at_once() -> None:
    gate = admission(queue_size=1)
    await entered(gate)
    waiting = await queue_up(gate)

    assert await kind_of(gate) is FailureKind.QUEUE_FULL
    waiting.cancel()


async def test_without_a_queue_there_is_only_now() -> None:
    gate = admission(queue_size=0)
    await entered(gate)

    assert await kind_of(gate) is FailureKind.QUEUE_FULL


async def test_whoever_waits_too_long_leaves_the_queue() -> None:
    gate = admission()
    place = await entered(gate)

    assert await kind_of(gate, 0.01) is FailureKind.QUEUE_TIMEOUT
    assert gate.queued == 0
    place.leave()
    assert gate.in_flight == 0


async def test_a_place_granted_in_the_very_turn_of_the_timeout_is_taken() -> None:
    gate = admission()
    place = await entered(gate)
    waiting = await queue_up(gate, 0.01)
    asyncio.get_running_loop().call_later(0.011, place.leave)
    time.sleep(0.03)  # noqa: ASYNC251  blocks the loop, so that both timers are due in one turn

    assert isinstance(await waiting, Place)
    assert (gate.in_flight, gate.queued) == (1, 0)


async def test_whoever_is_cancelled_leaves_the_queue_to_the_next() -> None:
    gate = admission()
    place = await entered(gate)
    first, second = await queue_up(gate), await queue_up(gate)
    first.cancel()
    await asyncio.wait([first])
    place.leave()

    assert isinstance(await second, Place)
    assert gate.queued == 0


async def test_a_place_granted_to_one_who_is_being_cancelled_goes_on_to_the_next() -> None:
    gate = admission()
    place = await entered(gate)
    first, second = await queue_up(gate), await queue_up(gate)
    place.leave()
    first.cancel()
    await asyncio.wait([first])

    assert first.cancelled()
    assert isinstance(await second, Place)
    assert gate.in_flight == 1


async def test_a_place_granted_after_the_cancellation_goes_on_to_the_next() -> None:
    gate = admission()
    place = await entered(gate)
    first, second = await queue_up(gate), await queue_up(gate)
    first.cancel()
    place.leave()

    assert isinstance(await second, Place)
    assert first.cancelled()
    assert gate.in_flight == 1


async def test_a_place_is_given_back_once() -> None:
    gate = admission(max_in_flight=2)
    place = await entered(gate)
    await entered(gate)
    place.leave()
    place.leave()

    assert gate.in_flight == 1


async def test_a_slot_without_a_place_is_one_of_all() -> None:
    gate = admission()
    assert gate.try_take()

    assert gate.in_flight == 1
    assert not gate.try_take()
    waiting = await queue_up(gate)
    gate.give_back()
    assert isinstance(await waiting, Place)
    assert gate.in_flight == 1


async def test_nobody_takes_a_slot_before_those_who_wait_or_once_it_is_closed() -> None:
    gate = admission()
    assert gate.try_take()
    waiting = await queue_up(gate)
    gate.in_flight = 0
    assert not gate.try_take()

    gate.close()
    await waiting
    assert not gate.try_take()


async def test_a_tunnel_leaves_its_slot_to_others() -> None:
    gate = admission()
    tunnel = await entered(gate)
    waiting = await queue_up(gate)

    assert tunnel.move_to_tunnels()
    assert tunnel.is_tunnel
    assert isinstance(await waiting, Place)
    assert (gate.in_flight, gate.tunnels) == (1, 1)
    tunnel.leave()
    assert (gate.in_flight, gate.tunnels) == (1, 0)


async def test_tunnels_are_bounded_and_a_refused_one_keeps_its_slot() -> None:
    gate = admission(max_in_flight=2)
    (await entered(gate)).move_to_tunnels()
    second = await entered(gate)

    assert gate.is_full_of_tunnels
    assert not second.move_to_tunnels()
    assert (gate.in_flight, gate.tunnels) == (1, 1)
    second.leave()
    assert gate.in_flight == 0


async def test_closed_it_admits_nobody_those_who_wait_included() -> None:
    gate = admission()
    await entered(gate)
    waiting = await queue_up(gate)
    gate.close()
    outcome = await waiting

    assert isinstance(outcome, OriginFailure)
    assert outcome.kind is FailureKind.CLOSED
    assert await kind_of(gate) is FailureKind.CLOSED


async def test_it_is_empty_when_the_last_place_is_given_back() -> None:
    gate = admission(max_in_flight=2)
    places = [await entered(gate), await entered(gate)]
    emptied = spawn("emptied", gate.wait_until_empty(PATIENT))
    await asyncio.sleep(0)
    places[0].leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    too_early = emptied.done()
    places[1].leave()
    async with asyncio.timeout(1):
        await emptied

    assert not too_early
    assert gate.in_flight == 0


async def test_waiting_for_the_last_place_has_an_end() -> None:
    gate = admission()
    await entered(gate)
    await gate.wait_until_empty(0.01)

    assert gate.in_flight == 1
