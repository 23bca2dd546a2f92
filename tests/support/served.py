"""Runs an operator's port on a loop in a thread, for callers that block (the command line)."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from proxy.admin.server import Port
from proxy.config.schema import Address

DEADLINE_SECONDS = 10.0


@contextmanager
def served(application: web.Application) -> Iterator[str]:
    """The port's URL while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    port = Port(application)
    try:
        opening = asyncio.run_coroutine_threadsafe(port.open(Address("127.0.0.1", 0)), loop)
        yield f"http://{opening.result(DEADLINE_SECONDS)}"
    finally:
        asyncio.run_coroutine_threadsafe(port.close(), loop).result(DEADLINE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_SECONDS)
        loop.close()


@contextmanager
def answering(response: bytes | None) -> Iterator[str]:
    """The URL of a server that answers every connection with these bytes, or never (None), and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_done = threading.Event()

        def answer() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if response is None:
                            is_done.wait(DEADLINE_SECONDS)
                            continue
                        connection.recv(65536)
                        connection.sendall(response)
            except OSError:
                return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        is_done.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_SECONDS)
