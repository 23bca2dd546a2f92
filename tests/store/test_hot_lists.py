"""The lists of hot keys on real servers: what is told is read, and nothing wrong there is an error."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Iterator
from zlib import crc32

import pytest

from proxy.observe.metrics import Metrics
from proxy.store.codec import Garbage
from proxy.store.hot_lists import LIST_SECONDS, LISTS, MOST_KEYS, HotLists, decode, encode
from proxy.store.redis_link import RedisLink
from proxy.store.redis_topology import topology_of
from tests.support.entries import key_of
from tests.support.l2 import L2, opened
from tests.support.valkey import Valkey, free_port, running_valkey

A, B, C = (key_of(name) for name in "abc")


class Dice:
    """Rolls the lists one after the other."""

    def __init__(self) -> None:
        self.number = -1

    def __call__(self) -> float:
        self.number += 1
        return self.number % LISTS / LISTS


def lists_of(l2: L2) -> HotLists:
    return HotLists(l2.store.link_of, prefix=l2.store.prefix, metrics=l2.metrics, dice=Dice())


@pytest.fixture
async def l2(server: Valkey) -> AsyncIterator[L2]:
    async with opened(server.url) as l2:
        yield l2


async def test_where_nobody_told_anything_nothing_is_hot(l2: L2) -> None:
    assert await lists_of(l2).hottest(10) == []
    assert l2.operations("hot-list-read") == {"miss": LISTS}


async def test_what_is_used_most_by_all_together_comes_first(l2: L2) -> None:
    lists = lists_of(l2)
    await lists.publish({A: 5.0, B: 4.0})
    await lists.publish({B: 2.0, C: 5.5})

    assert await lists.hottest(10) == [B, C, A]
    assert await lists.hottest(2) == [B, C]
    assert l2.operations("hot-list-write") == {"stored": 2}
    assert l2.operations("hot-list-read") == {"hit": 4, "miss": 2 * (LISTS - 2)}


async def test_a_fleet_of_any_size_has_so_many_lists_that_end_by_themselves(l2: L2, server: Valkey) -> None:
    lists = lists_of(l2)
    for number in range(3 * LISTS):
        await lists.publish({key_of(str(number)): 1.0})

    names = sorted(server.ask("KEYS", "*"))
    assert names == [b"shop:e3:hot:%d" % number for number in range(LISTS)]
    assert len(await lists.hottest(100) or ()) == LISTS
    left_ms = [server.ask("PTTL", name) for name in names]
    assert all((LIST_SECONDS - 60) * 1000 < each <= LIST_SECONDS * 1000 for each in left_ms)


async def test_nothing_is_told_where_nothing_is_known(l2: L2, server: Valkey) -> None:
    await lists_of(l2).publish({})

    assert server.ask("DBSIZE") == 0


async def test_garbage_in_a_list_is_counted_and_the_others_are_read(l2: L2, server: Valkey) -> None:
    lists = lists_of(l2)
    server.ask("SET", "shop:e3:hot:1", b"x" * 1000)
    server.ask("LPUSH", "shop:e3:hot:2", "x")
    await lists.publish({A: 1.0})

    assert await lists.hottest(10) == [A]
    assert l2.operations("hot-list-read") == {"hit": 1, "garbage": 1, "miss": LISTS - 2}
    assert l2.garbage() == {"magic": 1}


async def test_where_no_server_answers_nobody_can_say(own_server: Valkey) -> None:
    async with opened(own_server.url) as l2:
        lists = lists_of(l2)
        own_server.kill()
        await lists.publish({A: 1.0})

        assert await lists.hottest(10) is None
        assert l2.operations("hot-list-write") == {"unreachable": 1}
        assert l2.operations("hot-list-read") == {"breaker": LISTS}


async def test_while_nobody_knows_the_servers_nobody_can_say() -> None:
    metrics = Metrics()
    lists = HotLists(lambda _: None, prefix=b"", metrics=metrics, dice=Dice())

    assert await lists.hottest(10) is None
    assert metrics.l2_operations.get("hot-list-read", "breaker") == LISTS


async def test_the_lists_that_can_be_read_are_enough(l2: L2) -> None:
    await lists_of(l2).publish({A: 1.0})

    def link_of(name: bytes) -> RedisLink | None:
        return l2.store.link_of(name) if name.endswith(b"0") else None

    partly = HotLists(link_of, prefix=l2.store.prefix, metrics=l2.metrics, dice=Dice())

    assert await partly.hottest(10) == [A]


@pytest.fixture
def cluster() -> Iterator[str]:
    with running_valkey(cluster_enabled="yes", cluster_port=str(free_port())) as node:
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in node.raw("CLUSTER", "INFO"):
            pass
        yield f"redis+cluster://127.0.0.1:{node.port}"


async def test_in_a_cluster_each_list_is_asked_for_by_itself(cluster: str) -> None:
    topology = topology_of(cluster)
    await topology.start()
    try:
        l2 = L2(topology)
        lists = lists_of(l2)
        for number in range(LISTS):
            await lists.publish({key_of(str(number)): 1.0 + number})
        found = await lists.hottest(100)
        await l2.store.aclose()
    finally:
        await topology.aclose()

    assert found == [key_of(str(number)) for number in reversed(range(LISTS))]


LIST = encode({A: 1.0, B: 0.5})


def with_rest(rest: bytes, count: int, *, version: int = 1) -> bytes:
    return struct.pack(">4sBII", b"SdcH", version, count, crc32(rest)) + rest


DECODED: list[tuple[Callable[[], bytes], object]] = [
    (lambda: LIST, {A: 1.0, B: 0.5}),
    (lambda: encode({}), {}),
    (lambda: b"", Garbage.MAGIC),
    (lambda: b"SdcE" + LIST[4:], Garbage.MAGIC),
    (lambda: LIST[:8], Garbage.TRUNCATED),
    (lambda: LIST[:-1], Garbage.TRUNCATED),
    (lambda: LIST + b"x", Garbage.TRUNCATED),
    (lambda: LIST[:-1] + b"x", Garbage.CHECKSUM),
    (lambda: with_rest(b"", 0, version=2), Garbage.VERSION),
    (lambda: with_rest(b"", MOST_KEYS + 1), Garbage.MALFORMED),
    (lambda: with_rest(A + struct.pack(">f", float("nan")), 1), Garbage.MALFORMED),
    (lambda: with_rest(A + struct.pack(">f", float("inf")), 1), Garbage.MALFORMED),
    (lambda: with_rest(A + struct.pack(">f", -1.0), 1), Garbage.MALFORMED),
]


@pytest.mark.parametrize(("data", "read"), DECODED)
def test_any_value_is_a_list_or_garbage_of_a_kind(data: Callable[[], bytes], read: object) -> None:
    assert decode(data()) == read


def test_a_list_holds_digests_and_numbers_only() -> None:
    assert len(LIST) == 13 + 2 * 20
    assert len(encode({key_of(str(number)): 1.0 for number in range(MOST_KEYS)})) < 1_310_000
