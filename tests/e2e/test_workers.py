"""Several workers as one sidecar: one port, one count, one purge, one policy, one end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.test_ending import POLICIES as PRODUCTS
from tests.e2e.test_ending import Customers
from tests.support.examples import running
from tests.support.sidecar import STOP_SECONDS, Sidecar, ask, launched, running_sidecar

ROUNDS = 200
CONNECTIONS = 16
POLICIES = """
workers: 2
routes: [{name: all, match: {path: "/**"}, ttl: 1h, stale_while_revalidate: 1h, tags: ["all"]}]
"""


class Version:
    """What the origin answers; changed by whoever purges, or by an unsafe request."""

    def __init__(self) -> None:
        self.number = 0


@contextmanager
def versioned_origin() -> Iterator[tuple[Version, str]]:
    version = Version()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(str(version.number).encode())

        def do_POST(self) -> None:
            version.number += 1
            self._answer(b"changed")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield version, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def many_connections(sidecar: Sidecar) -> Iterator[list[http.client.HTTPConnection]]:
    """Enough that both workers have some: all on one of two happens once in 32,768 times."""
    host, _, port = sidecar.data.rpartition(":")
    with ExitStack() as stack:
        connections = []
        for _ in range(CONNECTIONS):
            connection = http.client.HTTPConnection(host, int(port), timeout=20)
            stack.callback(connection.close)
            connections.append(connection)
        yield connections


def body_on(connection: http.client.HTTPConnection, target: str = "/key", method: str = "GET") -> str:
    connection.request(method, target)
    answer = connection.getresponse()
    return answer.read().decode()


def workers_of(sidecar: Sidecar) -> list[int]:
    pid = sidecar.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"proxy" in Path(f"/proc/{child}/cmdline").read_bytes()]


def metric(sidecar: Sidecar, sample: str) -> float:
    for line in ask(sidecar.ops, "/metrics").body.decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name == f"sidecache_{sample}":
            return float(value)
    return 0.0


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def origin() -> Iterator[tuple[Version, str]]:
    with versioned_origin() as started:
        yield started


@pytest.fixture(scope="module")
def two(origin: tuple[Version, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """For tests that leave the processes as they are."""
    with running_sidecar(tmp_path_factory.mktemp("two"), origin[1], POLICIES) as sidecar:
        yield sidecar


@pytest.fixture
def own_two(origin: tuple[Version, str], tmp_path: Path) -> Iterator[Sidecar]:
    """For tests that change them."""
    with running_sidecar(tmp_path, origin[1], POLICIES) as sidecar:
        yield sidecar


def test_both_workers_serve_and_are_counted_as_one(two: Sidecar) -> None:
    before = metric(two, 'requests_total{outcome="hit",route="all"}')
    with many_connections(two) as connections:
        for _ in range(3):
            for connection in connections:
                body_on(connection, "/counted")
    listed = json.loads(ask(two.admin, "/entries?prefix=/counted").body)["entries"]

    assert {entry["worker"] for entry in listed} == {0, 1}
    assert metric(two, "workers") == 2
    # Each has missed it once.
    hits = metric(two, 'requests_total{outcome="hit",route="all"}') - before
    assert hits == 3 * CONNECTIONS - 2
    assert json.loads(ask(two.admin, "/stats").body)["workers"] == 2
    assert json.loads(two.post_admin("/purge?dry_run=true", {"urls": ["/counted"]}).body)["matched"] == 2


@pytest.mark.parametrize("l2", ["off", "embedded"])
def test_a_purge_reaches_every_l1_before_it_is_answered(
    origin: tuple[Version, str], tmp_path: Path, l2: str
) -> None:
    version, url = origin
    stale = []
    with (
        running_sidecar(tmp_path, url, f"{POLICIES}l2: {{url: {l2}}}\n") as sidecar,
        many_connections(sidecar) as connections,
    ):
        for number in range(ROUNDS):
            for connection in connections:
                body_on(connection)
            version.number += 1
            selector = {"tags": ["all"]} if number % 2 else {"urls": ["/key"]}
            purged = sidecar.post_admin("/purge", selector)
            assert purged.status == 200
            assert json.loads(purged.body)["replicas"] == {"known": 2, "acknowledged": 2, "missing": []}
            stale += [number for connection in connections if body_on(connection) != str(version.number)]

    assert stale == []


@pytest.mark.parametrize("method", ["POST", "PURGE"])
def test_what_one_worker_invalidates_the_others_do_not_serve(
    origin: tuple[Version, str], tmp_path: Path, method: str
) -> None:
    version, url = origin
    stale = []
    policies = POLICIES + 'data_purge: {from: ["127.0.0.0/8"]}\n'
    with running_sidecar(tmp_path, url, policies) as sidecar, many_connections(sidecar) as connections:
        for number in range(ROUNDS):
            for connection in connections:
                body_on(connection)
            version.number += 1
            body_on(connections[number % CONNECTIONS], method=method)
            stale += [number for connection in connections if body_on(connection) != str(version.number)]

    assert stale == []


def test_a_worker_that_hangs_loses_its_l1_rather_than_miss_a_purge(
    own_two: Sidecar, origin: tuple[Version, str]
) -> None:
    with many_connections(own_two) as connections:
        for connection in connections:
            body_on(connection)
        hung, other = workers_of(own_two)
        os.kill(hung, signal.SIGSTOP)
        origin[0].number += 1
        purged = own_two.post_admin("/purge", {"everything": True})
        left = workers_of(own_two)

    assert purged.status == 200
    assert hung not in left
    assert other in left
    wait_until(lambda: metric(own_two, "workers") == 2)
    assert metric(own_two, 'worker_ends_total{cause="killed"}') == 1
    assert {own_two.get("/key").body.decode() for _ in range(CONNECTIONS)} == {str(origin[0].number)}


def test_a_killed_worker_is_replaced_and_nobody_elses_request_fails(tmp_path: Path) -> None:
    with (
        running("shop.py", "--port", "0", "--delay", "1") as shop,
        running_sidecar(tmp_path, shop, "workers: 2\n" + PRODUCTS) as sidecar,
    ):
        customers = Customers(sidecar)
        sums: list[float] = []
        try:
            customers.until(answered=200)
            sums.append(metric(sidecar, 'request_seconds_count{outcome="hit",route="product"}'))
            dead = workers_of(sidecar)[0]
            os.kill(dead, signal.SIGKILL)
            end = time.monotonic() + 20
            while metric(sidecar, 'worker_ends_total{cause="killed"}') < 1 or metric(sidecar, "workers") < 2:
                assert time.monotonic() < end
                sums.append(metric(sidecar, 'request_seconds_count{outcome="hit",route="product"}'))
            sums.append(metric(sidecar, 'request_seconds_count{outcome="hit",route="product"}'))
            readiness = ask(sidecar.ops, "/readyz").status
        finally:
            customers.leave()
        new = workers_of(sidecar)
        answers = {sidecar.get("/products/1").status for _ in range(CONNECTIONS)}

    # Each customer has one connection, and ends with its first failure: those of the dead worker.
    assert len(customers.failures) < len(customers._threads)
    assert all("Disconnected" in failure or "Reset" in failure for failure in customers.failures)
    assert sums == sorted(sums)
    assert sums[0] > 0
    assert readiness == 200
    assert len(new) == 2
    assert dead not in new
    assert answers == {200}


def test_a_reload_is_in_force_in_all_workers_or_in_none(own_two: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    text = file.read_text()
    with many_connections(own_two) as connections:
        file.write_text(text.replace("ttl: 1h", "tll: 1h"))
        rejected = own_two.post_admin("/reload", {})
        for connection in connections:
            body_on(connection, "/kept")
        held = json.loads(ask(own_two.admin, "/entries?prefix=/kept").body)["entries"]
        # Whoever starts now gets the policy in force, not the faulty file.
        os.kill(workers_of(own_two)[0], signal.SIGKILL)
        wait_until(lambda: metric(own_two, 'worker_ends_total{cause="killed"}') == 1)
        wait_until(lambda: metric(own_two, "workers") == 2)
        file.write_text(text.replace("ttl: 1h", "cache: false"))
        accepted = own_two.post_admin("/reload", {})
    statuses = {str(own_two.get("/kept").field("Cache-Status")) for _ in range(CONNECTIONS)}

    assert rejected.status == 422
    assert b"ttl" in rejected.body
    assert len(held) == 2
    assert accepted.status == 200
    assert json.loads(ask(own_two.admin, "/routes").body)["routes"][0]["cache"] is False
    assert all("fwd=bypass" in status for status in statuses)


def test_sighup_reads_the_file_again_for_all(own_two: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(file.read_text().replace("ttl: 1h", "cache: false"))
    own_two.process.send_signal(signal.SIGHUP)

    wait_until(lambda: metric(own_two, 'config_reloads_total{result="reloaded"}') == 1)
    wait_until(
        lambda: all("fwd=bypass" in str(own_two.get("/x").field("Cache-Status")) for _ in range(CONNECTIONS))
    )


def test_drain_is_one_for_all(own_two: Sidecar) -> None:
    ask(own_two.ops, "/-/drain", "POST")

    assert ask(own_two.ops, "/readyz").status == 503
    assert metric(own_two, "draining") == 1
    wait_until(lambda: all(own_two.get("/x").field("Connection") == "close" for _ in range(CONNECTIONS)))


def test_no_request_fails_when_all_are_told_to_end_under_load(tmp_path: Path) -> None:
    with (
        running("shop.py", "--port", "0", "--delay", "5") as shop,
        running_sidecar(
            tmp_path, shop, "workers: 2\n" + PRODUCTS, drain="{delay: 3s, timeout: 5s}"
        ) as sidecar,
    ):
        processes = workers_of(sidecar)
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
    assert len(processes) == 2
    assert not [pid for pid in processes if Path(f"/proc/{pid}/exe").exists()]
    assert not [line for line in sidecar.lines if json.loads(line)["level"] in ("error", "critical")]
    assert json.loads(sidecar.lines[-1])["event"] == "ended"


def test_the_second_signal_ends_all_at_once(origin: tuple[Version, str], tmp_path: Path) -> None:
    drain = "{delay: 60s, timeout: 60s}"
    with running_sidecar(tmp_path, origin[1], POLICIES, drain=drain) as sidecar:
        processes = workers_of(sidecar)
        sidecar.tell()
        wait_until(lambda: ask(sidecar.ops, "/readyz").status == 503)
        time.sleep(0.2)  # so that it is the second one for the workers too
        sidecar.tell()
        code = sidecar.process.wait(5)

    assert code == 0
    assert not [pid for pid in processes if Path(f"/proc/{pid}/exe").exists()]


def test_a_killed_supervisor_leaves_no_process(own_two: Sidecar) -> None:
    processes = workers_of(own_two)
    own_two.process.kill()
    own_two.process.wait()

    assert len(processes) == 2
    wait_until(lambda: not [pid for pid in processes if Path(f"/proc/{pid}/exe").exists()])
    own_two.process.returncode = 0


def test_a_port_that_another_sidecar_has_is_refused(two: Sidecar, tmp_path: Path) -> None:
    process = launched(tmp_path, "http://127.0.0.1:1", "workers: 2\n")
    process.kill()
    process.communicate()
    file = tmp_path / "config.yaml"
    file.write_text(file.read_text().replace("listen: 127.0.0.1:0", f"listen: {two.data}", 1))
    ended = subprocess.run(
        process.args, cwd=Path(__file__).parents[2], capture_output=True, timeout=STOP_SECONDS, check=False
    )

    assert ended.returncode == 2
    assert b"ddress already in use" in ended.stderr


def test_readiness_is_false_while_no_worker_serves(own_two: Sidecar) -> None:
    for pid in workers_of(own_two):
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: ask(own_two.ops, "/readyz").body == b"no worker serves\n", 5)
    assert ask(own_two.ops, "/livez").status == 200
    wait_until(lambda: ask(own_two.ops, "/readyz").status == 200)


def test_who_connects_while_a_worker_is_replaced_waits_for_its_successor(own_two: Sidecar) -> None:
    for pid in workers_of(own_two):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: metric(own_two, "workers") == 0, 5)

    host, _, port = own_two.data.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"GET /waits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = client.recv(100)

    assert answer.startswith(b"HTTP/1.1 200")
