"""Asking a cluster who has which slots: a real node, and replies that real ones give in odd networks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from proxy.store.redis_cluster import ClusterFinder
from proxy.store.redis_link import Failure, Fault
from proxy.store.redis_topology import Shards
from proxy.store.redis_url import server_group
from tests.support.cut_link import CutLink
from tests.support.valkey import Valkey, free_port, running_valkey


def finder(*places: str, user: str = "") -> ClusterFinder:
    group = server_group(f"redis+cluster://{user}{','.join(places)}")
    assert group is not None
    return ClusterFinder(group)


@pytest.fixture(scope="module")
def node() -> Iterator[Valkey]:
    """A cluster of one."""
    with running_valkey(cluster_enabled="yes", cluster_port=str(free_port())) as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 99, 200, 16383)
        yield server


def place(server: Valkey) -> str:
    return f"127.0.0.1:{server.port}"


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(65536):
            writer.write(reply)
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_node_says_who_has_what(node: Valkey) -> None:
    # Alone, it was never told its address.
    url = f"redis://{place(node)}"

    assert await finder(place(node)).find() == Shards.of([(0, 99, url), (200, 16383, url)])


async def test_the_next_one_is_asked_when_one_is_silent_or_gone(node: Valkey) -> None:
    found = finder(f"127.0.0.1:{free_port()}", place(node))
    for _ in range(5):
        assert isinstance(await found.find(), Shards)


async def test_a_silent_node_is_waited_for_a_while_only(node: Valkey) -> None:
    async with CutLink(node.port) as link:
        link.stall()
        found = finder(f"127.0.0.1:{link.port}")
        failure = await found.find()

        assert isinstance(failure, Failure)
        assert failure.fault is Fault.TIMEOUT


async def test_what_was_found_is_asked_first(node: Valkey) -> None:
    async with answering(b"*0\r\n") as seed:
        found = finder(seed)
        found._known = (("127.0.0.1", node.port),)

        assert (await found.find()) != Shards((), ())


async def test_a_named_user_is_used_for_every_node(node: Valkey) -> None:
    node.ask("ACL", "SETUSER", "me", "on", ">pw", "-@all", "+cluster|slots")
    shards = await finder(place(node), user="me:pw@").find()

    assert shards == Shards.of([(0, 99, url := f"redis://me:pw@{place(node)}"), (200, 16383, url)])


async def test_nobody_there_is_a_failure() -> None:
    failure = await finder(f"127.0.0.1:{free_port()}").find()

    assert isinstance(failure, Failure)
    assert failure.fault is Fault.UNREACHABLE


async def test_a_server_without_cluster_is_a_failure_that_says_so(server: Valkey) -> None:
    failure = await finder(place(server)).find()

    assert isinstance(failure, Failure)
    assert "cluster support disabled" in failure.detail


PRIMARY = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n%s:7000\r\n$2\r\nid\r\n"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"$9\r\n127.0.0.2\r\n", "127.0.0.2"),
        (b"$4\r\nnode\r\n", "node"),
        (b"$0\r\n\r\n", "127.0.0.1"),
        (b"$1\r\n?\r\n", "127.0.0.1"),
        (b"$-1\r\n", "127.0.0.1"),
        (b"$3\r\n::1\r\n", "[::1]"),
    ],
)
async def test_a_node_that_leaves_its_host_out_is_where_we_asked(host: bytes, expected: str) -> None:
    async with answering(PRIMARY % host) as asked:
        assert await finder(asked).find() == Shards.whole(f"redis://{expected}:7000")


@pytest.mark.parametrize(
    "reply",
    [
        b"$3\r\nfoo\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n*2\r\n:1\r\n:2\r\n",
        b"*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
        b"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\n\xff\r\n:1\r\n",
        b":1\r\n",
        b"*1\r\n*3\r\n$1\r\nx\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
    ],
)
async def test_what_is_no_such_reply_is_a_failure(reply: bytes) -> None:
    async with answering(reply) as asked:
        assert isinstance(await finder(asked).find(), Failure)
