"""The whole sidecar as a process: shop in front, embedded Valkey, admin port, reload, signals."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.examples import running
from tests.support.sidecar import Sidecar, ask, running_sidecar

POLICIES = """
l2: {url: embedded}
routes:
  - {name: product, match: {path: "/products/{id}"}, ttl: 60s, negative: {404: 30s}, tags: ["product:{id}"]}
  - {name: cart, match: {path: "/cart/**"}, cache: false}
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with running("shop.py", "--port", "0", "--delay", "5") as url:
        yield url


@pytest.fixture(scope="module")
def sidecar(shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """One for all tests that leave the process as it is; each asks for products of its own."""
    with running_sidecar(tmp_path_factory.mktemp("sidecar"), shop, POLICIES) as started:
        yield started


@pytest.fixture(scope="module")
def holding_one(shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """One that is asked for product 7 only, so that a dry run can count nothing else."""
    with running_sidecar(tmp_path_factory.mktemp("holding"), shop, POLICIES) as started:
        yield started


@pytest.fixture
def own_sidecar(shop: str, tmp_path: Path) -> Iterator[Sidecar]:
    """For tests that change the process."""
    with running_sidecar(tmp_path, shop, POLICIES) as started:
        yield started


def status_of(sidecar: Sidecar, target: str) -> str:
    return str(sidecar.get(target).field("Cache-Status"))


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


def test_miss_then_hit_then_purge_then_miss(sidecar: Sidecar) -> None:
    first, second = status_of(sidecar, "/products/1"), status_of(sidecar, "/products/1")
    purged = sidecar.post_admin("/purge", {"tags": ["product:1"]})
    third = status_of(sidecar, "/products/1")

    assert first == "sidecache; fwd=uri-miss; fwd-status=200; stored"
    assert second.endswith("detail=l1")
    assert purged.status == 200
    assert json.loads(purged.body)["replicas"] == {"known": 1, "acknowledged": 1, "missing": []}
    assert third == first


@pytest.mark.parametrize(
    "selector",
    [
        {"urls": ["/products/7"]},
        {"prefixes": ["/products/"]},
        {"patterns": ["/products/{id}"]},
        {"tags": ["product:7"]},
        {"routes": ["product"]},
        {"everything": True},
    ],
)
def test_every_selector_removes_what_it_names(holding_one: Sidecar, selector: dict[str, object]) -> None:
    status_of(holding_one, "/products/7")
    counted = json.loads(holding_one.post_admin("/purge?dry_run=true", selector).body)
    assert "hit" in status_of(holding_one, "/products/7")

    holding_one.post_admin("/purge", selector)

    assert counted["matched"] == 1
    assert "fwd=uri-miss" in status_of(holding_one, "/products/7")


def test_an_unsafe_request_removes_what_it_changes(sidecar: Sidecar) -> None:
    status_of(sidecar, "/products/3")
    assert "hit" in status_of(sidecar, "/products/3")

    ask(sidecar.data, "/products/3", "PUT", b"{}")

    # The shop may refuse the change: only a success says that something changed.
    changed = ask(sidecar.data, "/products/3", "PUT", b"{}").status < 400
    assert ("fwd=uri-miss" in status_of(sidecar, "/products/3")) is changed


def test_absence_is_remembered_and_carts_are_not_cached(sidecar: Sidecar) -> None:
    status_of(sidecar, "/products/999999")

    assert "detail=negative" in status_of(sidecar, "/products/999999")
    assert "fwd=bypass" in status_of(sidecar, "/cart/1")


def test_a_burst_on_a_cold_key_reaches_the_origin_once(sidecar: Sidecar, shop: str) -> None:
    origin = shop.removeprefix("http://").rstrip("/")
    before = json.loads(ask(origin, "/__stats").body)
    answers: list[int] = []
    clients = [
        threading.Thread(target=lambda: answers.append(sidecar.get("/products/42").status)) for _ in range(50)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    after = json.loads(ask(origin, "/__stats").body)

    assert answers == [200] * 50
    assert sum(_numbers(after)) - sum(_numbers(before)) <= 2


def _numbers(stats: dict[str, object]) -> list[int]:
    return [value for value in stats.values() if isinstance(value, int)]


def test_a_changed_file_is_put_in_force_and_a_faulty_one_is_not(own_sidecar: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("ttl: 60s", "tll: 60s"))
    rejected = own_sidecar.post_admin("/reload", {})
    file.write_text(text.replace("ttl: 60s", "cache: false"))
    accepted = own_sidecar.post_admin("/reload", {})

    assert rejected.status == 422
    assert b"ttl" in rejected.body
    assert accepted.status == 200
    assert "fwd=bypass" in status_of(own_sidecar, "/products/5")


def test_sighup_reads_the_file_again(own_sidecar: Sidecar, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(file.read_text().replace("ttl: 60s", "cache: false"))
    own_sidecar.process.send_signal(signal.SIGHUP)

    wait_until(lambda: "fwd=bypass" in status_of(own_sidecar, "/products/6"))


def test_probes_and_metrics_answer(own_sidecar: Sidecar) -> None:
    status_of(own_sidecar, "/products/1")
    metrics = ask(own_sidecar.ops, "/metrics").body.decode()

    assert ask(own_sidecar.ops, "/readyz").status == 200
    assert 'sidecache_requests_total{outcome="miss",route="product"} 1.0' in metrics
    assert "sidecache_l1_entries{kind=" in metrics


def test_drain_turns_readiness_off_and_goes_on_serving(own_sidecar: Sidecar) -> None:
    ask(own_sidecar.ops, "/-/drain", "POST")
    answer = own_sidecar.get("/products/1")

    assert ask(own_sidecar.ops, "/readyz").status == 503
    assert answer.status == 200
    assert answer.field("Connection") == "close"


def test_the_end_of_the_process_is_the_end_of_its_server(own_sidecar: Sidecar) -> None:
    children = (
        Path(f"/proc/{own_sidecar.process.pid}/task/{own_sidecar.process.pid}/children").read_text().split()
    )
    own_sidecar.process.kill()
    own_sidecar.process.wait()

    assert len(children) == 1
    wait_until(lambda: not Path(f"/proc/{children[0]}/exe").exists())
    own_sidecar.process.returncode = 0


def child_of(sidecar: Sidecar) -> int:
    """The private server's process."""
    listed = Path(f"/proc/{sidecar.process.pid}/task/{sidecar.process.pid}/children").read_text().split()
    (child,) = map(int, listed)
    return child


def metrics_of(sidecar: Sidecar) -> str:
    return ask(sidecar.ops, "/metrics").body.decode()


def test_a_private_server_that_dies_is_replaced_and_nothing_older_is_trusted(own_sidecar: Sidecar) -> None:
    status_of(own_sidecar, "/products/1")
    wait_until(lambda: 'l2_operations_total{operation="set",result="stored"} 1.0' in metrics_of(own_sidecar))
    first = child_of(own_sidecar)
    os.kill(first, signal.SIGKILL)
    killed_at = time.monotonic()

    wait_until(lambda: 'sidecache_l2_restarts_total{result="ok"} 1.0' in metrics_of(own_sidecar))
    wait_until(lambda: "sidecache_l2_breaker_open 0.0" in metrics_of(own_sidecar))
    # The log came back as an empty one: another epoch, which is read as such within a poll or two.
    wait_until(
        lambda: 'sidecache_log_rebuilds_total{cause="' in metrics_of(own_sidecar).replace('"start"', "")
    )
    seconds = time.monotonic() - killed_at
    older, again = status_of(own_sidecar, "/products/1"), status_of(own_sidecar, "/products/1")
    purged = own_sidecar.post_admin("/purge", {"tags": ["product:1"]})

    assert seconds < 5
    assert "fwd=" in older
    assert again.endswith("detail=l1")
    assert json.loads(purged.body)["published"] is True
    assert "fwd=uri-miss" in status_of(own_sidecar, "/products/1")
    assert child_of(own_sidecar) != first


def test_a_stale_answer_stands_in_while_the_origin_is_away(tmp_path: Path) -> None:
    policies = """
routes: [{name: all, match: {path: "/**"}, ttl: 1s, jitter: 0%, stale_if_error: 1h}]
"""
    with ExitStack() as stack:
        with running("shop.py", "--port", "0", "--delay", "1") as shop:
            sidecar = stack.enter_context(running_sidecar(tmp_path, shop, policies))
            body = sidecar.get("/products/2").body
        wait_until(lambda: "detail=stale-if-error" in status_of(sidecar, "/products/2"))
        stale, other = sidecar.get("/products/2"), sidecar.get("/products/3")

    assert (stale.status, stale.body) == (200, body)
    assert other.status == 502
    assert other.field("Content-Type") == "application/problem+json"
