"""`python -m bench.load.bare_loop PORT BYTES`: an event loop that only answers, with the same bytes always.

What it stalls for is the machine's doing; what ours stalls for above that is our own.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


class Connection(asyncio.Protocol):
    """One answer for each chunk that ends a head."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n") and isinstance(self._transport, asyncio.Transport):
            self._transport.write(self.answer)


async def serve(port: int, body_bytes: int) -> None:
    Connection.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (body_bytes, b"x" * body_bytes)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
