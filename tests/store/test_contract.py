"""One suite for every place where entries live: L1, L2 on real servers, both as tiers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import pytest

from proxy.model import Entry, LifetimeSource, Rule
from proxy.observe.metrics import Metrics
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore
from tests.support.entries import NOW, absence, key_of, response, vary_record
from tests.support.l2 import L2, opened
from tests.support.valkey import Valkey, running_valkey

ENTRIES = [
    response(),
    response(b""),
    response(bytes(range(256)) * 100),
    response(born=None),
    response(
        source=LifetimeSource.ROUTE,
        refresh_age=50.0,
        rules=Rule.MUST_REVALIDATE,
        stale_while_revalidate=0.0,
        stale_if_error=3600.0,
        etag=b'W/"1"',
        last_modified=b"Fri, 15 Jan 2027 08:00:00 GMT",
        tags=(b"product:1", b"shop"),
        fetch_seconds=0.02,
    ),
    absence(),
    vary_record(key_of("x"), key_of("y")),
]


class Place(ABC):
    """Where entries live, asked in the same words."""

    @abstractmethod
    async def keep(self, key: bytes, entry: Entry) -> None: ...

    @abstractmethod
    async def find(self, key: bytes) -> Entry | None: ...


class InMemory(Place):
    def __init__(self) -> None:
        self._store = MemoryStore(Metrics(), max_entries=1000, max_bytes=1 << 24, max_entry_bytes=1 << 20)

    async def keep(self, key: bytes, entry: Entry) -> None:
        self._store.put(key, entry, NOW)

    async def find(self, key: bytes) -> Entry | None:
        held = self._store.peek(key, NOW)
        return None if held is None else held.entry


class InRedis(Place):
    def __init__(self, l2: L2) -> None:
        self._l2 = l2

    async def keep(self, key: bytes, entry: Entry) -> None:
        self._l2.store.put(key, entry)
        await self._l2.written()

    async def find(self, key: bytes) -> Entry | None:
        return await self._l2.store.look_up(key)


class InTiers(Place):
    """L1 has forgotten everything when it is asked: what comes is back-filled from L2."""

    def __init__(self, l2: L2) -> None:
        self._l2 = l2
        self._memory = MemoryStore(Metrics(), max_entries=1000, max_bytes=1 << 24, max_entry_bytes=1 << 20)
        self._tiers = TieredStore(self._memory, l2.store, on_error="open")

    async def keep(self, key: bytes, entry: Entry) -> None:
        self._tiers.keep(key, entry, NOW, idle=None, began_at=1.0)
        await self._l2.written()
        self._memory.clear()

    async def find(self, key: bytes) -> Entry | None:
        held = self._tiers.peek(key, NOW)
        if held is None and (found := await self._tiers.look_up(key)) is not None:
            held = self._tiers.back_fill(key, found, NOW, idle=None)
        return None if held is None else held.entry


@pytest.fixture(params=["l1", "l2", "l2-unix", "tiers"])
async def place(request: pytest.FixtureRequest, server: Valkey) -> AsyncIterator[Place]:
    if request.param == "l1":
        yield InMemory()
    elif request.param == "l2-unix":
        with running_valkey(unix=True) as own:
            async with opened(own.url) as l2:
                yield InRedis(l2)
    else:
        async with opened(server.url) as l2:
            yield InTiers(l2) if request.param == "tiers" else InRedis(l2)


@pytest.mark.parametrize("number", range(len(ENTRIES)))
async def test_what_was_kept_is_found_unchanged(place: Place, number: int) -> None:
    await place.keep(key_of("a"), ENTRIES[number])

    assert await place.find(key_of("a")) == ENTRIES[number]
    assert await place.find(key_of("a")) == ENTRIES[number]


async def test_what_was_not_kept_is_not_found(place: Place) -> None:
    await place.keep(key_of("a"), response())

    assert await place.find(key_of("b")) is None


async def test_the_last_entry_of_a_key_counts(place: Place) -> None:
    for entry in ENTRIES:
        await place.keep(key_of("a"), entry)

    assert await place.find(key_of("a")) == ENTRIES[-1]


async def test_keys_do_not_mix(place: Place) -> None:
    for number in range(100):
        await place.keep(key_of(str(number)), response(b"%d" % number))

    found = [await place.find(key_of(str(number))) for number in range(100)]

    assert found == [response(b"%d" % number) for number in range(100)]


async def test_what_has_expired_is_not_kept(place: Place) -> None:
    await place.keep(key_of("a"), response(ttl=0.0))

    assert await place.find(key_of("a")) is None
