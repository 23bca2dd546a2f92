"""One of the operator's two ports: an aiohttp application on an address, opened once and closed once."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from proxy.config.schema import Address

KEEP_ALIVE_SECONDS = 75.0
"""Also bounds how long a head may take: aiohttp's timer starts with the connection."""
SHUTDOWN_SECONDS = 2.0


class Port:
    """An application that listens; `close` ends what is under way after two seconds."""

    def __init__(self, application: web.Application) -> None:
        application.on_response_prepare.append(_close_after_chunks)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )

    async def open(self, listen: Address) -> Address:
        """Bind and serve; the address that was bound. Raises OSError."""
        await self._runner.setup()
        await web.TCPSite(self._runner, listen.host, listen.port).start()
        host, port, *_ = self._runner.addresses[0]
        return Address(host, port)

    async def open_private(self, socket_path: Path) -> None:
        """Serve on a unix socket, for whoever may open its folder. Raises OSError."""
        await self._runner.setup()
        await web.UnixSite(self._runner, socket_path).start()

    async def close(self) -> None:
        """Stop listening and end every connection; harmless when it never opened."""
        await self._runner.cleanup()


async def _close_after_chunks(request: web.Request, response: web.StreamResponse) -> None:
    """aiohttp 3.14.5 puts the last trailer of a chunked body into the head of the connection's next request.

    Behind a proxy that shares connections, one client could so write a line into the request of another.
    """
    if "Transfer-Encoding" in request.headers:
        response.force_close()
        response.headers["Connection"] = "close"  # aiohttp has already decided about this field
