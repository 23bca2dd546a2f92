"""Enough of a connection for aiohttp's body reader."""

from __future__ import annotations

from aiohttp.base_protocol import BaseProtocol


class ReadableProtocol(BaseProtocol):
    """Always connected; takes no notice of flow control."""

    def pause_reading(self) -> None:
        """aiohttp's reader has enough."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp's reader has room."""

    @property
    def connected(self) -> bool:
        return True
