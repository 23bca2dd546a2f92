"""A TCP link in front of a server that tests can cut, stall and slow down.

async with CutLink(port) as link:
    client = connect(link.url, timeout=0.2)
    link.cut()        # connections are reset, new ones too
    link.restore()
    link.stall()      # a black hole: connections are taken, bytes go nowhere
    link.flow()
    link.drop()       # as stall, but what is sent meanwhile is lost; ends with restore
    link.hold(lambda piece, is_reply: b"MGET" in piece)   # such pieces wait, and all behind them
    link.let_go()
    link.delay_seconds = 0.05   # before each piece that the server sends
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from proxy.observe.tasks import spawn

_PIECE_BYTES = 65_536


class CutLink:
    """Forwards to a loopback port. With `tls` the client's side speaks TLS."""

    def __init__(self, server_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.delay_seconds = 0.0
        self.accepted = 0
        """Connections so far, those that were reset at once included."""
        self.accepted_at: list[float] = []
        """When each of them came, monotonic."""
        self.held: list[bytes] = []
        """The pieces that wait, since the last `hold`."""
        self.port = 0
        self._server_port = server_port
        self._tls = tls
        self._is_cut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._drops = False
        self._holds: Callable[[bytes, bool], bool] = _nothing
        self._goes = asyncio.Event()
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
        self.let_go()
        for writer in self._writers:
            writer.transport.abort()

    def restore(self) -> None:
        """Connect and forward again."""
        self._is_cut = self._drops = False

    def move(self, server_port: int) -> None:
        """Lead to another server from now on; connections to the old one are reset."""
        for writer in self._writers:
            writer.transport.abort()
        self._server_port = server_port

    def stall(self) -> None:
        """Take connections and bytes, and forward nothing."""
        self._flows.clear()

    def flow(self) -> None:
        """Forward again, what was held up first."""
        self._flows.set()

    def drop(self) -> None:
        """Take connections and lose all their bytes."""
        self._drops = True

    def hold(self, holds: Callable[[bytes, bool], bool]) -> None:
        """Keep back the pieces for which this is true; it is told whether the server sent them."""
        self.held, self._goes, self._holds = [], asyncio.Event(), holds

    def let_go(self) -> None:
        """Forward what is held, and hold no more."""
        self._holds = _nothing
        self._goes.set()

    async def _accept(self, from_client: StreamReader, to_client: StreamWriter) -> None:
        self.accepted += 1
        self.accepted_at.append(monotonic())
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
            spawn("link to client", self._pump(from_server, to_client, is_reply=True)),
        }
        self._pumps |= pumps
        for pump in pumps:
            pump.add_done_callback(self._pumps.discard)
            pump.add_done_callback(lambda _: self._end(to_client, to_server))

    async def _pump(self, reader: StreamReader, writer: StreamWriter, *, is_reply: bool = False) -> None:
        # RuntimeError is uvloop's word for a side that was closed while its bytes were held back.
        with suppress(OSError, RuntimeError):
            while piece := await reader.read(_PIECE_BYTES):
                if self._drops:
                    continue
                await self._flows.wait()
                if self._holds(piece, is_reply):
                    self.held.append(piece)
                    await self._goes.wait()
                if is_reply and self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(piece)
                await writer.drain()

    def _end(self, *writers: StreamWriter) -> None:
        for writer in writers:
            writer.transport.abort()
        self._writers -= set(writers)


def _nothing(_piece: bytes, _is_reply: bool) -> bool:
    return False
