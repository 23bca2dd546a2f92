"""A worker process that is started with an order ends when it is told to, or killed."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from proxy.workers.channel import Silence
from proxy.workers.child import SNAPSHOT, Child, launch
from proxy.workers.orders import Order
from tests.support.configs import config

CONFIG = config(workers=2, drain={"delay": "0s", "timeout": "1s"})


async def started(folder: Path, bound: socket.socket) -> Child:
    order = Order(0, "test-0", CONFIG, (bound.fileno(),), folder / "0", folder / "supervisor")
    child = await launch(order)
    for _ in range(200):
        if await child.answers():
            return child
        assert not await child.ends_within(0.1), child
    raise AssertionError("it did not begin to serve")


async def test_it_serves_counts_and_ends_when_told(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        child = await started(tmp_path, bound)
        counted = child.last_snapshot
        child.tell_to_end()
        is_ended = await child.ends_within(10)

    assert counted is not None
    assert counted["gauges"]["client_connections"] == [[[], 0]]
    assert (is_ended, child.exit_code) == (True, 0)
    assert not await child.answers()
    assert isinstance(await child.ask(SNAPSHOT, seconds=1), Silence)


async def test_one_that_is_killed_says_by_what(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        child = await started(tmp_path, bound)
        child.kill()
        is_ended = await child.ends_within(10)
    child.kill()  # without effect

    assert (is_ended, child.exit_code) == (True, -signal.SIGKILL)
