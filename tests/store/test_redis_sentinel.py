"""Asking sentinels for the master: a real sentinel, watching a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.store.redis_link import Failure
from proxy.store.redis_sentinel import SentinelFinder
from proxy.store.redis_topology import Shards
from proxy.store.redis_url import server_group
from tests.support.cut_link import CutLink
from tests.support.redis_groups import SERVICE, running_sentinel
from tests.support.valkey import Valkey, free_port


@pytest.fixture(scope="module")
def sentinel(shared_server: Valkey) -> Iterator[Valkey]:
    with running_sentinel(shared_server.port, None) as running:
        yield running


def finder(*ports: int, service: str = SERVICE, options: str = "") -> SentinelFinder:
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    group = server_group(f"redis+sentinel://me:pw@{places}/{service}/2{options}")
    assert group is not None
    return SentinelFinder(group)


async def test_the_master_has_everything(sentinel: Valkey, shared_server: Valkey) -> None:
    found = finder(sentinel.port)

    # The server's user and database, which are not the sentinel's.
    assert await found.find() == Shards.whole(f"redis://me:pw@127.0.0.1:{shared_server.port}/2")
    await found.aclose()


async def test_the_next_sentinel_is_asked_when_one_is_gone(sentinel: Valkey) -> None:
    found = finder(free_port(), sentinel.port)

    assert isinstance(await found.find(), Shards)
    await found.aclose()


async def test_a_silent_sentinel_is_passed_over_and_asked_last_then(sentinel: Valkey) -> None:
    async with CutLink(sentinel.port) as link:
        link.stall()
        found = finder(link.port, sentinel.port)
        assert isinstance(await found.find(), Shards)
        accepted = link.accepted
        assert isinstance(await found.find(), Shards)
        await found.aclose()

        assert (accepted, link.accepted) == (1, 1)


async def test_a_sentinel_has_users_of_its_own(sentinel: Valkey) -> None:
    sentinel.ask("ACL", "SETUSER", "ours", "on", ">s/c", "-@all", "+sentinel|masters")
    found = finder(sentinel.port, options="?sentinel_username=ours&sentinel_password=s%2Fc")
    stranger = finder(sentinel.port, options="?sentinel_username=ours&sentinel_password=wrong")

    assert isinstance(await found.find(), Shards)
    assert isinstance(await stranger.find(), Failure)
    await found.aclose()
    await stranger.aclose()


async def test_an_unknown_service_is_a_failure_that_names_it(sentinel: Valkey) -> None:
    found = finder(sentinel.port, service="other")
    failure = await found.find()
    await found.aclose()

    assert isinstance(failure, Failure)
    assert "other" in failure.detail


async def test_nobody_there_is_a_failure() -> None:
    found = finder(free_port())

    assert isinstance(await found.find(), Failure)
    await found.aclose()


async def test_a_server_that_is_no_sentinel_is_a_failure(server: Valkey) -> None:
    found = finder(server.port)

    assert isinstance(await found.find(), Failure)
    await found.aclose()
