"""One server's part of L2, as a node of a real cluster of two; L2 over both of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.crc import key_slot

from proxy.observe.metrics import Metrics
from proxy.store.redis_client import connect
from proxy.store.redis_link import Failure, Fault
from proxy.store.redis_shard import RedisShard
from proxy.store.redis_topology import Topology, topology_of
from tests.support.clocks import GatedPause, SteppedClock
from tests.support.entries import key_of, response
from tests.support.l2 import L2
from tests.support.redis_groups import Cluster, running_cluster
from tests.support.telling import told
from tests.support.valkey import Valkey, free_port, running_valkey

PROBE = b"shop:e3:probe"
HALF = 8192


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    with running_cluster(masters=2, has_replicas=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    shared_cluster.ask_all("FLUSHALL")
    shared_cluster.ask_all("CONFIG", "RESETSTAT")
    return shared_cluster


class Node:
    """A shard on one server, whose pauses are the test's."""

    def __init__(self, server: Valkey, *, is_slotted: bool = True) -> None:
        self.doubts = 0
        self.metrics = Metrics()
        clock = SteppedClock()
        self.pause = GatedPause(clock)
        self.shard = RedisShard(
            connect(server.url, timeout=2.0),
            timeout=2.0,
            probe_name=PROBE,
            is_slotted=is_slotted,
            metrics=self.metrics,
            doubt=self._doubt,
            clock=clock,
            pause=self.pause,
        )

    def _doubt(self) -> None:
        self.doubts += 1


@pytest.fixture
async def first(cluster: Cluster) -> AsyncIterator[Node]:
    node = Node(cluster.nodes[0])
    yield node
    await node.shard.aclose()


def names(is_first: bool, count: int = 20) -> list[bytes]:
    """Names of keys in slots of the first node, or of the other."""
    found = (b"k%d" % number for number in range(1000))
    return [name for name in found if (key_slot(name) < HALF) is is_first][:count]


def faults(values: object) -> list[object]:
    assert isinstance(values, list)
    return [value.fault if isinstance(value, Failure) else value for value in values]


async def test_keys_of_many_slots_travel_in_one_round_trip(cluster: Cluster, first: Node) -> None:
    ours = [*names(True), b"{k0}a", b"{k0}b"] if key_slot(b"k0") < HALF else names(True)
    await first.shard.set([(name, b"v" + name, 60_000) for name in ours])
    values = await first.shard.get([*reversed(ours), b"{%s}none" % ours[0]])

    assert values == [*(b"v" + name for name in reversed(ours)), None]
    assert first.metrics.l2_seconds.get("get") == 1
    assert first.metrics.l2_operations.values["set", "stored"] == len(ours)
    assert first.doubts == 0


async def test_keys_of_one_slot_are_one_command(cluster: Cluster, first: Node) -> None:
    tag = names(True)[0]
    await first.shard.get([b"{%s}%d" % (tag, number) for number in range(50)])

    assert cluster.nodes[0].calls("mget") == 1


async def test_what_is_read_along_names_keys_of_one_slot(cluster: Cluster) -> None:
    topology = topology_of(cluster.url)
    await topology.start()
    l2 = L2(topology)
    readings = [l2.store.reading(key_of(str(number)), together=1) for number in range(50)]
    for reading in readings:
        assert reading is not None
        link, (form, _), read = reading
        assert ... not in form  # so that nobody joins it with another slot's
        replies = await link.ask_all("lease", [reading[1]])
        assert replies == [[None]]
        assert read([None]) is None
    await l2.store.aclose()
    await topology.aclose()


async def test_a_key_that_moved_is_a_failure_of_its_own_and_a_doubt(first: Node) -> None:
    ours, theirs = names(True)[0], names(False)[0]
    values = await first.shard.get([theirs, ours])

    assert faults(values) == [Fault.MOVED, None]
    assert first.doubts == 1
    assert not first.shard.link.is_open
    await first.shard.set([(theirs, b"v", 1000), (ours, b"v", 1000)])
    assert first.metrics.l2_dropped_writes.values == {("moved",): 1}
    assert first.shard.refusal is None


async def test_a_key_on_its_way_to_another_node_is_a_failure_of_its_own(
    cluster: Cluster, first: Node
) -> None:
    name = names(True)[0]
    source, target = cluster.nodes
    cluster.begin_move(key_slot(name), target)
    try:
        assert faults(await first.shard.get([name])) == [Fault.ASK]
        assert (first.doubts, first.shard.link.is_open) == (0, False)
    finally:
        source.ask("CLUSTER", "SETSLOT", key_slot(name), "STABLE")
        target.ask("CLUSTER", "SETSLOT", key_slot(name), "STABLE")


async def test_a_node_that_sends_the_probe_elsewhere_is_alive(cluster: Cluster) -> None:
    nodes = [Node(server) for server in cluster.nodes]
    for node in nodes:
        await node.shard.start()

    assert [node.shard.link.is_open for node in nodes] == [False, False]
    for node in nodes:
        await node.shard.aclose()


async def test_a_cluster_that_is_down_opens_the_breaker(cluster: Cluster) -> None:
    with running_valkey(cluster_enabled="yes", cluster_port=str(free_port())) as alone:
        node = Node(alone)
        values = await node.shard.get([b"a"])

        assert faults(values) == [Fault.UNREACHABLE]
        assert node.shard.link.is_open
        assert node.shard.refusal is Fault.BREAKER
        await node.pause.end_next()
        await node.pause.begun()
        assert node.metrics.l2_operations.values["probe", "unreachable"] == 1
        assert node.doubts == 2
        await node.shard.aclose()


async def test_a_master_without_its_replicas_is_tried_again_soon(own_server: Valkey) -> None:
    own_server.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    node = Node(own_server, is_slotted=False)
    await node.shard.set([(b"a", b"v", 1000)])

    assert node.shard.refusal is Fault.NO_REPLICAS
    assert repr(node.shard) == "<RedisShard <RedisLink <Breaker closed>> <WritePause no-replicas>>"
    own_server.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    await node.shard.aclose()


class TestBoth:
    """L2 over the whole cluster."""

    @pytest.fixture
    async def topology(self, cluster: Cluster) -> AsyncIterator[Topology]:
        topology = topology_of(cluster.url)
        await topology.start()
        yield topology
        await topology.aclose()

    @pytest.fixture
    async def l2(self, topology: Topology) -> AsyncIterator[L2]:
        l2 = L2(topology, timeout=2.0)
        await l2.store.start()
        yield l2
        await l2.store.aclose()

    async def test_a_thousand_look_ups_of_one_tick_are_one_round_trip_a_node(self, l2: L2) -> None:
        entries = {key_of(str(number)): response(b"%d" % number) for number in range(1000)}
        for key, entry in entries.items():
            l2.store.put(key, entry)
        await l2.written()
        found = await asyncio.gather(*(l2.store.look_up(key) for key in entries))

        assert found == list(entries.values())
        assert l2.metrics.l2_seconds.get("get") == 2
        assert l2.operations("set") == {"stored": 1000}

    async def test_a_slot_that_moves_costs_misses_until_it_is_found(
        self, cluster: Cluster, l2: L2, topology: Topology
    ) -> None:
        key = next(key_of(str(n)) for n in range(100) if key_slot(l2.name(key_of(str(n))).encode()) < HALF)
        slot = key_slot(l2.name(key).encode())
        l2.store.put(key, response())
        await l2.written()
        source, target = cluster.nodes
        cluster.move_slot(slot, target)
        try:
            assert await l2.store.look_up(key) is None
            async with asyncio.timeout(10):
                while topology.version == 1:  # noqa: ASYNC110 - a state, not an event
                    await asyncio.sleep(0.01)

            assert await l2.store.look_up(key) == response()
            assert l2.operations("get") == {"moved": 1, "hit": 1}
            assert not l2.store.is_open
        finally:
            cluster.move_slot(slot, source)

    async def test_one_silent_node_costs_the_keys_of_the_other_nothing(
        self, cluster: Cluster, topology: Topology
    ) -> None:
        l2 = L2(topology, timeout=0.2)
        keys = [key_of(str(number)) for number in range(100)]
        theirs = [key for key in keys if key_slot(l2.name(key).encode()) >= HALF]
        for key in keys:
            l2.store.put(key, response())
        await l2.written()
        cluster.nodes[1].pause()
        try:
            found = await asyncio.gather(*(l2.store.look_up(key) for key in keys))
            again = await asyncio.gather(*(l2.store.look_up(key) for key in keys))
        finally:
            cluster.nodes[1].resume()
        is_open = l2.store.is_open
        await l2.store.aclose()

        expected = [None if key in theirs else response() for key in keys]
        assert found == again == expected
        misses, hits = len(theirs), len(keys) - len(theirs)
        assert l2.operations("get") == {"hit": 2 * hits, "timeout": misses, "breaker": misses}
        assert is_open


async def test_nobody_knows_the_servers_of_a_cluster_that_is_not_there() -> None:
    topology = topology_of("redis+cluster://127.0.0.1:1")
    await topology.start()
    l2 = L2(topology)
    await l2.store.start()
    l2.store.put(key_of("a"), response())

    assert await l2.store.look_up(key_of("a")) is None
    assert not await told(l2.store.when_written)
    assert (l2.operations("get"), l2.drops(), l2.store.is_open) == ({"breaker": 1}, {"breaker": 1}, True)
    assert l2.store.link_of(b"shop:lease:1") is None
    await l2.store.aclose()
    await topology.aclose()
