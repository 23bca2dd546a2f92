"""A body on its way to a store, with one reader along."""

from __future__ import annotations

import asyncio
import sys

import pytest

from proxy.engine.spool import PIPE_BYTES, Spool, SpoolBudget
from proxy.model import BodyBroken
from tests.support.engine_fakes import BROKEN, turns


def spool_of(*, max_bytes: int = 100, limit: int = 1000, length: int | None = None) -> Spool:
    return Spool(length=length, max_bytes=max_bytes, budget=SpoolBudget(limit))


def test_the_budget_gives_up_to_its_limit_and_takes_back() -> None:
    budget = SpoolBudget(10)
    assert [budget.try_take(10), budget.try_take(1)] == [True, False]
    budget.release(10)
    assert (budget.held_bytes, budget.try_take(1)) == (0, True)


@pytest.mark.parametrize(("size", "expected"), [(100, True), (101, False)])
def test_a_body_of_just_max_bytes_is_kept(size: int, expected: bool) -> None:
    assert spool_of().try_add(b"x" * size) is expected


def test_spools_share_one_budget_and_give_it_back_at_the_end() -> None:
    budget = SpoolBudget(10)
    first, second = (Spool(length=None, max_bytes=100, budget=budget) for _ in range(2))
    assert first.try_add(b"123456")
    assert not second.try_add(b"12345")
    first.release()
    first.release()
    assert second.try_add(b"12345")
    assert budget.held_bytes == 5


async def test_the_reader_gets_the_pieces_in_order_and_then_the_end() -> None:
    spool = spool_of(length=6)
    reader = spool.reader()
    spool.try_add(b"one")
    spool.try_add(b"two")
    assert spool.complete() == b"onetwo"
    assert [await reader.read() for _ in range(4)] == [b"one", b"two", b"", b""]
    assert (reader.length, reader.pieces_read) == (6, 2)


async def test_a_reader_waits_for_the_next_piece() -> None:
    spool = spool_of()
    reader = spool.reader()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        read = group.create_task(reader.read())
        await turns(3)
        assert not read.done()
        spool.try_add(b"late")
    assert read.result() == b"late"


async def test_a_broken_body_breaks_for_the_reader_after_what_was_collected() -> None:
    spool = spool_of()
    reader = spool.reader()
    spool.try_add(b"one")
    spool.fail(BROKEN)
    assert await reader.read() == b"one"
    with pytest.raises(BodyBroken) as broken:
        await reader.read()
    assert broken.value.failure is BROKEN


def test_there_is_one_reader() -> None:
    spool = spool_of()
    assert not spool.has_reader
    spool.reader()
    assert spool.has_reader
    with pytest.raises(RuntimeError, match="one reader"):
        spool.reader()


async def test_a_pipe_hands_over_what_was_not_read_and_what_follows() -> None:
    spool = spool_of()
    reader = spool.reader()
    for piece in (b"1", b"2", b"3"):
        spool.try_add(piece)
    assert await reader.read() == b"1"
    spool.become_pipe()
    assert await spool.push(b"4")
    spool.end_pipe()
    assert [await reader.read() for _ in range(4)] == [b"2", b"3", b"4", b""]


async def test_a_full_pipe_waits_for_its_reader() -> None:
    spool = spool_of()
    reader = spool.reader()
    spool.become_pipe()
    assert await spool.push(b"x" * PIPE_BYTES)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        pushed = group.create_task(spool.push(b"y"))
        await turns(3)
        assert not pushed.done()
        await reader.read()
    assert pushed.result()


async def test_a_push_that_waits_ends_when_the_reader_leaves() -> None:
    spool = spool_of()
    reader = spool.reader()
    spool.become_pipe()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        pushed = group.create_task(spool.push(b"x" * (PIPE_BYTES + 1)))
        await turns(3)
        reader.abandon()
    assert not pushed.result()
    assert not await spool.push(b"more")


async def test_a_pipe_without_a_reader_takes_nothing() -> None:
    spool = spool_of()
    spool.try_add(b"1")
    spool.become_pipe()
    assert not await spool.push(b"2")


def test_a_spool_says_what_it_is() -> None:
    spool = spool_of()
    assert repr(spool) == "<Spool collecting size=0 complete=False failure=None>"
    spool.become_pipe()
    assert repr(spool).startswith("<Spool pipe ")


async def test_what_a_slow_reader_has_yet_to_read_stays_reserved_until_it_has() -> None:
    budget = SpoolBudget(10)
    spool = Spool(length=None, max_bytes=100, budget=budget)
    reader = spool.reader()
    spool.try_add(b"123456")
    spool.complete()
    spool.release()
    held = [budget.held_bytes]
    while await reader.read():
        held.append(budget.held_bytes)
    held.append(budget.held_bytes)

    assert held == [6, 6, 0]


async def test_an_abandoned_spool_keeps_neither_bytes_nor_their_place() -> None:
    budget = SpoolBudget(10)
    spool = Spool(length=None, max_bytes=100, budget=budget)
    reader = spool.reader()
    piece = b"123456"
    known = sys.getrefcount(piece)
    spool.try_add(piece)
    spool.release()
    reader.abandon()

    assert budget.held_bytes == 0
    assert sys.getrefcount(piece) == known


async def test_a_pipe_gives_back_what_its_reader_takes() -> None:
    budget = SpoolBudget(10)
    spool = Spool(length=None, max_bytes=100, budget=budget)
    reader = spool.reader()
    for piece in (b"123", b"45", b"6"):
        spool.try_add(piece)
    await reader.read()
    spool.become_pipe()
    spool.release()
    held = [budget.held_bytes]
    await reader.read()
    held.append(budget.held_bytes)
    await spool.push(b"7890")
    held.append(budget.held_bytes)
    reader.abandon()
    held.append(budget.held_bytes)

    assert held == [3, 1, 1, 0]


async def test_a_reader_whose_body_breaks_has_left() -> None:
    budget = SpoolBudget(10)
    spool = Spool(length=None, max_bytes=100, budget=budget)
    reader = spool.reader()
    spool.try_add(b"1")
    spool.fail(BROKEN)
    spool.release()
    await reader.read()
    with pytest.raises(BodyBroken):
        await reader.read()

    assert budget.held_bytes == 0
