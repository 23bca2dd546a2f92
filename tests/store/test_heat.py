"""What is hot in L1, from when it was used last: exact means, and who may push out whom."""

from __future__ import annotations

import pytest

from proxy.observe.metrics import Metrics
from proxy.store.heat import NEWCOMER_SECONDS, WEIGHT, Heat
from proxy.store.memory import MemoryStore
from tests.support.entries import NOW, key_of, response

A, B = key_of("a"), key_of("b")


def make_memory(max_entries: int = 1000) -> MemoryStore:
    return MemoryStore(Metrics(), max_entries=max_entries, max_bytes=1 << 24, max_entry_bytes=1000)


def fill(memory: MemoryStore, *keys: bytes, now: float = NOW) -> None:
    for key in keys:
        memory.put(key, response(ttl=1e6), now)


def mean(*looks: float) -> float:
    """Seconds since the last use, as they were seen."""
    value = NEWCOMER_SECONDS
    for seconds in looks:
        value += WEIGHT * (seconds - value)
    return value


def test_nothing_is_hot_before_the_first_look() -> None:
    memory = make_memory()
    fill(memory, A)

    assert Heat(memory, most_keys=10).rates() == {}


def test_the_rate_is_that_of_the_mean_time_since_the_last_use() -> None:
    memory = make_memory()
    heat = Heat(memory, most_keys=10)
    fill(memory, A, B)
    heat.look(NOW + 2)
    memory.peek(A, NOW + 3.5)
    heat.look(NOW + 4)

    assert heat.rates() == {A: pytest.approx(1 / mean(2, 0.5)), B: pytest.approx(1 / mean(2, 4))}


def test_looking_is_no_use() -> None:
    memory = make_memory()
    fill(memory, A, B)
    before = [(key, held.used_at) for key, held in memory.entries()]

    Heat(memory, most_keys=10).look(NOW + 2)

    assert [(key, held.used_at) for key, held in memory.entries()] == before


@pytest.mark.parametrize(("now", "seconds"), [(NOW - 50, 0.0), (NOW, 0.0), (NOW + 1e5, 1e5)])
def test_a_clock_that_steps_makes_nothing_negative(now: float, seconds: float) -> None:
    memory = make_memory()
    heat = Heat(memory, most_keys=10)
    fill(memory, A)
    heat.look(now)

    assert heat.rates() == {A: pytest.approx(1 / mean(seconds))}


def test_what_is_asked_for_all_the_time_stays_hotter_than_what_a_crawler_reads() -> None:
    memory = make_memory()
    heat = Heat(memory, most_keys=20)
    hot = [key_of(f"hot {number}") for number in range(20)]
    fill(memory, *hot)
    for second in range(10):
        for key in hot:
            memory.peek(key, NOW + second)
        heat.look(NOW + second + 0.5)
    fill(memory, *(key_of(f"once {number}") for number in range(500)), now=NOW + 11)
    heat.look(NOW + 11)

    rates = heat.rates()
    assert set(sorted(rates, key=rates.__getitem__)[-20:]) == set(hot)


def test_what_cooled_down_gives_way() -> None:
    memory = make_memory()
    heat = Heat(memory, most_keys=1)
    fill(memory, A, B)
    for second in range(20):
        memory.peek(A if second < 10 else B, NOW + second)
        heat.look(NOW + second)

    rates = heat.rates()
    assert rates[B] > 10 * rates[A]


def test_what_left_l1_is_forgotten() -> None:
    memory = make_memory()
    heat = Heat(memory, most_keys=10)
    fill(memory, A, B)
    heat.look(NOW)
    memory.drop(A, "size")
    heat.look(NOW)

    assert list(heat.rates()) == [B]


def test_no_more_keys_are_remembered_than_asked_for() -> None:
    memory = make_memory(max_entries=100_000)
    heat = Heat(memory, most_keys=64)
    fill(memory, *(key_of(str(number)) for number in range(2_000)))
    for _ in range(memory.shard_count):
        heat.look(NOW)

    assert repr(heat) == "<Heat 96 keys>"  # 32 shards, 64 * 1.25 / 32 of each, rounded up
    assert len(heat.rates()) == 96


def test_each_look_is_at_the_next_shard() -> None:
    memory = make_memory(max_entries=100_000)
    keys = [key_of(str(number)) for number in range(200)]
    fill(memory, *keys)
    heat = Heat(memory, most_keys=10_000)
    seen = []
    for _ in range(memory.shard_count):
        heat.look(NOW)
        seen.append(len(heat.rates()))

    assert seen == sorted(seen)
    assert (seen[0] < 30, seen[-1]) == (True, 200)


def test_how_long_a_key_was_idle_is_the_mean_or_what_is_seen_now() -> None:
    memory = make_memory(max_entries=100_000)
    heat = Heat(memory, most_keys=10)
    fill(memory, A)
    for _ in range(memory.shard_count):
        heat.look(NOW + 2)

    assert heat.seconds_idle(A, 5.0) == pytest.approx(mean(2))
    assert heat.seconds_idle(B, 5.0) == pytest.approx(mean(5))
    assert heat.seconds_idle(B, 5.0) < heat.seconds_idle(B, 6.0)
