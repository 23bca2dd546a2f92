"""The queue of writes: bounded, newest wins, nothing waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from proxy.model import Entry
from proxy.observe.metrics import Metrics
from proxy.store.sizes import entry_bytes
from proxy.store.write_behind import BATCH_BYTES, BATCH_ENTRIES, Drop, WriteBehind
from tests.support.entries import key_of, response
from tests.support.telling import told

KIB = 1024


class Sink:
    """Takes batches; each waits at a gate that the test holds."""

    def __init__(self) -> None:
        self.batches: list[dict[bytes, Entry]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._arrivals: asyncio.Queue[asyncio.Task[object] | None] = asyncio.Queue()

    async def write(self, batch: Mapping[bytes, Entry]) -> None:
        self._arrivals.put_nowait(asyncio.current_task())
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.batches.append(dict(batch))

    def let_one(self) -> None:
        """The write that waits goes on; the next one waits again."""
        self.gate.set()
        self.gate.clear()

    async def write_begun(self) -> asyncio.Task[object]:
        """The writer, once it writes the next batch."""
        async with asyncio.timeout(5):
            task = await self._arrivals.get()
        assert task is not None
        return task


def drops(metrics: Metrics) -> dict[str, int]:
    return {cause: count for (cause,), count in metrics.l2_dropped_writes.values.items()}


async def test_writes_of_one_tick_are_one_batch_in_order() -> None:
    sink, metrics = Sink(), Metrics()
    queue = WriteBehind(sink.write, metrics)
    entry = response()

    for name in "abc":
        queue.put(key_of(name), entry)
    await queue.aclose(5)

    assert [list(batch) for batch in sink.batches] == [[key_of(name) for name in "abc"]]
    assert drops(metrics) == {}


async def test_nothing_waits_where_nothing_is_written() -> None:
    queue = WriteBehind(Sink().write, Metrics())

    await queue.aclose(5)

    assert (len(queue), queue.waiting_bytes) == (0, 0)


async def test_the_newest_write_of_a_key_takes_the_place_of_the_older() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    newer = response(b"newer")

    queue.put(key_of("a"), response(b"older"))
    queue.put(key_of("a"), newer)
    waiting_bytes = queue.waiting_bytes
    await queue.aclose(5)

    assert sink.batches == [{key_of("a"): newer}]
    assert waiting_bytes == entry_bytes(key_of("a"), newer)


async def test_a_newer_write_follows_the_one_under_way() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    sink.gate.clear()
    queue.put(key_of("a"), response(b"older"))
    await sink.write_begun()

    queue.put(key_of("a"), response(b"newer"))
    sink.gate.set()
    await queue.aclose(5)

    assert [batch[key_of("a")] for batch in sink.batches] == [response(b"older"), response(b"newer")]


async def test_what_is_under_way_waits_no_more() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    sink.gate.clear()
    queue.put(key_of("a"), response())

    await sink.write_begun()

    assert (len(queue), queue.waiting_bytes) == (0, 0)
    sink.gate.set()
    await queue.aclose(5)


async def test_a_full_queue_drops_and_counts() -> None:
    sink, metrics = Sink(), Metrics()
    queue = WriteBehind(sink.write, metrics, most_entries=3)

    for name in "abcde":
        queue.put(key_of(name), response())

    assert repr(queue).startswith("<WriteBehind 3/3 writes, ")
    assert drops(metrics) == {"queue-full": 2}
    await queue.aclose(5)
    assert [len(batch) for batch in sink.batches] == [3]


async def test_a_full_queue_still_takes_the_newer_write_of_a_key_in_it() -> None:
    sink, metrics = Sink(), Metrics()
    queue = WriteBehind(sink.write, metrics, most_entries=1)

    for body in (b"1", b"2", b"3"):
        queue.put(key_of("a"), response(body))
    await queue.aclose(5)

    assert sink.batches == [{key_of("a"): response(b"3")}]
    assert drops(metrics) == {}


async def test_bytes_are_bounded_too() -> None:
    sink, metrics = Sink(), Metrics()
    size = entry_bytes(key_of("a"), response(b"x" * KIB))
    queue = WriteBehind(sink.write, metrics, most_bytes=2 * size)

    for name in "abc":
        queue.put(key_of(name), response(b"x" * KIB))

    assert (len(queue), queue.waiting_bytes, drops(metrics)) == (2, 2 * size, {"queue-full": 1})
    await queue.aclose(5)


@pytest.mark.parametrize(("spare", "dropped"), [(0, {}), (-1, {"too-large": 1})])
async def test_what_can_never_fit_is_too_large(spare: int, dropped: dict[str, int]) -> None:
    metrics = Metrics()
    size = entry_bytes(key_of("a"), response())
    queue = WriteBehind(Sink().write, metrics, most_bytes=size + spare)

    queue.put(key_of("a"), response())
    await queue.aclose(5)

    assert drops(metrics) == dropped


async def test_a_batch_is_bounded_in_entries() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())

    for number in range(2 * BATCH_ENTRIES + 1):
        queue.put(key_of(str(number)), response())
    await queue.aclose(5)

    assert [len(batch) for batch in sink.batches] == [BATCH_ENTRIES, BATCH_ENTRIES, 1]


async def test_a_batch_is_bounded_in_bytes_but_holds_one() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    sizes = {
        "a": BATCH_BYTES // 2,
        "b": BATCH_BYTES // 4,
        "c": BATCH_BYTES // 4,
        "d": 2 * BATCH_BYTES,
        "e": 1,
    }

    for name, size in sizes.items():
        queue.put(key_of(name), response(b"x" * size))
    await queue.aclose(5)

    expected = [["a", "b"], ["c"], ["d"], ["e"]]
    assert [list(batch) for batch in sink.batches] == [[key_of(n) for n in names] for names in expected]


async def test_a_batch_that_crashes_the_writer_stops_no_later_one() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    sink.error = RuntimeError("a fault of ours")
    queue.put(key_of("a"), response())
    with capture_logs() as lines:
        await asyncio.wait({await sink.write_begun()}, timeout=5)

    sink.error = None
    queue.put(key_of("b"), response())
    await queue.aclose(5)

    assert [list(batch) for batch in sink.batches] == [[key_of("b")]]
    assert [line["event"] for line in lines] == ["task crashed"]


async def test_closing_gives_up_at_its_deadline() -> None:
    sink, metrics = Sink(), Metrics()
    queue = WriteBehind(sink.write, metrics)
    sink.gate.clear()
    queue.put(key_of("a"), response())
    writer = await sink.write_begun()
    for name in "bcd":
        queue.put(key_of(name), response())

    await queue.aclose(0.01)

    assert writer.cancelled()
    assert drops(metrics) == {"closing": 3}
    assert (len(queue), queue.waiting_bytes) == (0, 0)


async def test_a_closed_queue_takes_nothing() -> None:
    sink, metrics = Sink(), Metrics()
    queue = WriteBehind(sink.write, metrics)
    await queue.aclose(5)

    queue.put(key_of("a"), response())

    assert (len(queue), sink.batches, drops(metrics)) == (0, [], {"closing": 1})


async def test_others_may_count_their_drops_here() -> None:
    metrics = Metrics()

    WriteBehind(Sink().write, metrics).drop(Drop.EXPIRED, count=2)

    assert drops(metrics) == {"expired": 2}


async def test_what_waits_and_what_is_being_written_is_pending_and_the_newest_counts() -> None:
    sink, key = Sink(), key_of("a")
    queue = WriteBehind(sink.write, Metrics())
    sink.gate.clear()
    queue.put(key, response(b"old"))
    waiting = queue.pending(key)
    await sink.write_begun()
    under_way = queue.pending(key)
    queue.put(key, response(b"new"))
    newest = queue.pending(key)
    sink.gate.set()
    await queue.aclose(5)

    assert (waiting, under_way, newest) == (response(b"old"), response(b"old"), response(b"new"))
    assert queue.pending(key) is None
    assert queue.pending(key_of("b")) is None


async def test_a_batch_that_fails_is_not_pending_any_more() -> None:
    sink = Sink()
    sink.error = RuntimeError("a fault of ours")
    queue = WriteBehind(sink.write, Metrics())
    with capture_logs():
        queue.put(key_of("a"), response())
        writer = await sink.write_begun()
        await asyncio.wait({writer})

    assert queue.pending(key_of("a")) is None


class Waiters:
    """Who asks to be told, by name, and what each was told so far, in order."""

    def __init__(self, queue: WriteBehind) -> None:
        self.told: list[tuple[str, bool]] = []
        self._queue = queue

    def ask(self, name: str) -> None:
        self._queue.when_settled(lambda has_settled: self.told.append((name, has_settled)))


async def test_who_asks_is_told_of_what_waits_now_and_of_no_more() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    waiters = Waiters(queue)
    sink.gate.clear()
    queue.put(key_of("a"), response())
    await sink.write_begun()
    waiters.ask("under way")
    queue.put(key_of("b"), response())
    waiters.ask("next")
    sink.let_one()
    assert waiters.told == []
    await sink.write_begun()
    queue.put(key_of("c"), response(b"later"))

    assert waiters.told == [("under way", True)]
    sink.let_one()
    await sink.write_begun()
    assert [list(batch) for batch in sink.batches] == [[key_of("a")], [key_of("b")]]
    assert waiters.told == [("under way", True), ("next", True)]
    sink.gate.set()
    await queue.aclose(5)


async def test_who_waits_for_the_rest_of_a_full_batch_waits_for_the_next() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    waiters = Waiters(queue)
    sink.gate.clear()
    for number in range(BATCH_ENTRIES + 1):
        queue.put(key_of(str(number)), response())
        if number >= BATCH_ENTRIES - 1:
            waiters.ask(str(number))
    await sink.write_begun()
    sink.let_one()
    await sink.write_begun()

    assert waiters.told == [(str(BATCH_ENTRIES - 1), True)]
    sink.gate.set()
    await queue.aclose(5)
    assert waiters.told == [(str(BATCH_ENTRIES - 1), True), (str(BATCH_ENTRIES), True)]


async def test_who_waits_for_a_write_is_told_once_the_one_that_took_its_place_is_there() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    waiters = Waiters(queue)
    sink.gate.clear()
    queue.put(key_of("before"), response())
    await sink.write_begun()
    queue.put(key_of("a"), response(b"older"))
    waiters.ask("older")
    queue.put(key_of("b"), response())
    queue.put(key_of("a"), response(b"newer"))
    waiters.ask("newer")
    sink.let_one()
    await sink.write_begun()

    assert waiters.told == []
    sink.gate.set()
    await queue.aclose(5)
    assert [list(batch) for batch in sink.batches] == [[key_of("before")], [key_of("a"), key_of("b")]]
    assert sink.batches[1][key_of("a")] == response(b"newer")
    assert waiters.told == [("older", True), ("newer", True)]


@pytest.mark.parametrize("is_taken", [False, True])
async def test_who_asks_is_told_whether_l2_took_it(is_taken: bool) -> None:
    queue = WriteBehind(Sink().write, Metrics(), is_taken=lambda: is_taken)
    waiters = Waiters(queue)
    waiters.ask("nothing waits")
    assert waiters.told == [("nothing waits", is_taken)]

    queue.put(key_of("a"), response())
    waiters.ask("one waits")
    assert len(waiters.told) == 1
    await queue.aclose(5)

    assert waiters.told[1:] == [("one waits", is_taken)]


async def test_a_batch_that_crashes_is_settled_too() -> None:
    sink = Sink()
    sink.error = RuntimeError("a bug")
    queue = WriteBehind(sink.write, Metrics())
    with capture_logs():
        queue.put(key_of("a"), response())
        assert await told(queue.when_settled)
        await queue.aclose(5)


async def test_who_waits_when_the_queue_closes_is_told_that_it_is_not_there() -> None:
    sink = Sink()
    queue = WriteBehind(sink.write, Metrics())
    waiters = Waiters(queue)
    sink.gate.clear()
    for number in range(BATCH_ENTRIES + 1):
        queue.put(key_of(str(number)), response())
    waiters.ask("last")
    await sink.write_begun()
    await queue.aclose(0.01)

    assert waiters.told == [("last", False)]
