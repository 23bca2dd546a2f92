"""The processes that a replay needs, on free ports; they end with the block that asked for them."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path

from proxy.admin import client

HERE = Path(__file__).resolve().parent
START_SECONDS = 20.0
STOP_SECONDS = 30.0

CONFIG = """\
listen: 127.0.0.1:{clients}
ops: {{listen: "127.0.0.1:{ops}"}}
admin: {{listen: off}}
drain: {{delay: 0s, timeout: 5s}}
origin: {{url: "{origin}"}}
l1: {{max_entries: {l1_entries}, max_bytes: {l1_bytes}}}
l2: {{url: "{l2}"}}
logs: {{level: warning, format: console}}
routes:
  - name: product
    match: {{path: "/products/{{id}}"}}
"""
ENTRY_BYTES = 4096
"""More than an entry of the replay takes, its overhead included: the count is what limits L1."""


class NotStarted(Exception):
    """A process did not come up; the message says which."""


@contextmanager
def origin() -> Iterator[str]:
    """The URL of a fast origin of its own."""
    command = [sys.executable, str(HERE / "fast_origin.py"), "--until-stdin-closes"]
    with _running(command, stdout=subprocess.PIPE) as process:
        is_announced = process.stdout and select.select([process.stdout], [], [], START_SECONDS)[0]
        line = process.stdout.readline() if process.stdout and is_announced else b""
        if not line:
            raise NotStarted("the origin did not start")
        yield line.decode().split()[-1]


@contextmanager
def sidecar(directory: Path, *, origin_url: str, l1_entries: int, l2: str) -> Iterator[str]:
    """The URL of a sidecar in front of the origin, once it is ready."""
    clients, ops = _free_ports(2)
    file = directory / "replay.yaml"
    file.write_text(
        CONFIG.format(
            clients=clients,
            ops=ops,
            origin=origin_url,
            l1_entries=l1_entries,
            l1_bytes=max(l1_entries * ENTRY_BYTES, 64 * 1024 * 1024),
            l2=l2,
        ),
        encoding="utf-8",
    )
    with _running([sys.executable, "-m", "proxy", "serve", "-c", str(file)]) as process:
        _wait_until_ready(f"http://127.0.0.1:{ops}", process)
        yield f"http://127.0.0.1:{clients}"


@contextmanager
def _running(command: Sequence[str], *, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, cwd=HERE.parent) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(ops_url: str, process: subprocess.Popen[bytes]) -> None:
    end_at = time.monotonic() + START_SECONDS
    while time.monotonic() < end_at and process.poll() is None:
        reply = client.health(ops_url)
        if isinstance(reply, client.Reply) and reply.status == HTTPStatus.OK:
            return
        time.sleep(0.05)
    raise NotStarted("the sidecar did not become ready")


def _free_ports(count: int) -> list[int]:
    """Ports that were free just now, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = []
    for probe in probes:
        with closing(probe):
            ports.append(probe.getsockname()[1])
    return ports
