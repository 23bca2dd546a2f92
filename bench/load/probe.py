"""One client that asks again and again while others do: its longest wait is the server's longest stall."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PAUSE_SECONDS = 0.001
_RECEIVED_BYTES = 65536
_TIMEOUT_SECONDS = 10.0


class Probe:
    """The waits so far."""

    def __init__(self, port: int, path: str) -> None:
        self.worst_ms = 0.0
        self.asked = 0
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()

    def run(self, ended: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_SECONDS) as connection:
            while not ended.wait(_PAUSE_SECONDS):
                began_at = time.perf_counter()
                connection.sendall(self._request)
                connection.recv(_RECEIVED_BYTES)
                self.worst_ms = max(self.worst_ms, (time.perf_counter() - began_at) * 1000)
                self.asked += 1


@contextmanager
def probing(port: int, path: str) -> Iterator[Probe]:
    """Ask about a thousand times a second for a small answer while the block runs."""
    probe, ended = Probe(port, path), threading.Event()
    thread = threading.Thread(target=probe.run, args=(ended,), daemon=True)
    thread.start()
    try:
        yield probe
    finally:
        ended.set()
        thread.join(_TIMEOUT_SECONDS)
