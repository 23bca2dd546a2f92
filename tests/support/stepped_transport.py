"""A transport whose client takes bytes when the test says so."""

from __future__ import annotations

import socket


class SteppedTransport:
    """Holds what is written until the test says that the client took it."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.unsent = 0
        self.written = b""
        self.is_aborted = False
        self.has_eof = False
        self.is_closed = False
        self._sock = sock

    def write(self, data: bytes) -> None:
        self.written += data
        self.unsent += len(data)

    def write_eof(self) -> None:
        self.has_eof = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _name: str) -> socket.socket | None:
        return self._sock

    def abort(self) -> None:
        self.is_aborted = True
