"""How the process ends: signals while starting, under load, and in the middle of a request."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import threading
import time
from pathlib import Path

from tests.support.examples import running
from tests.support.raw_client import RawAnswer, connected, request
from tests.support.raw_origin import OK, OriginEnd, RawOrigin
from tests.support.sidecar import STOP_SECONDS, Sidecar, address, ask, launched, running_sidecar

CLIENTS = 8
SECOND_SIGNAL_SECONDS = 5.0
"""Far less than the drain that the second signal cuts short."""
POLICIES = """
routes:
  - {name: product, match: {path: "/products/{id}"}, ttl: 60s}
  - {name: rest, match: {path: "/**"}, cache: false}
"""


class Customers:
    """Clients on connections that they keep, each asking for hits and misses in turn until told to stop."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._sidecar = sidecar
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._shop, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def until(self, answered: int) -> None:
        """Wait for so many answers from now on."""
        goal, end = self.answered + answered, time.monotonic() + 20
        while self.answered < goal and not self.failures:
            assert time.monotonic() < end, "the customers are stuck"
            time.sleep(0.005)

    def leave(self) -> None:
        """As Kubernetes has it: the endpoint is gone, so nobody comes any more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _shop(self, number: int) -> None:
        host, _, port = self._sidecar.data.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        turn = 0
        while not self._stop.is_set():
            turn += 1
            target = "/products/1" if turn % 2 else f"/products/{number}{turn}"
            try:
                connection.request("GET", target)  # opens a new connection after Connection: close
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            if answer.status not in (200, 404):
                self.failures.append(f"{answer.status} for {target}")
            self.answered += 1
        connection.close()


def test_no_request_fails_when_the_process_is_told_to_end_under_load(tmp_path: Path) -> None:
    drain = "{delay: 3s, timeout: 5s}"
    with (
        running("shop.py", "--port", "0", "--delay", "5") as shop,
        running_sidecar(tmp_path, shop, POLICIES, drain=drain) as sidecar,
    ):
        customers = Customers(sidecar)
        try:
            customers.until(answered=100)
            sidecar.tell()
            customers.until(answered=50)
            readiness = ask(sidecar.ops, "/readyz").status
        finally:
            customers.leave()

    assert customers.failures == []
    assert readiness == 503
    assert not [line for line in sidecar.lines if json.loads(line)["level"] in ("error", "critical")]
    assert json.loads(sidecar.lines[-1])["event"] == "ended"


async def test_t14_hits_are_answered_to_the_last_which_says_so(tmp_path: Path) -> None:
    """Signalled in the middle of hits that the plain lane answers."""

    async def product(end: OriginEnd) -> None:
        while await end.head():
            await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def shop() -> list[RawAnswer]:
        answers: list[RawAnswer] = []
        async with connected(where) as client:
            while not answers or answers[-1].first("connection") is None:
                await client.send(request("/products/1"))
                answers.append(await client.answer())
                was_told.append(sidecar.is_told)
                if len(was_told) == 100 * CLIENTS:
                    are_busy.set()
            assert await client.is_closed()
        return answers

    was_told: list[bool] = []
    are_busy = asyncio.Event()
    async with RawOrigin(product) as origin:
        with running_sidecar(tmp_path, origin.url, POLICIES, drain="{delay: 2s, timeout: 5s}") as sidecar:
            where = address(sidecar.data)
            async with asyncio.timeout(20):
                shopping = asyncio.gather(*(shop() for _ in range(CLIENTS)))
                await are_busy.wait()
                sidecar.tell()
                shops = await shopping

    for first, *hits in shops:
        assert first.status == 200
        assert len(hits) > 10
        assert {(hit.status, hit.body) for hit in hits} == {(200, b"ok")}
        words = {hit.first("cache-status") for hit in hits}
        assert all(word is not None and word.startswith(b"sidecache; hit; ttl=") for word in words), words
        assert [hit.first("connection") for hit in hits] == [None] * (len(hits) - 1) + [b"close"]
    assert was_told[-CLIENTS:] == [True] * CLIENTS
    assert not [line for line in sidecar.lines if json.loads(line)["level"] in ("error", "critical")]


async def test_what_is_under_way_is_finished_and_idle_connections_are_closed(tmp_path: Path) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(end: OriginEnd) -> None:
        await end.head()
        is_asked.set()
        await may_answer.wait()
        await end.send(OK)

    async with RawOrigin(slow) as origin:
        with running_sidecar(tmp_path, origin.url, POLICIES) as sidecar:
            where = address(sidecar.data)
            async with connected(where) as busy, connected(where) as idle:
                await busy.send(request("/slow"))
                await is_asked.wait()
                sidecar.tell()
                is_idle_closed = await idle.is_closed()
                may_answer.set()
                answer = await busy.answer()

    assert is_idle_closed
    assert (answer.status, answer.body, answer.first("connection")) == (200, b"ok", b"close")


async def test_the_second_signal_ends_what_is_under_way(tmp_path: Path) -> None:
    is_asked = asyncio.Event()

    async def silent(end: OriginEnd) -> None:
        await end.head()
        is_asked.set()
        await end.wait_closed()

    drain = "{delay: 60s, timeout: 60s}"
    async with RawOrigin(silent) as origin:
        with running_sidecar(tmp_path, origin.url, POLICIES, drain=drain) as sidecar:
            async with connected(address(sidecar.data)) as client:
                await client.send(request("/slow"))
                await is_asked.wait()
                sidecar.tell()
                until_draining(sidecar)
                sidecar.tell()
                is_cut_off = await client.is_closed()
            code = sidecar.process.wait(SECOND_SIGNAL_SECONDS)

    assert is_cut_off
    assert code == 0
    assert not [line for line in sidecar.lines if json.loads(line)["level"] in ("error", "critical")]


def until_draining(sidecar: Sidecar) -> None:
    end = time.monotonic() + 10
    while ask(sidecar.ops, "/readyz").status != 503:
        assert time.monotonic() < end, "it does not drain"
        time.sleep(0.01)


def test_a_signal_while_starting_is_not_lost(tmp_path: Path) -> None:
    # As PID 1 of a container a process never sees a signal that it does not handle. Its server's start
    # is the longest step before the ports are open.
    process = launched(tmp_path, "http://127.0.0.1:1", "l2: {url: embedded}\n")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        end = time.monotonic() + 20
        while not children.read_text():
            assert time.monotonic() < end, "the server was not started"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=STOP_SECONDS)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 0, output.decode()
    assert json.loads(output.splitlines()[-1])["event"] == "ended"
