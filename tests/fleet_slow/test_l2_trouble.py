"""L2 in every kind of trouble, whole processes under load: clients notice one `l2.timeout` and no error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.cut_link import CutLink
from tests.support.load import L2_HITS, LoadedFleet
from tests.support.valkey import Valkey, redis_program, running_valkey

pytestmark = pytest.mark.timeout(120)

TIMEOUT = 0.1
SLACK = 0.25
"""What a busy machine takes longer than a deadline says."""
RECOVERED_SECONDS = 5.0
TIMED_OUT = 'sidecache_l2_operations_total{operation="get",result="timeout"}'
QUEUED = "sidecache_l2_queue_entries"
POLICIES = (
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)
MIB = 1024 * 1024


@pytest.fixture
def redis_server() -> Iterator[Valkey]:
    with running_valkey(program=redis_program()) as running:
        yield running


@pytest.fixture
def server() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@asynccontextmanager
async def loaded(folder: Path, url: str) -> AsyncIterator[LoadedFleet]:
    """Two replicas that use L2, under load. At the end: no error, nothing purged, L2 in use again."""
    options = f"timeout: {TIMEOUT}s, max_unsynced: 60s"
    async with LoadedFleet.started(folder, l2=url, options=options) as fleet:
        await fleet.warm()
        fleet.begin()
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        yield fleet
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        await fleet.end()
        assert fleet.check() > 200


async def total(fleet: LoadedFleet, metric: str) -> float:
    return sum([await fleet.count(metric, replica) for replica in fleet.replicas])


async def bear_silence(fleet: LoadedFleet, seconds: float) -> None:
    """L2 does not answer for so long: that is waited for once."""
    fleet.seconds.clear()
    await asyncio.sleep(1.0)
    waited = await total(fleet, TIMED_OUT)
    await asyncio.sleep(seconds - 1.0)
    took = sorted(fleet.seconds)

    assert await total(fleet, TIMED_OUT) == waited
    assert await total(fleet, QUEUED) == 0
    assert took[int(len(took) * 0.99)] <= TIMEOUT + SLACK


async def test_a_server_that_is_stopped_for_half_a_minute(server: Valkey, tmp_path: Path) -> None:
    async with loaded(tmp_path, server.url) as fleet:
        server.pause()
        try:
            await bear_silence(fleet, 30.0)
        finally:
            server.resume()


async def test_a_server_that_is_killed_and_comes_back_empty(redis_server: Valkey, tmp_path: Path) -> None:
    async with loaded(tmp_path, redis_server.url) as fleet:
        assert await fleet.change_and_purge()
        redis_server.kill()
        await bear_silence(fleet, 2.0)
        redis_server.start()
        await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
        assert await fleet.change_and_purge()


async def test_a_server_that_is_slow(server: Valkey, tmp_path: Path) -> None:
    async with CutLink(server.port) as link, loaded(tmp_path, link.url) as fleet:
        link.delay_seconds = 5 * TIMEOUT
        await bear_silence(fleet, 4.0)
        link.delay_seconds = 0.0


async def test_a_full_server_by_every_policy(server: Valkey, tmp_path: Path) -> None:
    async with loaded(tmp_path, server.url) as fleet:
        for policy in POLICIES:
            server.ask("CONFIG", "SET", "maxmemory-policy", policy)
            used = server.ask("INFO", "memory")["used_memory"]
            server.ask("CONFIG", "SET", "maxmemory", used - 16 * 1024)
            await fleet.change_and_purge()
            await asyncio.sleep(0.5)
            server.ask("CONFIG", "SET", "maxmemory", 1)  # nothing can stay, not even the log
            await fleet.change_and_purge()
            await asyncio.sleep(0.5)
            server.ask("CONFIG", "SET", "maxmemory", 0)
            await fleet.until_grows(L2_HITS, RECOVERED_SECONDS)
            await fleet.purge_everywhere(RECOVERED_SECONDS)


async def test_a_gigabyte_of_garbage_at_our_keys(server: Valkey, tmp_path: Path) -> None:
    async with loaded(tmp_path, server.url) as fleet:
        names = list(server.ask("KEYS", "shop:e3:*"))
        garbage = os.urandom(8 * MIB)
        for number, name in enumerate(names):
            if number % 10 == 0:
                server.ask("DEL", name)
                server.ask("RPUSH", name, "not", "a", "string")
            else:
                server.ask("SET", name, garbage)
        await asyncio.sleep(1.0)
        held = server.ask("INFO", "memory")["used_memory"]
        await fleet.change_and_purge()
        for name in names:
            server.ask("SET", name, b"garbage")  # small again, so that it can be read at all

        assert len(names) * 8 * MIB > 900 * MIB
        assert held < 2000 * MIB


async def test_a_log_that_is_overwritten(server: Valkey, tmp_path: Path) -> None:
    async with loaded(tmp_path, server.url) as fleet:
        server.ask("SET", "shop:log", "garbage")
        assert not await fleet.change_and_purge()
        await asyncio.sleep(1.0)
        server.ask("DEL", "shop:log")
        await fleet.purge_everywhere(RECOVERED_SECONDS)
