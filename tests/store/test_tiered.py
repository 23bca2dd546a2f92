"""Which tier is asked, filled and emptied by what."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxy.engine.protocols import SharedTier, Tiers
from proxy.observe.metrics import Metrics
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore
from tests.support.entries import NOW, absence, key_of, response
from tests.support.l2 import L2, opened
from tests.support.telling import told
from tests.support.valkey import Valkey

KEY = key_of("a")


def make_memory() -> MemoryStore:
    return MemoryStore(Metrics(), max_entries=100, max_bytes=1 << 20, max_entry_bytes=1000)


@pytest.fixture
async def l2(server: Valkey) -> AsyncIterator[L2]:
    async with opened(server.url) as l2:
        yield l2


def test_it_is_what_the_engine_asks_for() -> None:
    store = TieredStore(make_memory(), None, on_error="open")
    tiers: Tiers = store
    shared: SharedTier = store

    assert tiers.peek(KEY, NOW) is None
    assert not shared.is_present


class TestWithoutL2:
    async def test_nothing_is_written(self) -> None:
        store = TieredStore(make_memory(), None, on_error="open")

        assert not await told(store.when_written)

    async def test_every_look_up_is_a_miss(self) -> None:
        store = TieredStore(make_memory(), None, on_error="shed")
        store.keep(KEY, response(), NOW, idle=None, began_at=1.0)

        assert await store.look_up(KEY) is None
        assert (store.is_present, store.must_shed) == (False, False)

    def test_what_is_kept_is_in_l1(self) -> None:
        store = TieredStore(make_memory(), None, on_error="open")

        held = store.keep(KEY, response(), NOW, idle=5.0, began_at=12.5)

        assert store.peek(KEY, NOW) is held
        assert (held.began_at, held.idle) == (None, 5.0)

    def test_what_is_dropped_is_gone(self) -> None:
        memory = make_memory()
        store = TieredStore(memory, None, on_error="open")
        store.keep(KEY, response(), NOW, idle=None, began_at=1.0)

        store.drop(KEY, cause="invalidated")

        assert store.peek(KEY, NOW) is None
        assert memory._metrics.l1_evictions.get("invalidated") == 1


class TestWithL2:
    async def test_what_is_kept_reaches_both(self, l2: L2) -> None:
        store = TieredStore(make_memory(), l2.store, on_error="open")

        store.keep(KEY, response(), NOW, idle=None, began_at=1.0)
        store.keep(key_of("absent"), absence(), NOW, idle=None, began_at=1.0)
        await l2.written()

        assert await store.look_up(KEY) == response()
        assert await store.look_up(key_of("absent")) == absence()
        assert store.is_present

    async def test_what_l1_refuses_still_reaches_l2(self, l2: L2) -> None:
        store = TieredStore(make_memory(), l2.store, on_error="open")
        large = response(b"x" * 1001)

        held = store.keep(KEY, large, NOW, idle=None, began_at=1.0)
        await l2.written()

        assert (held.entry, store.peek(KEY, NOW)) == (large, None)
        assert await store.look_up(KEY) == large

    async def test_a_back_fill_is_in_l1_only_and_no_fetch_of_ours(self, l2: L2, server: Valkey) -> None:
        store = TieredStore(make_memory(), l2.store, on_error="open")

        held = store.back_fill(KEY, response(), NOW, idle=5.0)
        await l2.written()

        assert store.peek(KEY, NOW) is held
        assert (held.began_at, held.idle) == (None, 5.0)
        assert server.calls("set") == 0

    async def test_a_drop_leaves_l2_alone(self, l2: L2) -> None:
        store = TieredStore(make_memory(), l2.store, on_error="open")
        store.keep(KEY, response(), NOW, idle=None, began_at=1.0)
        await l2.written()

        store.drop(KEY, cause="size")

        assert store.peek(KEY, NOW) is None
        assert await store.look_up(KEY) == response()

    @pytest.mark.parametrize(("on_error", "sheds"), [("open", False), ("shed", True)])
    async def test_the_operator_says_what_the_loss_of_l2_means(
        self, own_server: Valkey, on_error: str, sheds: bool
    ) -> None:
        async with opened(own_server.url) as l2:
            store = TieredStore(make_memory(), l2.store, on_error=on_error)
            assert not store.must_shed

            own_server.kill()
            assert await store.look_up(KEY) is None

            assert store.must_shed is sheds
            assert store.is_present


async def test_what_filling_ahead_asks(own_server: Valkey) -> None:
    memory = MemoryStore(Metrics(), max_entries=4, max_bytes=1 << 20, max_entry_bytes=1000)
    alone = TieredStore(memory, None, on_error="open")
    async with opened(own_server.url) as l2:
        store = TieredStore(memory, l2.store, on_error="open")
        before = (store.has_room, store.can_ask, alone.can_ask)
        for name in "abc":
            store.back_fill(key_of(name), response(), NOW, idle=None)
        own_server.kill()
        await store.look_up(KEY)

        assert before == (True, True, False)
        assert (store.has_room, store.can_ask) == (False, False)


def test_the_state_can_be_read() -> None:
    text = repr(TieredStore(make_memory(), None, on_error="open"))

    assert text.startswith("<TieredStore <MemoryStore 0/90 response")


async def test_what_was_kept_is_in_l2_once_it_is_written(l2: L2, server: Valkey) -> None:
    store = TieredStore(make_memory(), l2.store, on_error="open")
    store.keep(KEY, response(), NOW, idle=None, began_at=1.0)

    assert await told(store.when_written)
    assert server.ask("EXISTS", l2.name(KEY)) == 1
