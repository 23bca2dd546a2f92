"""A TCP link in front of a server that tests can cut, stall and slow down.

async with CutLink(port) as link:
    client = connect(link.url, timeout=0.2)
    link.cut()        # connections are reset, new ones too
    link.restore()
    link.stall()      # a black hole: connections are taken, bytes go nowhere
    link.flow()
    link.delay_seconds = 0.05   # before each piece that the server sends
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

from proxy.observe.tasks import spawn

_PIECE_BYTES = 65_536


class CutLink:
    """Forwards to a loopback port. With `tls` the client's side speaks TLS."""

    def __init__(self, server_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.delay_seconds = 0.0
        self.accepted = 0
        """Connections so far, those that were reset at once included."""
        self.port = 0
        self._server_port = server_port
        self._tls = tls
        self._is_cut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections of clients that are open now."""
        return len(self._writers) // 2

    async def __aenter__(self) -> CutLink:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        if self._pumps:
            await asyncio.wait(set(self._pumps), timeout=5)

    def cut(self) -> None:
        """Reset every connection, and every new one."""
        self._is_cut = True
        self._flows.set()
        for writer in self._writers:
            writer.transport.abort()

    def restore(self) -> None:
        """Connect and forward again."""
        self._is_cut = False

    def stall(self) -> None:
        """Take connections and bytes, and forward nothing."""
        self._flows.clear()

    def flow(self) -> None:
        """Forward again, what was held up first."""
        self._flows.set()

    async def _accept(self, from_client: StreamReader, to_client: StreamWriter) -> None:
        self.accepted += 1
        if self._is_cut:
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            to_client.transport.abort()
            return
        self._writers |= {to_client, to_server}
        pumps = {
            spawn("link to server", self._pump(from_client, to_server)),
            spawn("link to client", self._pump(from_server, to_client, is_slow=True)),
        }
        self._pumps |= pumps
        for pump in pumps:
            pump.add_done_callback(self._pumps.discard)
            pump.add_done_callback(lambda _: self._end(to_client, to_server))

    async def _pump(self, reader: StreamReader, writer: StreamWriter, *, is_slow: bool = False) -> None:
        # RuntimeError is uvloop's word for a side that was closed while its bytes were held back.
        with suppress(OSError, RuntimeError):
            while piece := await reader.read(_PIECE_BYTES):
                await self._flows.wait()
                if is_slow and self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(piece)
                await writer.drain()

    def _end(self, *writers: StreamWriter) -> None:
        for writer in writers:
            writer.transport.abort()
        self._writers -= set(writers)
