"""Real Valkey servers for tests: on a free loopback port or a unix socket, ended whatever happens.

    with running_valkey() as server:
        client = connect(server.url, timeout=1.0)

Options of the server's configuration are keywords: `running_valkey(maxmemory="5mb")`. Start it on the main
thread (fixtures run there). `program` is another server than the Valkey of the tests: see `redis_program`.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from proxy.store.embedded import find_server, server_command

DEADLINE_SECONDS = 10.0
_POLL_SECONDS = 0.01
_TRIES = 5


class Valkey:
    """One server. It keeps its address over `kill` and `start`, and forgets its data."""

    def __init__(
        self, folder: Path, *, unix: bool, options: dict[str, str], program: Path | None = None
    ) -> None:
        self.port = 0 if unix else free_port()
        self._program = program
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def socket_path(self) -> Path:
        """Where a server on a unix socket listens."""
        return self._folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket_path}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), cwd=self._folder, stdout=log, stderr=log)
        deadline = monotonic() + DEADLINE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                self.kill()
                raise OSError((self._folder / "valkey.log").read_text(errors="replace"))
            sleep(_POLL_SECONDS)

    def _command(self) -> list[str]:
        program = self._program or find_server()
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        if not self.port:
            options |= {"unixsocket": str(self.socket_path), "unixsocketperm": "700"}
        return server_command(program, options | self._options)

    def kill(self) -> None:
        """`kill -9`: no farewell to anybody. Also ends a paused server."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=DEADLINE_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: connections stay, the kernel takes more of them, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, *command: bytes | str | int) -> Any:
        """One command on a connection of its own."""
        options = {"socket_timeout": DEADLINE_SECONDS, "protocol": 2, "driver_info": None}
        with redis.Redis(**self._address(), **options) as client:
            return client.execute_command(*command)

    def raw(self, *command: bytes | str | int) -> Any:
        """The reply as it came: redis-py reads some replies into other shapes in each version."""
        with redis.Redis(**self._address(), socket_timeout=DEADLINE_SECONDS, protocol=2) as client:
            connection = client.connection_pool.get_connection()
            connection.send_command(*command)
            return connection.read_response()

    def calls(self, command: str) -> int:
        """How often the server ran the command since CONFIG RESETSTAT."""
        return int(self.ask("INFO", "commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    def _address(self) -> dict[str, Any]:
        if self.port:
            return {"host": "127.0.0.1", "port": self.port}
        return {"unix_socket_path": str(self.socket_path)}

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class Sentinel(Valkey):
    """A sentinel that knows no service yet; what it learns it writes into a file of its own."""

    def _command(self) -> list[str]:
        file = self._folder / "sentinel.conf"
        file.write_text(f"port {self.port}\nbind 127.0.0.1\n")
        return [*server_command(self._program or find_server(), {}), str(file), "--sentinel"]


@contextmanager
def running_valkey(
    *, unix: bool = False, program: Path | None = None, kind: type[Valkey] = Valkey, **options: str
) -> Iterator[Valkey]:
    """A fresh, empty server. Underscores in option names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    with TemporaryDirectory(prefix="valkey-") as folder:
        made = partial(kind, Path(folder), unix=unix, options=named, program=program)
        server = _started(made)
        try:
            yield server
        finally:
            server.kill()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_program() -> Path:
    """The `redis-server` of the system; skips the test, saying so, where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("REDIS IS NOT TESTED, only Valkey: there is no redis-server")
    return Path(found)


def _started(made: Callable[[], Valkey]) -> Valkey:
    """Another process may take the free port first: then another port."""
    for _ in range(_TRIES - 1):
        server = made()
        try:
            server.start()
        except OSError as error:
            if "in use" not in str(error):
                raise
        else:
            return server
    server = made()
    server.start()
    return server
