"""In front of an API that nobody here wrote, unchanged: httpbin under gunicorn."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sidecar import Response, Sidecar, ask, running_sidecar

START_SECONDS = 20.0
OURS = {"via", "cache-status", "age", "date", "connection", "server", "transfer-encoding", "content-length"}
"""Fields that the proxy adds or frames anew (docs/http-support.md), and Date, which is the moment's."""
CACHING = """
routes:
  - {name: cache, match: {path: "/cache/**"}, ttl: none}
  - {name: missing, match: {path: "/status/*"}, negative: {404: 30s}}
unmatched: cache
"""


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "-b", address, "-k", "gthread", "--threads", "8"]
    process = subprocess.Popen(
        [*command, "httpbin:app"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        _until_answering(address)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _until_answering(address: str) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            if ask(address, "/status/200").status == 200:
                return
        except OSError:
            assert time.monotonic() < end, "httpbin did not start"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def sidecar(httpbin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder: Path = tmp_path_factory.mktemp("httpbin")
    with running_sidecar(folder, f"http://{httpbin}", CACHING) as running:
        yield running


def comparable(response: Response) -> tuple[int, list[tuple[str, str]]]:
    return response.status, sorted(
        (name.lower(), value) for name, value in response.fields if name.lower() not in OURS
    )


SAME_BYTES = [
    "/status/404",
    "/status/418",
    "/stream-bytes/5000?seed=7&chunk_size=100",
    "/range/2048",
    "/etag/x",
    "/redirect/3",
    "/encoding/utf8",
    "/image/png",
    "/robots.txt",
    "/html",
    "/base64/c2lkZWNhY2hl",
    "/drip?duration=0.5&numbytes=5&delay=0",
    "/response-headers?X-Twice=1&X-Twice=2",
]


@pytest.mark.parametrize("target", SAME_BYTES)
def test_answers_are_those_of_httpbin(sidecar: Sidecar, httpbin: str, target: str) -> None:
    direct = ask(httpbin, target, Host="example.test")
    proxied, again = (sidecar.get(target, Host="example.test") for _ in range(2))

    assert comparable(proxied) == comparable(direct)
    for answer in (proxied, again):
        assert _without_forwarding(answer.body) == _without_forwarding(direct.body)


@pytest.mark.parametrize(
    "target",
    ["/get?a=1&a=2&b=%2F", "/anything/a%2Fb/c%20d?x=%2f&y=+%20", "/anything//double", "/anything/a/../b"],
)
def test_encoded_targets_arrive_as_sent(sidecar: Sidecar, httpbin: str, target: str) -> None:
    direct = ask(httpbin, target, Host="example.test")
    proxied = sidecar.get(target, Host="example.test")

    assert proxied.status == direct.status
    assert _without_forwarding(proxied.body) == _without_forwarding(direct.body)


def _without_forwarding(body: bytes) -> list[bytes]:
    unwanted = (b'"X-Forwarded-For"', b'"Via"', b'"origin"')
    return [line.rstrip(b",") for line in body.splitlines() if not line.strip().startswith(unwanted)]


def test_streamed_lines_arrive_whole(sidecar: Sidecar, httpbin: str) -> None:
    proxied = sidecar.get("/stream/20", Host=httpbin)

    assert proxied.status == 200
    assert len(proxied.body.splitlines()) == 20


def test_compressed_bodies_are_not_touched(sidecar: Sidecar) -> None:
    proxied = sidecar.get("/gzip", Accept_Encoding="gzip")

    assert proxied.field("Content-Encoding") == "gzip"
    assert proxied.body[:2] == b"\x1f\x8b"


def test_cacheable_answers_come_from_memory_the_second_time(sidecar: Sidecar) -> None:
    first, second = sidecar.get("/cache/30"), sidecar.get("/cache/30")

    assert "stored" in str(first.field("Cache-Status"))
    assert str(second.field("Cache-Status")).startswith("sidecache; hit")
    assert second.body == first.body


def test_not_found_is_remembered(sidecar: Sidecar) -> None:
    sidecar.get("/status/404")

    assert "detail=negative" in str(sidecar.get("/status/404").field("Cache-Status"))


def test_clients_conditions_are_answered(sidecar: Sidecar) -> None:
    target = "/response-headers?ETag=%22abc%22&Cache-Control=max-age%3D60"
    sidecar.get(target)
    again = sidecar.get(target, If_None_Match='"abc"')

    assert (again.status, again.body) == (304, b"")


def test_five_megabytes_go_up_and_down(sidecar: Sidecar, httpbin: str) -> None:
    upload = os.urandom(5 * 1024 * 1024)
    up = ask(sidecar.data, "/post", "POST", upload, Content_Type="application/octet-stream")
    direct = ask(httpbin, "/post", "POST", upload, Content_Type="application/octet-stream")
    down = sidecar.get("/stream-bytes/5000000?seed=1")

    assert (up.status, direct.status) == (200, 200)
    assert len(up.body) > len(upload)
    assert _without_forwarding(up.body)[1:4] == _without_forwarding(direct.body)[1:4]
    assert len(down.body) == len(ask(httpbin, "/stream-bytes/5000000?seed=1").body)
