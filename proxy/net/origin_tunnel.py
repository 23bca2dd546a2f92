"""The origin's side of a connection that has left HTTP: the `Tunnel` of model.py over an exchange.

Each direction ends by itself; `close`, a reset or `limits.tunnel_idle` without a byte in either end both.
"""

from __future__ import annotations

from proxy.model import BodyBroken
from proxy.net.exchange import Exchange


class OriginTunnel:
    """Raw bytes both ways; those that came with the 101 are read first."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def read(self) -> bytes:
        """The next bytes; b"" when the origin has closed its side or the tunnel has ended."""
        try:
            return await self._exchange.body.read()
        except BodyBroken:
            return b""

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the transport takes more. Into an ended tunnel they are dropped."""
        await self._exchange.send(data)

    def write_eof(self) -> None:
        """Nothing more will be written; reading goes on. Without effect over TLS, which cannot."""
        self._exchange.send_eof()

    def close(self) -> None:
        """End both directions; what was written is still sent."""
        self._exchange.stop()
