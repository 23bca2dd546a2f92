"""A whole sidecar whose Redis is away, silent, killed or empty: clients see nothing, and it recovers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.support.cut_link import CutLink
from tests.support.examples import running
from tests.support.sidecar import Sidecar, ask, running_sidecar
from tests.support.valkey import Valkey, running_valkey

TIMEOUT = 0.3
"""Seconds of l2.timeout: far above what a busy machine adds to an answer."""
RECOVERED_SECONDS = 5.0
HIT = "sidecache; hit; ttl=n; detail=l1"
POLICIES = """
l2: {{url: "{url}", timeout: 300ms}}
routes: [{{name: product, match: {{path: "/products/{{id}}"}}, ttl: 60s, tags: ["product:{{id}}"]}}]
"""


@pytest.fixture
def shop() -> Iterator[str]:
    with running("shop.py", "--port", "0", "--delay", "1") as url:
        yield url


@pytest.fixture
def server() -> Iterator[Valkey]:
    with running_valkey() as own:
        yield own


@contextmanager
def sidecar_with(url: str, shop: str, folder: Path) -> Iterator[Sidecar]:
    with running_sidecar(folder, shop, POLICIES.format(url=url)) as started:
        yield started


class Client:
    """Asks for one product after the other, none of them twice."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._number = 0
        self.statuses: list[int] = []

    def seconds(self, count: int) -> list[float]:
        """How long each of so many misses took."""
        return [self._timed() for _ in range(count)]

    def _timed(self) -> float:
        self._number += 1
        began_at = time.monotonic()
        self.statuses.append(self._sidecar.get(f"/products/{self._number}").status)
        return time.monotonic() - began_at


def status_of(sidecar: Sidecar, target: str) -> str:
    """Its Cache-Status, without the seconds that are left."""
    return re.sub(r"ttl=\d+", "ttl=n", str(sidecar.get(target).field("Cache-Status")))


def is_asked(sidecar: Sidecar) -> bool:
    """The breaker is closed, a look-up reaches L2 and the log is read."""
    metrics = ask(sidecar.ops, "/metrics").body.decode()
    return "sidecache_l2_breaker_open 0.0" in metrics and "sidecache_log_trusted 1.0" in metrics


def seconds_until(is_so: Callable[[], bool]) -> float:
    began_at = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_at < 2 * RECOVERED_SECONDS, "it never came to pass"
        time.sleep(0.02)
    return time.monotonic() - began_at


def published(sidecar: Sidecar) -> bool:
    answer = sidecar.post_admin("/purge", {"tags": ["product:none"]})
    return json.loads(answer.body)["published"] is True


def paid_once(seconds: list[float]) -> bool:
    """At most one answer waited for L2, and for no longer than its deadline."""
    slow = [each for each in seconds if each > TIMEOUT / 2]
    return len(slow) <= 1 and max(seconds) < 2 * TIMEOUT


def test_it_starts_without_redis_and_takes_it_when_it_comes(
    server: Valkey, shop: str, tmp_path: Path
) -> None:
    server.kill()
    with sidecar_with(server.url, shop, tmp_path) as sidecar:
        client = Client(sidecar)

        assert paid_once(client.seconds(20))
        assert not published(sidecar)
        server.start()
        assert seconds_until(lambda: is_asked(sidecar)) < RECOVERED_SECONDS
        assert published(sidecar)
        assert client.statuses == [200] * 20


def test_what_was_fetched_before_the_log_was_read_is_asked_for_again(
    server: Valkey, shop: str, tmp_path: Path
) -> None:
    """Readiness waits a second for the log, not longer: what is fetched then may have been purged unseen."""
    server.kill()
    with sidecar_with(server.url, shop, tmp_path) as sidecar:
        before = [status_of(sidecar, "/products/1") for _ in range(2)]
        server.start()
        seconds_until(lambda: is_asked(sidecar))
        after = [status_of(sidecar, "/products/1") for _ in range(2)]

    assert before == ["sidecache; fwd=uri-miss; fwd-status=200; stored", HIT.replace("l1", "unsynced")]
    assert after == ["sidecache; fwd=stale; fwd-status=304; ttl=n; stored", HIT]


def test_a_silent_redis_costs_one_deadline(server: Valkey, shop: str, tmp_path: Path) -> None:
    with sidecar_with(server.url, shop, tmp_path) as sidecar:
        client = Client(sidecar)
        client.seconds(5)
        server.pause()

        assert paid_once(client.seconds(30))
        server.resume()
        assert seconds_until(lambda: is_asked(sidecar)) < RECOVERED_SECONDS
        assert client.statuses == [200] * 35


def test_a_redis_that_is_killed_and_comes_back_empty_is_used_again(
    server: Valkey, shop: str, tmp_path: Path
) -> None:
    with sidecar_with(server.url, shop, tmp_path) as sidecar:
        client = Client(sidecar)
        client.seconds(5)
        server.kill()

        assert paid_once(client.seconds(30))
        assert status_of(sidecar, "/products/1") == HIT
        server.start()
        assert seconds_until(lambda: is_asked(sidecar)) < RECOVERED_SECONDS
        assert seconds_until(lambda: published(sidecar)) < RECOVERED_SECONDS
        # The log is another one: whatever is older might have been purged in the one that is gone.
        assert "fwd=" in status_of(sidecar, "/products/1")
        assert client.statuses == [200] * 35


@asynccontextmanager
async def behind_a_link(server: Valkey, shop: str, folder: Path) -> AsyncIterator[tuple[Sidecar, CutLink]]:
    """A sidecar that reaches its Redis over a link that can be stalled."""
    async with CutLink(server.port) as link:
        context = sidecar_with(link.url, shop, folder)
        sidecar = await asyncio.to_thread(context.__enter__)
        try:
            yield sidecar, link
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_black_hole_costs_one_deadline(server: Valkey, shop: str, tmp_path: Path) -> None:
    async with behind_a_link(server, shop, tmp_path) as (sidecar, link):
        client = Client(sidecar)
        await asyncio.to_thread(client.seconds, 5)
        link.stall()

        seconds = await asyncio.to_thread(client.seconds, 30)
        link.flow()
        recovered = await asyncio.to_thread(seconds_until, lambda: is_asked(sidecar))

        assert paid_once(seconds)
        assert recovered < RECOVERED_SECONDS
        assert client.statuses == [200] * 35
