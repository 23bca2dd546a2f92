"""A real sidecar process in front of a real origin process, on free loopback ports."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 15.0

HEAD = """
listen: 127.0.0.1:0
ops: {{listen: 127.0.0.1:0}}
admin: {{listen: 127.0.0.1:0}}
drain: {drain}
logs: {{format: json}}
origin: {origin}
"""
DRAIN = "{delay: 0s, timeout: 5s}"


@dataclass
class Response:
    """An answer as it came: fields with their order and duplicates."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return values[0] if values else None


def ask(address: str, target: str, method: str = "GET", body: bytes | None = None, **fields: str) -> Response:
    """One request on a connection of its own; the target goes out as given."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        return Response(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def address(text: str) -> tuple[str, int]:
    """For a socket."""
    host, _, port = text.rpartition(":")
    return host, int(port)


@dataclass
class Sidecar:
    """The process and where it listens."""

    process: subprocess.Popen[bytes]
    data: str
    ops: str
    admin: str
    lines: list[str] = field(default_factory=list)
    is_told: bool = False

    def get(self, target: str, **fields: str) -> Response:
        return ask(self.data, target, **fields)

    def post_admin(self, call: str, body: Mapping[str, object]) -> Response:
        return ask(self.admin, call, "POST", json.dumps(body).encode(), Content_Type="application/json")

    def tell(self) -> None:
        """SIGTERM: begin to end."""
        self.is_told = True
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """The exit code, after SIGTERM; a second one would end it at once, so it is told only once."""
        if not self.is_told and self.process.poll() is None:
            self.tell()
        return self.process.wait(STOP_SECONDS)


def launched(
    folder: Path, origin: str, policies: str = "", *, drain: str = DRAIN, before: str = ""
) -> subprocess.Popen[bytes]:
    """`sidecache serve -c` in front of `origin`: a URL, or the section's YAML. `before`: shell commands."""
    file = folder / "config.yaml"
    section = origin if origin.startswith("{") else f'{{url: "{origin}"}}'
    file.write_text(HEAD.format(origin=section, drain=drain) + policies)
    return served("-c", str(file), before=before)


def served(*arguments: str, before: str = "") -> subprocess.Popen[bytes]:
    """`sidecache serve` with these arguments. `before`: shell commands."""
    command = [sys.executable, "-m", "proxy", "serve", *arguments]
    if before:
        command = ["sh", "-c", f'{before}; exec "$@"', "sh", *command]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@contextmanager
def running_sidecar(
    folder: Path, origin: str, policies: str = "", *, drain: str = DRAIN, before: str = ""
) -> Iterator[Sidecar]:
    """What `launched` starts, from when it is ready until the block ends; it must end well."""
    with running(launched(folder, origin, policies, drain=drain, before=before)) as sidecar:
        yield sidecar


@contextmanager
def running(process: subprocess.Popen[bytes], *, exits: Collection[int] = (0,)) -> Iterator[Sidecar]:
    """A sidecar that was started, from when it is ready until the block ends; how it must end."""
    lines: list[str] = []
    reader: threading.Thread | None = None
    try:
        ready = _until_ready(process, lines)
        sidecar = Sidecar(process, ready["listen"], ready["ops"], ready["admin"], lines)
        reader = threading.Thread(target=_drain, args=(process, lines), daemon=True)
        reader.start()
        yield sidecar
        assert sidecar.stop() in exits, "".join(lines)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if reader is not None:
            reader.join(STOP_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def _until_ready(process: subprocess.Popen[bytes], lines: list[str]) -> dict[str, str]:
    assert process.stdout is not None
    guard = threading.Timer(START_SECONDS, process.kill)
    guard.start()
    try:
        for line in process.stdout:
            lines.append(line.decode())
            if b'"ready"' in line:
                found: dict[str, str] = json.loads(line)
                return found
    finally:
        guard.cancel()
    raise AssertionError("the sidecar did not start: " + "".join(lines))


def _drain(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    assert process.stdout is not None
    lines.extend(line.decode() for line in process.stdout)
