"""Real clusters and sentinels, of Valkey and of Redis, under load: failovers, moved slots, lost records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from tests.support.certificates import make_authority
from tests.support.load import L2_HITS, LoadedFleet
from tests.support.redis_groups import Cluster, SentinelGroup, running_cluster, running_sentinels
from tests.support.valkey import Valkey, redis_program

pytestmark = pytest.mark.timeout(150)

LOG = b"shop:log"
RIGHTS = (
    "~shop:e3:* ~shop:lease:* ~shop:log ~{shop:log}:replicas +mget +set +get +del +eval +evalsha +info +time "
    "+xadd +xtrim +xrange +xrevrange +hset +hget +hexists +hdel +hlen +hgetall"
)
"""As docs/fleet.md tells operators."""
RECOVERED_SECONDS = 5.0


def program(name: str) -> Path | None:
    """None: the Valkey of the tests."""
    return redis_program() if name == "redis" else None


@pytest.fixture(params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with running_cluster(program=program(request.param)) as cluster:
        cluster.ask_all("ACL", "SETUSER", "cache", "on", ">pw", *RIGHTS.split(), "+cluster|slots")
        cluster.user = "cache:pw@"
        yield cluster


@pytest.fixture(params=["valkey", "redis"])
def group(request: pytest.FixtureRequest) -> Iterator[SentinelGroup]:
    with running_sentinels(program=program(request.param)) as group:
        for server in group.servers:
            server.ask("ACL", "SETUSER", "cache", "on", ">pw", *RIGHTS.split())
        for sentinel in group.sentinels:
            sentinel.ask("ACL", "SETUSER", "cache", "on", ">pw", "+sentinel|masters")
        group.user = "cache:pw@"
        group.options = "?sentinel_username=cache&sentinel_password=pw"
        yield group


async def test_a_cluster_whose_slots_move_and_whose_masters_die(cluster: Cluster, tmp_path: Path) -> None:
    async with LoadedFleet.started(tmp_path, l2=cluster.url) as fleet:
        await fleet.warm()
        fleet.begin()
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        master = cluster.master_of(LOG)
        others = cluster.others(master)
        slots = [slot for slot in range(0, 16_384, 256) if cluster.owner_of(slot) is master]
        for slot in {key_slot(LOG), *slots}:
            await asyncio.to_thread(cluster.move_slot, slot, others[0])
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        await fleet.purge_everywhere(RECOVERED_SECONDS)

        await asyncio.to_thread(cluster.fail_over, others[0])  # the log's
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        await fleet.purge_everywhere(RECOVERED_SECONDS)
        await asyncio.sleep(0.5)
        await fleet.end()

        assert fleet.check() > 200
        assert fleet.origin.asked < 30 * len(fleet.replicas) * 120


async def test_a_master_behind_sentinels_dies(group: SentinelGroup, tmp_path: Path) -> None:
    async with LoadedFleet.started(tmp_path, l2=group.url) as fleet:
        await fleet.warm()
        fleet.begin()
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        await fleet.purge_everywhere(RECOVERED_SECONDS)

        await asyncio.to_thread(group.fail_over)
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        await fleet.purge_everywhere(RECOVERED_SECONDS)
        await asyncio.sleep(0.5)
        await fleet.end()

        assert fleet.check() > 200


def last_id(server: Valkey) -> bytes:
    """Of the log, also on a replica in a cluster."""
    with redis.Redis(port=server.port, single_connection_client=True, protocol=2) as client:
        if client.info("cluster")["cluster_enabled"]:
            client.readonly()
        ((id_, _),) = client.xrevrange(LOG, count=1)  # type: ignore[misc]
        return bytes(id_)


async def lose_last_record(fleet: LoadedFleet, master: Valkey, replicas: list[Valkey]) -> None:
    """A purge that the master took, and no replica of it."""
    for replica in replicas:
        replica.pause()
    # What was sent before waits in the stopped process' socket: no connection, nothing waits.
    master.ask("CLIENT", "KILL", "TYPE", "REPLICA")
    assert await fleet.change_and_purge()
    recorded = last_id(master)
    master.kill()
    for replica in replicas:
        replica.resume()
    for replica in replicas:
        assert last_id(replica) < recorded


async def nothing_purged_is_served(fleet: LoadedFleet, tmp_path: Path, url: str) -> None:
    """Not by those who knew of the purge, nor by one who finds only L2."""
    await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
    await fleet.warm()
    async with LoadedFleet.started(tmp_path / "late", l2=url, replicas=1) as late:
        late.origin.version = fleet.origin.version
        late._obeyed = fleet.origin.version
        await late.warm()
        late.check()
    await fleet.end()
    fleet.check()


@pytest.mark.parametrize("cluster", ["valkey"], indirect=True)
async def test_a_cluster_that_loses_the_last_purge(cluster: Cluster, tmp_path: Path) -> None:
    async with LoadedFleet.started(tmp_path, l2=cluster.url) as fleet:
        await fleet.warm()
        await asyncio.sleep(0.5)
        master = cluster.master_of(LOG)
        replica = cluster.replica_of(master)
        await lose_last_record(fleet, master, [replica])
        fleet.begin()
        await asyncio.to_thread(cluster.until_taken_over, replica)

        await nothing_purged_is_served(fleet, tmp_path, cluster.url)


@pytest.mark.parametrize("group", ["redis"], indirect=True)
async def test_sentinels_that_choose_who_lacks_the_last_purge(group: SentinelGroup, tmp_path: Path) -> None:
    async with LoadedFleet.started(tmp_path, l2=group.url) as fleet:
        await fleet.warm()
        await asyncio.sleep(0.5)
        master = group.master
        await lose_last_record(fleet, master, [server for server in group.servers if server is not master])
        fleet.begin()
        await asyncio.to_thread(group.until_taken_over, master)

        await nothing_purged_is_served(fleet, tmp_path, group.url)


async def test_a_cluster_over_tls(tmp_path: Path) -> None:
    """Of Redis only: the Valkey of the tests is built without TLS."""
    authority = make_authority(tmp_path / "ca")
    certificate, key = authority.issue("node", alternative="IP:127.0.0.1")
    tls = {
        "tls_cert_file": certificate,
        "tls_key_file": key,
        "tls_ca_cert_file": authority.ca_file,
        "tls_auth_clients": "no",
        "tls_cluster": "yes",  # or nodes announce the ports without TLS
    }
    with running_cluster(program=redis_program(), has_replicas=False, has_tls=True, **tls) as cluster:
        url = cluster.tls_url(authority.ca_file)
        async with LoadedFleet.started(tmp_path, l2=url) as fleet:
            fleet.begin()
            await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
            await fleet.purge_everywhere(RECOVERED_SECONDS)
            await fleet.end()
            fleet.check()


async def test_nobody_asks_a_dead_cluster_without_end(tmp_path: Path) -> None:
    with running_cluster(has_replicas=False) as cluster:
        async with LoadedFleet.started(tmp_path, l2=cluster.url, replicas=1) as fleet:
            await fleet.warm()
            fleet.begin()
            survivor, *dead = cluster.nodes
            for node in dead:
                node.kill()
            await asyncio.sleep(3)  # until the survivor says that the cluster is down
            survivor.ask("CONFIG", "RESETSTAT")
            await asyncio.sleep(3)
            asked, looked = survivor.calls("mget"), survivor.calls("cluster|slots")
            await fleet.end()

            assert fleet.check() > 200
            assert asked <= 10
            assert 1 <= looked <= 8


def test_the_documented_rights_are_those_of_the_tests() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "fleet.md").read_text()

    assert f"```\n{RIGHTS.replace('shop', '<namespace>')}\n```" in text
