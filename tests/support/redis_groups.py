"""Real clusters and sentinels for tests, of Valkey or of the system's Redis.

with running_cluster() as cluster:     # three masters, each with a replica
    cluster.url
    cluster.master_of(b"shop:log").kill()
with running_sentinels() as group:     # a master, two replicas, three sentinels
    group.url
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from redis.crc import key_slot

from tests.support.valkey import Sentinel, Valkey, free_port, running_valkey

PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.05
_SLOTS = 16_384
SERVICE = "cache"
NODE_TIMEOUT_MS = 2000


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a state of the servers, which tell nobody when they reach it."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < deadline, f"never: {what}"
        sleep(_POLL_SECONDS)


@dataclass
class Cluster:
    """Its nodes; the first ones begin as masters, each of a like share of the slots."""

    nodes: list[Valkey]
    masters: int
    tls_ports: list[int]
    user: str = ""

    @property
    def url(self) -> str:
        """Names two of the nodes: the others are found."""
        places = ",".join(f"127.0.0.1:{node.port}" for node in (self.nodes[0], self.nodes[-1]))
        return f"redis+cluster://{self.user}{places}"

    def tls_url(self, ca_file: str) -> str:
        """Names one of the nodes, trusted by the authority of this file."""
        return f"rediss+cluster://{self.user}127.0.0.1:{self.tls_ports[0]}?ssl_ca_certs={ca_file}"

    def master_of(self, name: bytes) -> Valkey:
        """Whom a living node takes for the one that has the key."""
        return self.owner_of(key_slot(name))

    def owner_of(self, slot: int) -> Valkey:
        """Whom a living node takes for the one that has the slot."""
        port = self._port_of(slot)
        return next(node for node in self.nodes if node.port == port)

    def others(self, node: Valkey) -> list[Valkey]:
        """The masters that have other keys, at the beginning."""
        return [master for master in self.nodes[: self.masters] if master is not node]

    def replica_of(self, master: Valkey) -> Valkey:
        """The one that follows it at the beginning."""
        return self.nodes[self.nodes.index(master) + self.masters]

    def fail_over(self, master: Valkey) -> Valkey:
        """Kill it; its replica, once it is master and everybody alive knows."""
        replica = self.replica_of(master)
        master.kill()
        self.until_taken_over(replica)
        return replica

    def until_taken_over(self, replica: Valkey) -> None:
        """Until it is master, and the cluster well."""
        until(lambda: _role(replica) == "master", "the replica was promoted")
        self.until_well()

    def until_well(self) -> None:
        """Until every living node says that all slots are served."""
        until(lambda: all(_is_well(node) for node in self.nodes if node.is_running), "the cluster is well")

    def move_slot(self, slot: int, to: Valkey) -> None:
        """As operators do: keys go one after the other while the slot is served."""
        source = self.owner_of(slot)
        self.begin_move(slot, to)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        self.end_move(slot, to)

    def begin_move(self, slot: int, to: Valkey) -> None:
        """From here on the source answers ASK for what it does not have."""
        source = self.owner_of(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(to))

    def end_move(self, slot: int, to: Valkey) -> None:
        """The slot is the other node's; the source learns it at last."""
        node_id = _id(to)
        to.ask("CLUSTER", "SETSLOT", slot, "NODE", node_id)
        for node in self.nodes[: self.masters]:
            if node is not to and node.is_running:
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", node_id)

    def ask_all(self, *command: str | int) -> None:
        """The same command to every living node."""
        for node in self.nodes:
            if node.is_running:
                node.ask(*command)

    def _port_of(self, slot: int) -> int:
        alive = next(node for node in self.nodes if node.is_running)
        for first, last, primary, *_ in alive.raw("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(primary[1])
        raise AssertionError(f"nobody has slot {slot}")


@dataclass
class SentinelGroup:
    """A service: `servers[0]` begins as master."""

    servers: list[Valkey]
    sentinels: list[Valkey]
    options: str = ""
    user: str = ""

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{self.user}{places}/{SERVICE}{self.options}"

    @property
    def master(self) -> Valkey:
        """Whom the sentinels name."""
        alive = next(sentinel for sentinel in self.sentinels if sentinel.is_running)
        _, port = alive.raw("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> Valkey:
        """Kill the master; the new one, once all sentinels name it."""
        old = self.master
        old.kill()
        return self.until_taken_over(old)

    def until_taken_over(self, old: Valkey) -> Valkey:
        """The new master, once it takes writes."""
        until(lambda: self.master is not old and _role(self.master) == "master", "another is master")
        return self.master


@contextmanager
def running_cluster(
    *,
    program: Path | None = None,
    masters: int = 3,
    has_replicas: bool = True,
    has_tls: bool = False,
    **options: str,
) -> Iterator[Cluster]:
    """Masters, each with a replica. With `has_tls` they take TLS too, on another port each."""
    given = {
        "cluster_enabled": "yes",
        "cluster_node_timeout": str(NODE_TIMEOUT_MS),
        "cluster_replica_validity_factor": "0",
        "cluster_allow_replica_migration": "no",
        "repl_diskless_sync_delay": "0",
        **options,
    }
    with ExitStack() as stack:
        buses = [free_port() for _ in range(masters * (2 if has_replicas else 1))]
        tls_ports = [free_port() if has_tls else 0 for _ in buses]
        nodes = []
        for bus, tls_port in zip(buses, tls_ports, strict=True):
            own = {"cluster_port": str(bus)} | ({"tls_port": str(tls_port)} if has_tls else {})
            nodes.append(stack.enter_context(running_valkey(program=program, **own, **given)))
        cluster = Cluster(nodes, masters, tls_ports)
        _share_slots(nodes[:masters])
        for node, bus, tls_port in zip(nodes[1:], buses[1:], tls_ports[1:], strict=True):
            nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", tls_port or node.port, bus)
        cluster.until_well()
        if has_replicas:
            _replicate(nodes, masters)
        yield cluster


@contextmanager
def running_sentinels(*, program: Path | None = None, **options: str) -> Iterator[SentinelGroup]:
    """A master, two replicas and three sentinels."""
    with ExitStack() as stack:
        given = {"repl_diskless_sync_delay": "0", **options}
        servers = [stack.enter_context(running_valkey(program=program, **given)) for _ in range(3)]
        for replica in servers[1:]:
            replica.ask("REPLICAOF", "127.0.0.1", servers[0].port)
        for replica in servers[1:]:
            until(partial(_is_in_step, replica), "the replica follows")
        sentinels = [stack.enter_context(running_sentinel(servers[0].port, program)) for _ in range(3)]
        for sentinel in sentinels:
            until(partial(_sees_group, sentinel), "the sentinels know each other")
        yield SentinelGroup(servers, sentinels)


@contextmanager
def running_sentinel(master_port: int, program: Path | None) -> Iterator[Valkey]:
    """One sentinel; told on the fly, it writes what it learns into its own file."""
    with running_valkey(program=program, kind=Sentinel) as sentinel:
        sentinel.ask("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", master_port, 2)
        sentinel.ask("SENTINEL", "SET", SERVICE, "down-after-milliseconds", 1500)
        sentinel.ask("SENTINEL", "SET", SERVICE, "failover-timeout", 5000)
        yield sentinel


def _share_slots(masters: list[Valkey]) -> None:
    for number, master in enumerate(masters):
        first, after = number * _SLOTS // len(masters), (number + 1) * _SLOTS // len(masters)
        master.ask("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)


def _replicate(nodes: list[Valkey], masters: int) -> None:
    for master, replica in zip(nodes[:masters], nodes[masters:], strict=True):
        until(partial(_knows, replica, master), "nodes know each other")
        replica.ask("CLUSTER", "REPLICATE", _id(master))
    for replica in nodes[masters:]:
        until(partial(_is_in_step, replica), "the replica follows")
    until(lambda: all(_sees_replicas(node) for node in nodes), "all nodes know the replicas")


def _id(node: Valkey) -> str:
    return str(node.raw("CLUSTER", "MYID").decode())


def _role(server: Valkey) -> str:
    return str(server.raw("ROLE")[0].decode())


def _is_in_step(replica: Valkey) -> bool:
    role = replica.raw("ROLE")
    return bool(role[0] == b"slave" and role[3] == b"connected")


def _is_well(node: Valkey) -> bool:
    return b"cluster_state:ok" in node.raw("CLUSTER", "INFO")


def _knows(node: Valkey, other: Valkey) -> bool:
    return _id(other).encode() in node.raw("CLUSTER", "NODES")


def _sees_replicas(node: Valkey) -> bool:
    return all(len(row) == 4 for row in node.raw("CLUSTER", "SLOTS"))


def _sees_group(sentinel: Valkey) -> bool:
    flat = sentinel.raw("SENTINEL", "MASTER", SERVICE)
    state = dict(zip(flat[::2], flat[1::2], strict=True))
    return bool(state[b"num-other-sentinels"] == b"2" and state[b"num-slaves"] == b"2")
