"""Opening connections to the origin: TCP, TLS or a unix socket, under one deadline.

Names are resolved anew for each connection, so that changes of DNS are followed. The one place where
errors of connecting become failures.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from proxy.config.schema import Origin, OriginTls
from proxy.model import FailureKind, OriginFailure
from proxy.net.departures import Departures
from proxy.net.origin_connection import CloseCause, OriginConnection

_UNIX = "unix:"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Dialer:
    """Knows where the origin is. Builds the TLS context once; OSError where a file of it is unusable."""

    __slots__ = (
        "_connect_timeout",
        "_departures",
        "_host",
        "_path",
        "_port",
        "_server_name",
        "_tls",
        "authority",
    )

    def __init__(self, config: Origin) -> None:
        self._connect_timeout = config.connect_timeout
        self._departures = Departures()
        self._path = config.url.removeprefix(_UNIX) if config.url.startswith(_UNIX) else None
        parts = urlsplit("" if self._path else config.url)
        self._host = parts.hostname or "localhost"
        self._port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        self.authority = (parts.netloc or "localhost").encode()
        """What Host says when nobody else does."""
        self._tls = _tls_context(config.tls) if parts.scheme == "https" else None
        self._server_name = (config.tls.server_name or self._host) if self._tls else None

    async def dial(self, *, opened_at: float) -> OriginConnection | OriginFailure:
        """A new connection, or why there is none."""
        connection = OriginConnection(opened_at=opened_at, departures=self._departures)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._connect(lambda: connection)
        except TimeoutError:
            failure = OriginFailure(FailureKind.CONNECT_TIMEOUT, f"not within {self._connect_timeout:g} s")
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
            failure = OriginFailure(FailureKind.REFUSED, str(error))
        else:
            if not connection.is_closed:
                return connection
            failure = OriginFailure(FailureKind.RESET, "closed as soon as it was open")
        connection.close(CloseCause.ERROR)
        return failure

    async def _connect(self, factory: Callable[[], OriginConnection]) -> None:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            await loop.create_unix_connection(factory, self._path)
            return
        await loop.create_connection(
            factory, self._host, self._port, ssl=self._tls, server_hostname=self._server_name
        )


def _tls_context(config: OriginTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if config.cert_file is not None:
        context.load_cert_chain(config.cert_file, config.key_file)
    return context
