"""L1: bounds, order of use, ends of life, and the share of the absences."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.model import Entry, Held
from proxy.observe.metrics import Metrics
from proxy.store.memory import Cause, MemoryStore
from proxy.store.sizes import entry_bytes
from tests.support.entries import NOW, absence, key_of, response, vary_record

KIB = 1024


def make_store(
    *, max_entries: int = 100, max_bytes: int = 1024 * KIB, max_entry_bytes: int = 64 * KIB
) -> MemoryStore:
    return MemoryStore(
        Metrics(), max_entries=max_entries, max_bytes=max_bytes, max_entry_bytes=max_entry_bytes
    )


def evictions(store: MemoryStore) -> dict[str, int]:
    """Counted so far, by cause."""
    return {cause: count for (cause,), count in store._metrics.l1_evictions.values.items()}


def refusals(store: MemoryStore) -> dict[str, int]:
    return {cause: count for (cause,), count in store._metrics.l1_refused.values.items()}


def fill(store: MemoryStore, names: str, entry: Entry, *, now: float = NOW) -> None:
    for name in names:
        store.put(key_of(name), entry, now)


def held_names(store: MemoryStore, names: str) -> str:
    """Which of these are there, without touching the order."""
    return "".join(name for name in names if key_of(name) in store)


class TestKeeping:
    def test_what_was_put_is_found(self) -> None:
        store = make_store()
        entry = response()

        held = store.put(key_of("a"), entry, NOW, idle=5.0)

        assert store.peek(key_of("a"), NOW) is held
        assert (held.entry, held.kept_at, held.idle) == (entry, NOW, 5.0)
        assert held.size == entry_bytes(key_of("a"), entry)

    def test_what_is_held_can_be_compared_also_when_it_has_ended(self) -> None:
        store = make_store()
        entry, other = response(ttl=1.0), absence()
        store.put(key_of("a"), entry, NOW)
        store.put(key_of("b"), other, NOW)

        assert store.entry(key_of("a")) is entry
        assert store.entry(key_of("b")) is other
        assert store.entry(key_of("c")) is None
        assert store.peek(key_of("a"), NOW + 1) is None
        assert store.entry(key_of("a")) is None

    def test_another_key_is_a_miss(self) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW)

        assert store.peek(key_of("b"), NOW) is None

    def test_the_newer_entry_replaces_the_older(self) -> None:
        store = make_store()
        store.put(key_of("a"), response(b"old"), NOW)

        newer = store.put(key_of("a"), response(b"new"), NOW)

        assert store.peek(key_of("a"), NOW) is newer
        assert (len(store), evictions(store)) == (1, {"replaced": 1})

    def test_vary_records_are_entries_too(self) -> None:
        store = make_store()
        record = vary_record(key_of("variant"))

        store.put(key_of("a"), record, NOW)

        held = store.peek(key_of("a"), NOW)
        assert held is not None
        assert held.entry is record
        assert store.gauges()["l1_entries"]() == {("response",): 1, ("negative",): 0}

    @pytest.mark.parametrize("cause", Cause)
    def test_what_is_dropped_is_gone_and_counted(self, cause: Cause) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW)

        store.drop(key_of("a"), cause.value)
        store.drop(key_of("a"), cause.value)

        assert store.peek(key_of("a"), NOW) is None
        assert evictions(store) == {cause.value: 1}

    def test_a_cause_that_no_metric_knows_is_a_fault_of_ours(self) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW)

        with pytest.raises(ValueError, match="whim"):
            store.drop(key_of("a"), "whim")

    def test_clearing_leaves_nothing(self) -> None:
        store = make_store()
        fill(store, "abc", response())
        store.put(key_of("d"), absence(), NOW)

        store.clear()

        assert (len(store), evictions(store)) == (0, {"invalidated": 4})
        assert store.gauges()["l1_bytes"]() == {("response",): 0, ("negative",): 0}

    def test_the_state_can_be_read(self) -> None:
        store = make_store(max_entries=20, max_bytes=1000 * KIB)
        held = store.put(key_of("a"), response(), NOW)

        assert repr(store) == (
            f"<MemoryStore 1/18 response, {held.size}/921600 bytes; 0/2 negative, 0/102400 bytes>"
        )


class TestOrder:
    def test_the_oldest_goes_when_there_are_too_many(self) -> None:
        store = make_store(max_entries=4)  # three responses and one absence

        fill(store, "abcd", response())

        assert (held_names(store, "abcd"), evictions(store)) == ("bcd", {"size": 1})

    def test_what_was_used_outlives_what_was_not(self) -> None:
        store = make_store(max_entries=4)
        fill(store, "abc", response())

        store.peek(key_of("a"), NOW)
        fill(store, "d", response())

        assert held_names(store, "abcd") == "acd"

    def test_what_was_replaced_counts_as_used(self) -> None:
        store = make_store(max_entries=4)
        fill(store, "abc", response())

        fill(store, "ad", response())

        assert held_names(store, "abcd") == "acd"

    def test_looking_around_is_no_use(self) -> None:
        store = make_store(max_entries=4)
        fill(store, "abc", response())

        assert key_of("a") in store
        list(store.entries())
        store.sweep(NOW, limit=10)
        fill(store, "d", response())

        assert held_names(store, "abcd") == "bcd"

    def test_entries_come_most_recently_used_first(self) -> None:
        store = make_store()
        fill(store, "abc", response())
        fill(store, "x", absence())
        store.peek(key_of("b"), NOW)

        keys = [key for key, _ in store.entries()]

        assert keys == [key_of(name) for name in "bcax"]

    def test_what_is_dropped_during_an_iteration_is_left_out(self) -> None:
        store = make_store()
        fill(store, "abc", response())
        entries = store.entries()
        seen = [key for key, _ in islice(entries, 1)]

        store.drop(key_of("b"), "invalidated")
        fill(store, "d", response())

        assert seen + [key for key, _ in entries] == [key_of("c"), key_of("a")]


class TestBytes:
    def test_the_oldest_goes_when_there_are_too_many_bytes(self) -> None:
        size = entry_bytes(key_of("a"), response())
        store = make_store(max_bytes=size * 10 * 2 // 9 + 10)  # nine tenths hold two

        fill(store, "ab", response())
        assert held_names(store, "ab") == "ab"
        fill(store, "c", response())

        assert (held_names(store, "abc"), evictions(store)) == ("bc", {"size": 1})

    def test_one_large_entry_may_push_out_several(self) -> None:
        store = make_store(max_bytes=100 * KIB)  # 90 for responses
        fill(store, "abc", response(b"x" * 25 * KIB))

        fill(store, "d", response(b"x" * 50 * KIB))

        assert (held_names(store, "abcd"), evictions(store)) == ("cd", {"size": 2})

    def test_a_replacement_gives_its_bytes_back(self) -> None:
        store = make_store(max_bytes=100 * KIB)

        for _ in range(10):
            fill(store, "a", response(b"x" * 50 * KIB))

        assert evictions(store) == {"replaced": 9}

    @pytest.mark.parametrize(("body_bytes", "refused"), [(1000, {}), (1001, {"too-large": 1})])
    def test_a_body_may_have_max_entry_bytes(self, body_bytes: int, refused: dict[str, int]) -> None:
        store = make_store(max_entry_bytes=1000)

        store.put(key_of("a"), response(b"x" * body_bytes), NOW)

        assert refusals(store) == refused
        assert (store.peek(key_of("a"), NOW) is None) == bool(refused)

    def test_an_entry_that_would_empty_its_share_is_refused(self) -> None:
        store = make_store(max_bytes=100 * KIB, max_entry_bytes=1024 * KIB)
        fill(store, "abc", response())

        fill(store, "d", response(b"x" * 90 * KIB))

        assert (held_names(store, "abcd"), refusals(store)) == ("abc", {"too-large": 1})

    def test_a_refused_entry_is_handed_out_and_its_predecessor_gone(self) -> None:
        store = make_store(max_entry_bytes=1000)
        store.put(key_of("a"), response(b"old"), NOW)
        new = response(b"x" * 1001)

        held = store.put(key_of("a"), new, NOW)

        assert held.entry is new
        assert store.peek(key_of("a"), NOW) is None

    def test_a_peek_allocates_nothing(self) -> None:
        store = make_store()
        key = key_of("a")
        store.put(key, response(), NOW, idle=60.0)
        later = NOW + 1.0
        store.peek(key, later)
        tracemalloc.start()
        try:
            for _ in range(100):
                store.peek(key, later)
            allocated, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert allocated < 100, f"{allocated} bytes stay behind 100 hits"


class TestLifetimes:
    @pytest.mark.parametrize(("after", "is_there"), [(0.0, True), (59.999, True), (60.0, False), (61, False)])
    def test_an_entry_ends_when_it_expires(self, after: float, is_there: bool) -> None:
        store = make_store()
        store.put(key_of("a"), response(ttl=60.0), NOW)

        assert (store.peek(key_of("a"), NOW + after) is not None) == is_there
        assert evictions(store) == ({} if is_there else {"expired": 1})

    @pytest.mark.parametrize(("after", "is_there"), [(4.999, True), (5.0, False)])
    def test_an_entry_ends_when_it_is_idle(self, after: float, is_there: bool) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW, idle=5.0)

        assert (store.peek(key_of("a"), NOW + after) is not None) == is_there
        assert evictions(store) == ({} if is_there else {"idle": 1})

    def test_each_use_winds_the_idle_clock(self) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW, idle=5.0)

        seen = [store.peek(key_of("a"), NOW + after) is not None for after in (4, 8, 12, 16, 21)]

        assert seen == [True, True, True, True, False]

    def test_an_inspection_does_not_wind_it(self) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW, idle=5.0)

        assert key_of("a") in store

        assert store.peek(key_of("a"), NOW + 5) is None

    def test_what_has_expired_already_is_refused(self) -> None:
        store = make_store()

        store.put(key_of("a"), response(ttl=0.0), NOW)

        assert (len(store), refusals(store)) == (0, {"expired": 1})


class TestSweep:
    def test_what_nobody_asks_for_is_swept(self) -> None:
        store = make_store()
        fill(store, "abc", response(ttl=10.0))
        fill(store, "de", response(ttl=60.0))
        store.put(key_of("f"), response(ttl=60.0), NOW, idle=10.0)
        fill(store, "x", absence(ttl=10.0))

        swept = store.sweep(NOW + 10, limit=100)

        assert (swept, held_names(store, "abcdefx")) == (5, "de")
        assert evictions(store) == {"expired": 4, "idle": 1}

    def test_each_call_examines_a_bounded_number_and_goes_on(self) -> None:
        store = make_store()
        fill(store, "abcdefg", response(ttl=10.0))

        swept = [store.sweep(NOW + 10, limit=3) for _ in range(4)]

        assert swept == [3, 3, 1, 0]

    def test_what_came_after_the_round_began_is_seen_in_the_next(self) -> None:
        store = make_store()
        fill(store, "ab", response(ttl=60.0))
        store.sweep(NOW, limit=1)

        fill(store, "c", response(ttl=10.0))

        assert [store.sweep(NOW + 10, limit=2) for _ in range(2)] == [0, 1]

    def test_an_empty_store_can_be_swept(self) -> None:
        assert make_store().sweep(NOW, limit=10) == 0


class TestNegatives:
    def test_a_flood_of_absences_pushes_out_no_response(self) -> None:
        store = make_store(max_entries=100)
        fill(store, "abcdefghij", response())

        for number in range(1000):
            store.put(key_of(f"random {number}"), absence(), NOW)

        assert held_names(store, "abcdefghij") == "abcdefghij"
        assert store.gauges()["l1_entries"]() == {("response",): 10, ("negative",): 10}

    def test_a_flood_of_large_absences_stays_within_its_bytes(self) -> None:
        store = make_store(max_bytes=1000 * KIB, max_entries=100_000)
        fill(store, "abc", response(b"x" * 60 * KIB))

        for number in range(100):
            store.put(key_of(f"random {number}"), absence(lines=b"X" * 10 * KIB), NOW)

        assert held_names(store, "abc") == "abc"
        assert 80 * KIB < store.gauges()["l1_bytes"]()[("negative",)] <= 100 * KIB

    def test_an_absence_that_would_empty_their_share_is_refused(self) -> None:
        store = make_store(max_bytes=100 * KIB, max_entry_bytes=1024 * KIB)
        fill(store, "abc", absence())

        fill(store, "d", absence(lines=b"X" * 11 * KIB))

        assert (held_names(store, "abcd"), refusals(store)) == ("abc", {"too-large": 1})

    def test_a_flood_of_responses_pushes_out_no_absence(self) -> None:
        store = make_store(max_entries=10)
        store.put(key_of("absent"), absence(), NOW)

        fill(store, "abcdefghijklmno", response())

        assert store.peek(key_of("absent"), NOW) is not None

    def test_a_product_that_appears_replaces_its_absence(self) -> None:
        store = make_store()
        store.put(key_of("a"), absence(), NOW)

        held = store.put(key_of("a"), response(), NOW)

        assert store.peek(key_of("a"), NOW) is held
        assert store.gauges()["l1_entries"]() == {("response",): 1, ("negative",): 0}

    def test_a_product_that_vanishes_is_replaced_by_its_absence(self) -> None:
        store = make_store()
        store.put(key_of("a"), response(), NOW)

        held = store.put(key_of("a"), absence(), NOW)

        assert store.peek(key_of("a"), NOW) is held
        assert store.gauges()["l1_entries"]() == {("response",): 0, ("negative",): 1}


class TestResizing:
    def test_shrinking_evicts_the_least_recently_used(self) -> None:
        store = make_store(max_entries=100)
        fill(store, "abcdefghij", response())
        fill(store, "xy", absence())

        store.resize(max_entries=4, max_bytes=1024 * KIB, max_entry_bytes=KIB)

        assert (held_names(store, "abcdefghijxy"), evictions(store)) == ("hijy", {"size": 8})

    def test_growing_makes_room(self) -> None:
        store = make_store(max_entries=4)
        fill(store, "abc", response())

        store.resize(max_entries=100, max_bytes=1024 * KIB, max_entry_bytes=KIB)
        fill(store, "defghij", response())

        assert held_names(store, "abcdefghij") == "abcdefghij"

    def test_the_limit_gauge_follows(self) -> None:
        store = make_store(max_bytes=1000)

        store.resize(max_entries=4, max_bytes=2000, max_entry_bytes=KIB)

        assert store.gauges()["l1_limit_bytes"]() == {(): 2000}

    def test_the_smallest_store_holds_one_of_each(self) -> None:
        store = make_store(max_entries=1)

        fill(store, "ab", response())
        fill(store, "xy", absence())

        assert held_names(store, "abxy") == "by"


@given(st.integers(1, 50), st.integers(2_000, 20_000))
def test_the_shares_never_exceed_the_whole(max_entries: int, max_bytes: int) -> None:
    store = make_store(max_entries=max_entries, max_bytes=max_bytes)
    for number in range(60):
        store.put(key_of(f"{number}"), absence() if number % 3 else response(), NOW)

    assert len(store) <= max(2, max_entries)
    assert sum(store.gauges()["l1_bytes"]().values()) <= max_bytes


class AnyOrder(RuleBasedStateMachine):
    """Whatever is done in whatever order: the counts are those of what is there, and bounds hold."""

    NAMES = st.sampled_from("abcdefghijklmnop")

    def __init__(self) -> None:
        super().__init__()
        self.store = make_store(max_entries=10, max_bytes=20 * KIB, max_entry_bytes=8 * KIB)
        self.now = NOW
        self.ends: dict[bytes, float] = {}

    @rule(name=NAMES, negative=st.booleans(), ttl=st.floats(0, 20), body=st.integers(0, 10 * KIB))
    def put(self, name: str, negative: bool, ttl: float, body: int) -> None:
        make = absence if negative else response
        entry = make(ttl=ttl, now=self.now, lines=b"x" * body)
        self.store.put(key_of(name), entry, self.now, idle=ttl / 2 or None)

    @rule(name=NAMES)
    def peek(self, name: str) -> None:
        held = self.store.peek(key_of(name), self.now)

        assert held is None or held.entry.expires_at > self.now

    @rule(name=NAMES, cause=st.sampled_from(Cause))
    def drop(self, name: str, cause: Cause) -> None:
        self.store.drop(key_of(name), cause.value)

        assert key_of(name) not in self.store

    @rule(seconds=st.floats(0, 10), limit=st.integers(1, 20))
    def sweep(self, seconds: float, limit: int) -> None:
        self.now += seconds
        self.store.sweep(self.now, limit)

    @rule(max_entries=st.integers(1, 30), max_bytes=st.integers(0, 40 * KIB))
    def resize(self, max_entries: int, max_bytes: int) -> None:
        self.store.resize(max_entries=max_entries, max_bytes=max_bytes, max_entry_bytes=8 * KIB)

    @precondition(lambda self: len(self.store) > 5)
    @rule()
    def clear(self) -> None:
        self.store.clear()

    @invariant()
    def counts_are_true(self) -> None:
        copies: dict[bytes, Held] = dict(self.store.entries())
        counted = self.store.gauges()

        assert len(copies) == len(self.store) == sum(counted["l1_entries"]().values())
        assert sum(held.size for held in copies.values()) == sum(counted["l1_bytes"]().values())
        assert sum(counted["l1_bytes"]().values()) <= counted["l1_limit_bytes"]()[()]


TestAnyOrder = AnyOrder.TestCase


class TestShards:
    """From 4,096 entries on L1 is cut, so that no dict is ever rebuilt at length."""

    @pytest.mark.parametrize(
        ("max_entries", "count"),
        [(1, 1), (4_095, 1), (4_096, 2), (100_000, 32), (1_000_000, 256), (10**9, 256)],
    )
    def test_no_shard_has_many_more_entries_than_allowed(self, max_entries: int, count: int) -> None:
        store = make_store(max_entries=max_entries)

        assert (len(store._responses.shards), len(store._negatives.shards)) == (count, count)

    def test_the_oldest_of_all_shards_goes_first(self) -> None:
        store = make_store(max_entries=30_000, max_bytes=10 * entry_bytes(key_of("0"), response()) * 10 // 9)
        names = [str(number) for number in range(11)]
        for number, name in enumerate(names):
            store.put(key_of(name), response(), NOW + number)
            store.peek(key_of("0"), NOW + number + 0.5)

        assert len({key_of(name)[0] % 8 for name in names}) > 4
        assert [name for name in names if key_of(name) not in store] == ["1"]

    def test_of_many_shards_all_give_way_in_turn(self) -> None:
        store = make_store(max_entries=1_000_000, max_bytes=1_000 * entry_bytes(key_of("0"), response()))
        for number in range(10_000):
            store.put(key_of(str(number)), response(now=NOW + number), NOW + number)

        kept = [number for number in range(10_000) if key_of(str(number)) in store]

        assert len(kept) == 900
        assert min(kept) > 7_000

    def test_a_sweep_ends_with_the_shard_and_goes_on_with_the_next(self) -> None:
        store = make_store(max_entries=100_000)
        for number in range(40):
            store.put(key_of(str(number)), response(ttl=10.0), NOW)
        sizes = [len(shard) for shard in store._responses.shards]

        assert [store.sweep(NOW + 10, limit=1000) for _ in sizes] == sizes

    def test_what_was_replaced_meanwhile_is_not_swept(self) -> None:
        store = make_store()
        fill(store, "ab", response(ttl=10.0))
        store.sweep(NOW, limit=1)
        fill(store, "ab", response(ttl=60.0))

        assert store.sweep(NOW + 10, limit=1) == 0
        assert (held_names(store, "ab"), evictions(store)) == ("ab", {"replaced": 2})
        assert sum(store.gauges()["l1_bytes"]().values()) == sum(h.size for _, h in store.entries())

    def test_the_collector_does_not_know_of_what_l1_holds(self) -> None:
        store = make_store(max_entries=100_000)
        gc.collect()
        before = len(gc.get_objects())

        for number in range(1_000):
            store.put(key_of(str(number)), response(tags=(b"a",)), NOW)
        gc.collect()

        assert len(gc.get_objects()) - before < 20


class TestLookingAhead:
    def test_what_was_used_last_comes_first_and_is_not_counted_as_used(self) -> None:
        store = make_store()
        fill(store, "abc", response())
        fill(store, "xyz", absence())
        store.peek(key_of("a"), NOW + 5)

        copies = [(key, held.used_at) for key, held in store.recently_used(0, 2)]

        times = [(key_of("a"), NOW + 5), (key_of("c"), NOW), (key_of("z"), NOW), (key_of("y"), NOW)]
        assert (copies, store.shard_count) == (times, 1)

    def test_each_shard_is_asked_by_itself(self) -> None:
        store = make_store(max_entries=100_000)
        fill(store, "abcdefgh", response())

        found = [key for shard in range(store.shard_count) for key, _ in store.recently_used(shard, 100)]

        assert sorted(found) == sorted(map(key_of, "abcdefgh"))
        assert store.shard_count == 32

    @pytest.mark.parametrize(("count", "has_room"), [(0, True), (80, True), (81, False), (90, False)])
    def test_a_tenth_is_left_to_those_who_ask(self, count: int, has_room: bool) -> None:
        store = make_store(max_entries=100)
        for number in range(count):
            store.put(key_of(str(number)), response(), NOW)

        assert store.has_room is has_room

    def test_a_tenth_of_the_bytes_too(self) -> None:
        size = entry_bytes(key_of("0"), response())
        store = make_store(max_bytes=10 * size)
        rooms = [store.has_room]
        for number in range(9):
            store.put(key_of(str(number)), response(), NOW)
            rooms.append(store.has_room)

        assert rooms == [True] * 9 + [False]
