"""Builds a client for a Redis or Valkey server from a URL, with every default that matters replaced.

Whoever talks to the server gets a client of their own from here: the store, and by way of `app` the
invalidation log. Connects lazily; a server that is down is noticed by the first command, not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from types import EllipsisType
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from proxy.store.unavailable import StoreUnavailable

MOST_CONNECTIONS = 8
"""A batch of look-ups takes 0.1 ms of a connection: eight carry far more than one process can decode,
and a hundred replicas together stay below the 10,000 clients that a server takes by default."""

Form = tuple[str | int | EllipsisType | None, ...]
"""A command's words that are always the same, None for each that is not, `...` for any number of those."""
Command = tuple[Form, tuple[bytes, ...]]
"""The words that are not, in their order."""
GET_ALL: Form = ("MGET", ...)
MOST_PATTERNS = 128
"""MGETs of different lengths, and a few others."""

_CONNECTION_OPTIONS = frozenset({"db", "username", "password"})
_TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname"}
)
_SCHEMES = {
    "redis": _CONNECTION_OPTIONS,
    "rediss": _CONNECTION_OPTIONS | _TLS_OPTIONS,
    "unix": _CONNECTION_OPTIONS,
}
"""Scheme -> what may stand behind `?`. redis-py would let the URL override our deadlines, and would
complain of a misspelt option only when it connects."""


def connect(url: str, *, timeout: float, max_connections: int = MOST_CONNECTIONS) -> Redis:
    """A client that gives up connecting after `timeout` seconds. Raises StoreUnavailable for a faulty URL.

    Everything else waits for as long as its caller lets it (for a place in the pool, to be answered): callers
    set one deadline around the call. redis-py's own for each step cost a task and two timers a command.
    """
    pool = _Pool(
        **_address(url),
        max_connections=max_connections,
        socket_timeout=None,
        socket_connect_timeout=timeout,
        # Ten retries are the default: 4 s for a refused connection, 60 s for a silent one.
        retry=Retry(NoBackoff(), 0),
        # RESP2 has no handshake: a connection is usable after its TCP one, also through proxies and on old
        # servers. What RESP3 adds (maps, pushes) we have no use for.
        protocol=2,
        # The default switches off the check that a pooled connection has no unread data.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        driver_info=None,
        decode_responses=False,
    )
    return Redis.from_pool(pool)


async def get_all(client: Redis, names: Sequence[bytes]) -> list[object]:
    """MGET: one value a name. Raises InvalidResponse where something answers that is no such server."""
    (values,) = await exchange(client, [(GET_ALL, tuple(names))])
    if isinstance(values, ResponseError):
        raise values
    if not isinstance(values, list) or len(values) != len(names):
        raise InvalidResponse(f"expected {len(names)} values from MGET, found {type(values).__name__}")
    return values


async def exchange(client: Redis, commands: Sequence[Command]) -> list[object]:
    """One reply a command, in one round trip; a ResponseError for one that the server refuses.

    On a connection directly: the client's way to it costs more than the server and the wire together.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        sent = b"".join([encoded(command) for command in commands])
        await connection.send_packed_command(sent, check_health=False)
        return await _replies(connection, len(commands))
    finally:
        await pool.release(connection)


def encoded(command: Command) -> bytes:
    """A command as servers read it: an array of its words."""
    form, words = command
    sized: list[int | bytes] = []
    for word in words:
        sized += (len(word), word)
    return _pattern(form, len(words)) % tuple(sized)


_WORD = b"$%d\r\n%b\r\n"


@lru_cache(MOST_PATTERNS)
def _pattern(form: Form, count: int) -> bytes:
    """What `count` words and their lengths are put into."""
    pieces: list[bytes] = []
    for word in form:
        if word is ...:
            pieces += [_WORD] * (count - form.count(None))
        elif word is None:
            pieces.append(_WORD)
        else:
            text = str(word).encode()
            pieces.append((_WORD % (len(text), text)).replace(b"%", b"%%"))
    return b"*%d\r\n" % len(pieces) + b"".join(pieces)


async def _replies(connection: AbstractConnection, count: int) -> list[object]:
    replies: list[object] = []
    for _ in range(count):
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    return replies


class _Pool(ConnectionPool):
    """Waits for a place where redis-py's plain pool raises, at less than half the cost of its waiting one.

    Who is cancelled in mid-command gives back a connection that redis-py has closed. A connection that rests
    is in use for redis-py, whose giving back costs as much as a command: so it stays here.
    """

    def __init__(self, *, max_connections: int, **options: Any) -> None:
        super().__init__(max_connections=max_connections, **options)
        self._places = asyncio.Semaphore(max_connections)
        self._resting: list[AbstractConnection] = []

    async def get_connection(
        self, command_name: object = None, *keys: object, **options: object
    ) -> AbstractConnection:
        await self._places.acquire()
        try:
            connection = self._resting.pop() if self._resting else self._new()
        except BaseException:
            self._places.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        try:
            if connection.should_reconnect():  # type: ignore[no-untyped-call]
                await connection.disconnect()
        finally:
            self._resting.append(connection)
            self._places.release()

    def _new(self) -> AbstractConnection:
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        return connection

    async def disconnect(self, inuse_connections: bool = True) -> None:
        # To redis-py all are in use, to whoever asks only those that do not rest.
        if inuse_connections:
            await super().disconnect()
        else:
            closings = (connection.disconnect() for connection in self._resting)
            await asyncio.gather(*closings, return_exceptions=True)


def _address(url: str) -> dict[str, Any]:
    """What the URL says of the connection, and no more than it may say."""
    parts = urlsplit(url)
    allowed = _SCHEMES.get(parts.scheme)
    if allowed is None:
        raise StoreUnavailable(
            f"l2.url: {parts.scheme}:// is not supported; expected {', '.join(f'{s}://' for s in _SCHEMES)}"
        )
    try:
        options: dict[str, Any] = {**parse_url(url)}
    except ValueError as fault:
        raise StoreUnavailable(f"l2.url: {fault}") from None
    unknown = options.keys() - allowed - {"host", "port", "path", "connection_class"}
    if unknown:
        raise StoreUnavailable(
            f"l2.url: unknown option {', '.join(sorted(unknown))}; expected {', '.join(sorted(allowed))}"
        )
    _check_place(options, parts.path)
    return options


def _check_place(options: dict[str, Any], path: str) -> None:
    """redis-py takes database 0 for a path that is no number, and the root for no path."""
    if options.get("connection_class") is UnixDomainSocketConnection:
        if not options.get("path"):
            raise StoreUnavailable("l2.url: expected a path, such as unix:///run/redis.sock")
        return
    database = path.strip("/")
    if database and not database.isdecimal():
        raise StoreUnavailable(f"l2.url: expected a database number, found {database!r}")
