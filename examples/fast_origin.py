"""An origin as fast as Python gets, whose every body follows from its path: for replays and checks.

GET /products/KEY answers `body_of(KEY)`, fresh for a day; GET /__stats says how many were asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys

from lifetime import until_ended

PATH = b"/products/"
_HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nCache-Control: %b\r\nContent-Length: %d\r\n\r\n"


def body_of(key: int) -> bytes:
    """The one right body for a key: 561 bytes and the key's digits."""
    digest = hashlib.blake2b(b"%d" % key, digest_size=32).hexdigest()
    return b'{"product": %d, "description": "%b"}' % (key, (digest * 8).encode())


class Counts:
    """What was asked for so far."""

    def __init__(self) -> None:
        self.requests = 0
        self.keys: set[int] = set()

    def add(self, key: int) -> None:
        self.requests += 1
        self.keys.add(key)

    def encode(self) -> bytes:
        return json.dumps({"requests": self.requests, "distinct": len(self.keys)}).encode()


class Connection(asyncio.Protocol):
    """One client connection: heads in, answers out, in order. Requests have no bodies."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        if self._transport is not None:
            self._transport.write(b"".join(map(self._answer, heads)))

    def _answer(self, head: bytes) -> bytes:
        target = head.split(b" ", 2)[1]
        key = target.removeprefix(PATH)
        if target == b"/__stats":
            return _response(b"200 OK", b"no-store", self._counts.encode())
        if not target.startswith(PATH) or not key.isdigit():
            return _response(b"404 Not Found", b"no-store", b"{}")
        self._counts.add(int(key))
        return _response(b"200 OK", b"max-age=86400", body_of(int(key)))


def _response(status: bytes, cache_control: bytes, body: bytes) -> bytes:
    return _HEAD % (status, cache_control, len(body)) + body


async def serve(arguments: argparse.Namespace) -> None:
    """Answer until we shall end."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(counts), "127.0.0.1", arguments.port
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        print(f"the origin listens on http://127.0.0.1:{port}", flush=True)
        await until_ended(follow_stdin=arguments.until_stdin_closes)


def main() -> None:
    parser = argparse.ArgumentParser(description="A fast origin whose bodies can be checked.")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one (the default)")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that holds our standard input"
    )
    try:
        asyncio.run(serve(parser.parse_args()))
    except OSError as error:
        sys.exit(f"the origin cannot listen: {error.strerror}")


if __name__ == "__main__":
    main()
