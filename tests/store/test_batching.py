"""Look-ups of one tick travel together, and every waiter is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from proxy.model import Entry
from proxy.observe.tasks import spawn
from proxy.store.batching import Batcher
from tests.support.entries import key_of, response

ENTRY = response()


class Shelf:
    """Fetches from a dict; notes what was asked, and waits at a gate that the test holds."""

    def __init__(self, *names: str) -> None:
        self.entries: dict[bytes, Entry] = {key_of(name): ENTRY for name in names}
        self.asked: list[tuple[bytes, ...]] = []
        self._arrivals: asyncio.Queue[asyncio.Task[object] | None] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def fetch(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        self.asked.append(tuple(keys))
        self._arrivals.put_nowait(asyncio.current_task())
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def fetch_begun(self) -> asyncio.Task[object]:
        """The task of the next fetch."""
        async with asyncio.timeout(5):
            task = await self._arrivals.get()
        assert task is not None
        return task


async def test_a_look_up_finds_its_entry() -> None:
    shelf = Shelf("a")
    batcher = Batcher(shelf.fetch)

    found = await asyncio.gather(batcher.look_up(key_of("a")), batcher.look_up(key_of("b")))

    assert found == [ENTRY, None]
    assert shelf.asked == [(key_of("a"), key_of("b"))]


async def test_look_ups_of_one_tick_are_one_fetch() -> None:
    shelf = Shelf()
    batcher = Batcher(shelf.fetch)

    await asyncio.gather(*(batcher.look_up(key_of(str(number))) for number in range(1000)))

    assert [len(keys) for keys in shelf.asked] == [1000]


async def test_the_same_key_is_asked_once() -> None:
    shelf = Shelf("a")
    batcher = Batcher(shelf.fetch)

    found = await asyncio.gather(*(batcher.look_up(key_of("a")) for _ in range(10)))

    assert found == [ENTRY] * 10
    assert shelf.asked == [(key_of("a"),)]


async def test_a_later_tick_does_not_wait_for_an_earlier_fetch() -> None:
    shelf = Shelf("a", "b")
    batcher = Batcher(shelf.fetch)
    shelf.gate.clear()
    first = spawn("first", batcher.look_up(key_of("a")))
    await shelf.fetch_begun()

    second = spawn("second", batcher.look_up(key_of("a")))
    await shelf.fetch_begun()
    shelf.gate.set()

    assert await asyncio.gather(first, second) == [ENTRY, ENTRY]
    assert shelf.asked == [(key_of("a"),), (key_of("a"),)]


@pytest.mark.parametrize(("asked", "sizes"), [(3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
async def test_one_fetch_is_bounded(asked: int, sizes: list[int]) -> None:
    shelf = Shelf()
    batcher = Batcher(shelf.fetch, most_keys=3)

    await asyncio.gather(*(batcher.look_up(key_of(str(number))) for number in range(asked)))

    assert [len(keys) for keys in shelf.asked] == sizes


async def test_what_is_too_much_for_one_fetch_does_not_wait_for_its_end() -> None:
    shelf = Shelf()
    batcher = Batcher(shelf.fetch, most_keys=3)
    shelf.gate.clear()
    for number in range(7):
        batcher.ask(key_of(str(number)), lambda _found: None)
    for _ in range(3):
        await shelf.fetch_begun()

    assert [len(keys) for keys in shelf.asked] == [3, 3, 1]
    shelf.gate.set()


async def sizes_after(batcher: Batcher, shelf: Shelf, *sizes: Sequence[int]) -> list[int]:
    """How many keys travel together, of seven, once values of these sizes have come."""
    for each in sizes:
        batcher.learn(each)
    shelf.asked.clear()
    await asyncio.gather(*(batcher.look_up(key_of(str(number))) for number in range(7)))
    return [len(keys) for keys in shelf.asked]


async def test_large_values_travel_in_smaller_company() -> None:
    shelf = Shelf()
    batcher = Batcher(shelf.fetch, most_bytes=1000)

    assert await sizes_after(batcher, shelf) == [7]
    assert await sizes_after(batcher, shelf, [100, 200], []) == [6, 1]
    assert await sizes_after(batcher, shelf, [300, 700]) == [2, 2, 2, 1]
    assert await sizes_after(batcher, shelf, [5000]) == [1] * 7


async def test_a_large_value_is_remembered_for_a_while() -> None:
    shelf = Shelf()
    batcher = Batcher(shelf.fetch, most_bytes=1000)

    assert await sizes_after(batcher, shelf, [500], [10]) == [2, 2, 2, 1]
    assert await sizes_after(batcher, shelf, *[[10]] * 20) == [7]


async def test_a_caller_that_goes_takes_nobody_along() -> None:
    shelf = Shelf("a")
    batcher = Batcher(shelf.fetch)
    shelf.gate.clear()
    going, staying = (spawn(name, batcher.look_up(key_of("a"))) for name in ("going", "staying"))
    await shelf.fetch_begun()

    going.cancel()
    shelf.gate.set()

    assert await staying is ENTRY
    assert going.cancelled()


async def test_a_fetch_that_crashes_leaves_nobody_waiting() -> None:
    shelf = Shelf("a")
    batcher = Batcher(shelf.fetch)
    shelf.error = RuntimeError("a fault of ours")

    with capture_logs() as lines:
        waiting = spawn("waiting", batcher.look_up(key_of("a")))
        await asyncio.wait({await shelf.fetch_begun(), waiting}, timeout=5)

    shelf.error = None
    assert waiting.result() is None
    assert [line["event"] for line in lines] == ["task crashed"]
    assert await batcher.look_up(key_of("a")) is ENTRY


async def test_a_fetch_that_is_cancelled_leaves_nobody_waiting() -> None:
    shelf = Shelf("a")
    batcher = Batcher(shelf.fetch)
    shelf.gate.clear()
    waiting = spawn("waiting", batcher.look_up(key_of("a")))
    (await shelf.fetch_begun()).cancel()

    async with asyncio.timeout(5):
        assert await waiting is None


async def test_a_fetch_begins_with_the_next_step() -> None:
    shelf = Shelf()
    batcher = Batcher(shelf.fetch)

    for name in ("a", "b", "a"):
        batcher.ask(key_of(name), lambda _found: None)
    assert shelf.asked == []
    await asyncio.sleep(0)

    assert shelf.asked == [(key_of("a"), key_of("b"))]


async def test_who_asks_without_a_wait_is_told_once_in_a_later_step() -> None:
    shelf, told = Shelf("a"), list[Entry | None]()
    batcher = Batcher(shelf.fetch)

    batcher.ask(key_of("a"), told.append)
    batcher.ask(key_of("b"), told.append)
    assert told == []
    assert await batcher.look_up(key_of("a")) is ENTRY

    assert told == [ENTRY, None]
    assert shelf.asked == [(key_of("a"), key_of("b"))]


async def test_a_caller_that_crashes_takes_nobody_along() -> None:
    shelf = Shelf("a")
    batcher = Batcher(shelf.fetch)

    def crash(_found: Entry | None) -> None:
        raise RuntimeError("a fault of ours")

    with capture_logs() as lines:
        batcher.ask(key_of("a"), crash)
        assert await batcher.look_up(key_of("a")) is ENTRY

    assert [line["event"] for line in lines] == ["an answered look-up crashed"]


async def test_who_asks_while_enough_is_under_way_travels_with_the_next() -> None:
    shelf = Shelf("0", "5")
    batcher = Batcher(shelf.fetch, most_fetches=2)
    shelf.gate.clear()
    first = [spawn("first", batcher.look_up(key_of("0")))]
    await shelf.fetch_begun()
    first.append(spawn("first", batcher.look_up(key_of("1"))))
    await shelf.fetch_begun()

    later = []
    for number in range(2, 6):
        later.append(spawn("later", batcher.look_up(key_of(str(number)))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [len(keys) for keys in shelf.asked] == [1, 1]
    shelf.gate.set()

    assert await asyncio.gather(*first, *later) == [ENTRY, None, None, None, None, ENTRY]
    assert [len(keys) for keys in shelf.asked] == [1, 1, 4]


async def test_a_fetch_that_crashes_lets_the_next_one_go() -> None:
    shelf = Shelf("b")

    async def fetch(keys: Sequence[bytes]) -> dict[bytes, Entry]:
        found = await shelf.fetch(keys)
        if len(shelf.asked) == 1:
            raise RuntimeError("a fault of ours")
        return found

    batcher = Batcher(fetch, most_fetches=1)
    shelf.gate.clear()
    with capture_logs():
        first = spawn("first", batcher.look_up(key_of("a")))
        await shelf.fetch_begun()
        second = spawn("second", batcher.look_up(key_of("b")))
        await asyncio.sleep(0)
        shelf.gate.set()

        assert (await first, await second) == (None, ENTRY)
