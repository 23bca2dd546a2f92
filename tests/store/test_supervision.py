"""A private server that ended runs again: when that is tried, and that L2 and the log go on by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from proxy.observe.metrics import Metrics
from proxy.observe.tasks import running
from proxy.store import embedded
from proxy.store.embedded import EmbeddedServer
from proxy.store.redis_client import StoreUnavailable, connect
from proxy.store.supervision import CHECK_SECONDS, RETRY_SECONDS, STEADY_SECONDS, Supervisor
from tests.support.clocks import GatedPause, SteppedClock

ON_BOTH_LOOPS = True


class FakeServer:
    """Ends when the test says so; `fails` starts are refused."""

    def __init__(self) -> None:
        self.is_running = True
        self.exit_code: int | None = None
        self.fails = 0
        self.starts = 0

    def end(self) -> None:
        self.is_running, self.exit_code = False, -9

    async def restart(self) -> None:
        self.starts += 1
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("no memory")
        self.is_running = True


class Watched:
    """A supervisor whose pauses the test ends."""

    def __init__(self) -> None:
        self.server, self.metrics, self.clock = FakeServer(), Metrics(), SteppedClock()
        self.pause = GatedPause(self.clock)
        self.supervisor = Supervisor(self.server, self.metrics, clock=self.clock, pause=self.pause)

    async def pauses(self, count: int) -> list[float]:
        """Let so many pauses pass; how long they were."""
        return [round(await self.pause.end_next(), 3) for _ in range(count)]

    def restarts(self) -> dict[str, int]:
        return {result: count for (result,), count in self.metrics.l2_restarts.values.items()}


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    made.supervisor.start()
    yield made
    await made.supervisor.aclose()
    assert running() == frozenset()


async def test_a_server_that_runs_is_left_alone(watched: Watched) -> None:
    assert await watched.pauses(3) == [CHECK_SECONDS] * 3
    assert (watched.server.starts, watched.restarts()) == (0, {})


async def test_a_server_that_ended_is_started_again(watched: Watched) -> None:
    await watched.pause.begun()
    watched.server.end()
    watched.pause.end()

    assert await watched.pauses(2) == [0.1, CHECK_SECONDS]
    assert (watched.server.starts, watched.restarts()) == (1, {"ok": 1})


async def test_a_start_that_fails_is_tried_ever_less_often(watched: Watched) -> None:
    await watched.pause.begun()
    watched.server.end()
    watched.server.fails = 8
    watched.pause.end()

    waited = await watched.pauses(9)

    assert waited == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, RETRY_SECONDS, RETRY_SECONDS, RETRY_SECONDS]
    await watched.pause.begun()
    assert watched.restarts() == {"failed": 8, "ok": 1}


async def test_a_server_that_ends_after_each_start_is_started_ever_less_often(watched: Watched) -> None:
    delays = []
    for _ in range(3):
        await watched.pause.begun()
        watched.server.end()
        watched.pause.end()
        delays += await watched.pauses(1)

    assert delays == [0.1, 0.2, 0.4]


async def test_a_server_that_has_lasted_is_started_again_soon(watched: Watched) -> None:
    delays = []
    for _ in range(3):
        await watched.pause.begun()
        watched.clock.step(STEADY_SECONDS)
        watched.server.end()
        watched.pause.end()
        delays += await watched.pauses(1)

    assert delays == [0.1, 0.1, 0.1]


async def test_one_line_a_change_is_logged(watched: Watched) -> None:
    await watched.pause.begun()
    watched.server.end()
    watched.server.fails = 3
    with capture_logs() as lines:
        watched.pause.end()
        await watched.pauses(4)
        await watched.pause.begun()

    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "the embedded server ended"),
        ("error", "the embedded server was not started again, trying on"),
        ("warning", "the embedded server was started again"),
    ]
    assert (lines[0]["exit_code"], lines[1]["error"], lines[2]["tries"]) == (-9, "no memory", 4)


async def test_one_that_was_never_started_can_be_closed() -> None:
    await Supervisor(FakeServer(), Metrics()).aclose()


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    """A real server, watched as in the product."""
    real = EmbeddedServer()
    await real.start()
    supervisor = Supervisor(real, Metrics())
    supervisor.start()
    yield real
    await supervisor.aclose()
    await real.stop()


async def killed(server: EmbeddedServer) -> None:
    """`kill -9`, and wait until another process answers."""
    process = server._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        while server._process is process or not embedded._answers(server._socket_path):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_killed_server_answers_again_at_the_same_address(server: EmbeddedServer) -> None:
    url = server.url
    client = connect(url, timeout=5.0)
    try:
        await client.set("a", "b")

        await killed(server)

        assert (server.url, await client.get("a")) == (url, None)
    finally:
        await client.aclose()


async def test_the_bounds_and_the_permissions_hold_again(server: EmbeddedServer) -> None:
    await killed(server)
    client = connect(server.url, timeout=5.0)
    try:
        configured = await client.config_get("maxmemory", "maxmemory-policy", "save", "appendonly")
    finally:
        await client.aclose()

    assert configured == {
        "maxmemory": str(embedded.MAX_MEMORY_BYTES),
        "maxmemory-policy": "volatile-lru",
        "save": "",
        "appendonly": "no",
    }
    assert oct(server._socket_path.stat().st_mode & 0o777) == "0o700"


async def test_closing_during_a_start_leaves_no_process(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_answers", lambda _: False)
    process = server._process
    supervisor = Supervisor(server, Metrics())
    assert process is not None
    process.kill()
    process.wait()
    supervisor.start()
    async with asyncio.timeout(5):
        while server._process is process:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    started = server._process
    await supervisor.aclose()

    assert started is not None
    assert (started.returncode is not None, server.is_running) == (True, False)
