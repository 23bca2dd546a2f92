"""What the fleet's log costs its server: a poll with nothing new, an append. For the table of docs/fleet.md.

    python -m bench.polls

Replicas on connections of their own poll a quiet log through the product's own code, as fast as this process
can: far slower than the server, so that each of their requests costs it a wake-up, as in a fleet. `script` is
the server's own time for the Lua script (INFO commandstats), `CPU` all that its process has used meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from redis.asyncio import Redis

from bench.machine import cpu_seconds, free_ports, is_listening, two_cores
from bench.processes import running
from proxy.fleet.log import Draft, LogFailure, Registration
from proxy.fleet.log_server import RedisLogServer
from proxy.model import Position
from proxy.policy.invalidation import Selector, SelectorKind
from proxy.store.embedded import find_server, server_command
from proxy.store.redis_client import connect
from proxy.store.redis_servers import PerServer
from proxy.store.redis_topology import OneServer

REPLICAS = 50
CALLS = 20_000
DEADLINE_SECONDS = 5.0

Call = Callable[[RedisLogServer, int], Awaitable[object]]


class Cost(NamedTuple):
    """Microseconds for each call."""

    script: float
    cpu: float


def programs() -> Iterator[Path]:
    """The Valkey of the extra `embedded`, and the system's Redis if it is here."""
    yield find_server()
    found = shutil.which("redis-server")
    if found is not None:
        yield Path(found)


@contextmanager
def served(program: Path, core: int) -> Iterator[tuple[str, int]]:
    """The URL and the id of an empty server."""
    (port,) = free_ports(1)
    options = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no"}
    with TemporaryDirectory(prefix="polls-") as folder:
        home = Path(folder)
        with running(
            server_command(program, options),
            cores=[core],
            log=home / "log",
            is_ready=lambda: is_listening(port),
            directory=home,
        ) as pid:
            yield f"redis://127.0.0.1:{port}", pid


@asynccontextmanager
async def replicas(url: str) -> AsyncIterator[list[RedisLogServer]]:
    """Each has clients of its own."""
    nonces = count(1)
    clients = [
        PerServer(OneServer(url), lambda url: connect(url, timeout=DEADLINE_SECONDS)) for _ in range(REPLICAS)
    ]
    try:
        yield [
            RedisLogServer(
                each,
                namespace="bench",
                name=f"shop-6f9c7d5b8-{number:05}",
                nonce=lambda: next(nonces) << 32,
                deadline_seconds=DEADLINE_SECONDS,
            )
            for number, each in enumerate(clients)
        ]
    finally:
        for each in clients:
            await each.aclose()


async def cost(replica: list[RedisLogServer], call: Call, *, client: Redis, pid: int) -> Cost:
    """Of `CALLS` calls, dealt out to the replicas."""
    await client.config_resetstat()
    before = cpu_seconds([pid])

    async def call_on(each: RedisLogServer) -> None:
        for number in range(CALLS // REPLICAS):
            answer = await call(each, number)
            if isinstance(answer, LogFailure):
                raise SystemExit(f"the log's server failed: {answer.detail}")

    await asyncio.gather(*map(call_on, replica))
    used = cpu_seconds([pid]) - before
    stats = (await client.info("commandstats"))["cmdstat_evalsha"]
    return Cost(stats["usec"] / stats["calls"], used / stats["calls"] * 1e6)


async def measured(url: str, pid: int) -> dict[str, Cost]:
    """A poll with nothing new, then an append of one URL."""
    client: Redis = connect(url, timeout=DEADLINE_SECONDS)
    try:
        async with replicas(url) as fleet:
            page = await fleet[0].poll(None, "")
            if isinstance(page, LogFailure):
                raise SystemExit(f"the log's server failed: {page.detail}")
            tail: Position = page.tail
            for each in fleet:
                await each.poll(None, "")

            async def poll(each: RedisLogServer, number: int) -> object:
                return await each.poll((tail.ms, tail.seq), Registration(tail, number).encode())

            async def append(each: RedisLogServer, number: int) -> object:
                selector = Selector(SelectorKind.URL, f"/products/{number:08}")
                uid = f"{id(each):x}-{number}"
                return await each.append([Draft(uid, (selector,), soft=False)], after=(2**48, 0))

            return {
                "poll with nothing new": await cost(fleet, poll, client=client, pid=pid),
                "append": await cost(fleet, append, client=client, pid=pid),
            }
    finally:
        await client.aclose()


def main() -> int:
    """Print what each server needs for a call."""
    server_core, _ = two_cores()
    print(f"{REPLICAS} replicas, {CALLS:,} calls of each kind; µs for each call")
    for program in programs():
        with served(program, server_core) as (url, pid):
            for kind, each in asyncio.run(measured(url, pid)).items():
                print(f"{program.name:<16} {kind:<24} script {each.script:6.1f}   CPU {each.cpu:6.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
