from __future__ import annotations

import asyncio

import pytest

from proxy.model import BodyBroken, FailureKind, OriginFailure
from proxy.net.received_body import HIGH_WATER, LOW_WATER, ReceivedBody, WholeBody
from proxy.observe.tasks import spawn

BROKEN = OriginFailure(FailureKind.BROKEN_BODY, "reset")


class Source:
    """What was asked of it, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def stop(self) -> None:
        self.asked.append("stop")


async def test_pieces_are_read_as_they_came_and_then_the_end() -> None:
    body = ReceivedBody(3, Source())
    body.put(b"a")
    body.put(b"bc")
    body.finish()

    assert [await body.read() for _ in range(4)] == [b"a", b"bc", b"", b""]


async def test_what_came_whole_is_read_once_or_taken_or_dropped() -> None:
    read, taken, dropped = (WholeBody(3, b"abc") for _ in range(3))
    dropped.abandon()

    assert [await read.read(), await read.read(), read.take_rest()] == [b"abc", b"", b""]
    assert [taken.take_rest(), await taken.read()] == [b"abc", b""]
    assert [dropped.length, await dropped.read(), dropped.take_rest()] == [3, b"", b""]


async def test_a_reader_that_waits_gets_the_next_piece_at_once() -> None:
    body = ReceivedBody(None, Source())
    reading = spawn("reader", body.read())
    await asyncio.sleep(0)
    body.put(b"a")

    assert await reading == b"a"


async def test_a_reader_that_waits_learns_of_the_end_and_of_a_failure() -> None:
    whole, broken = ReceivedBody(None, Source()), ReceivedBody(None, Source())
    readers = [spawn("reader", body.read()) for body in (whole, broken)]
    await asyncio.sleep(0)
    whole.finish()
    broken.fail(BROKEN)

    assert await readers[0] == b""
    with pytest.raises(BodyBroken) as raised:
        await readers[1]
    assert raised.value.failure == BROKEN


async def test_what_came_before_a_failure_is_read_before_it() -> None:
    body = ReceivedBody(None, Source())
    body.put(b"a")
    body.fail(BROKEN)

    assert await body.read() == b"a"
    with pytest.raises(BodyBroken):
        await body.read()


async def test_a_cancelled_read_loses_nothing() -> None:
    body = ReceivedBody(None, Source())
    reading = spawn("reader", body.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    body.put(b"a")

    assert await body.read() == b"a"


async def test_the_source_waits_while_too_much_is_unread() -> None:
    source = Source()
    body = ReceivedBody(None, source)
    body.put(b"x" * HIGH_WATER)
    at_the_mark = list(source.asked)
    body.put(b"y")
    body.put(b"z" * LOW_WATER)
    above = list(source.asked)
    await body.read()
    below_the_high_mark = list(source.asked)
    await body.read()

    assert (at_the_mark, above, below_the_high_mark) == ([], ["pause"], ["pause"])
    assert source.asked == ["pause", "resume"]


async def test_abandoned_before_its_end_it_stops_its_source_once() -> None:
    source = Source()
    body = ReceivedBody(None, source)
    body.put(b"a")
    body.abandon()
    body.abandon()

    assert source.asked == ["stop"]
    with pytest.raises(BodyBroken):
        await body.read()


async def test_abandoned_after_its_end_it_leaves_the_source_alone() -> None:
    source = Source()
    body = ReceivedBody(None, source)
    body.put(b"a" * (HIGH_WATER + 1))
    body.finish()
    body.abandon()

    assert source.asked == ["pause"]
    assert await body.read() == b""


async def test_what_is_left_can_be_taken_at_once_when_the_end_has_arrived() -> None:
    body = ReceivedBody(None, Source())
    body.put(b"a")
    body.put(b"b")

    assert body.take_rest() is None
    assert await body.read() == b"a"
    body.put(b"c")
    body.finish()
    assert body.take_rest() == b"bc"
    assert body.take_rest() == b""
    assert await body.read() == b""


def test_of_a_broken_body_nothing_is_taken_as_its_rest() -> None:
    body = ReceivedBody(None, Source())
    body.put(b"a")
    body.fail(OriginFailure(FailureKind.BROKEN_BODY))

    assert body.take_rest() is None
