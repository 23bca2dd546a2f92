"""Real Valkey servers for tests: on a free loopback port or a unix socket, ended whatever happens.

    with running_valkey() as server:
        client = connect(server.url, timeout=1.0)

Options of the server's configuration are keywords: `running_valkey(maxmemory="5mb")`. Start it on the main
thread (fixtures run there).
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import redis

from proxy.store.embedded import find_server, server_command

DEADLINE_SECONDS = 10.0
_POLL_SECONDS = 0.01
_TRIES = 5


class Valkey:
    """One server. It keeps its address over `kill` and `start`, and forgets its data."""

    def __init__(self, folder: Path, *, unix: bool, options: dict[str, str]) -> None:
        self.port = 0 if unix else free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """Where a server on a unix socket listens."""
        return self._folder / "valkey.sock"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket_path}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        if not self.port:
            options |= {"unixsocket": str(self.socket_path), "unixsocketperm": "700"}
        command = server_command(find_server(), options | self._options)
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        deadline = monotonic() + DEADLINE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                self.kill()
                raise OSError((self._folder / "valkey.log").read_text(errors="replace"))
            sleep(_POLL_SECONDS)

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


@contextmanager
def running_valkey(*, unix: bool = False, **options: str) -> Iterator[Valkey]:
    """A fresh, empty server. Underscores in option names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    with TemporaryDirectory(prefix="valkey-") as folder:
        server = _started(Path(folder), unix=unix, options=named)
        try:
            yield server
        finally:
            server.kill()


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _started(folder: Path, *, unix: bool, options: dict[str, str]) -> Valkey:
    """Another process may take the free port first: then another port."""
    for _ in range(_TRIES - 1):
        server = Valkey(folder, unix=unix, options=options)
        try:
            server.start()
        except OSError as error:
            if "in use" not in str(error):
                raise
        else:
            return server
    server = Valkey(folder, unix=unix, options=options)
    server.start()
    return server
