"""Reads `l2.url` where it names several servers: the nodes of a cluster, or sentinels that know the server.

    redis+cluster://user:password@host:port,host:port?ssl_ca_certs=...
    redis+sentinel://user:password@host:port,host:port/service/database

Text in, text out: every single server becomes a URL that `redis_client.connect` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from proxy.store.unavailable import StoreUnavailable

Place = tuple[str, int]
"""Host, without brackets, and port."""

_KINDS = {"cluster": 6379, "sentinel": 26379}
"""What stands behind `redis+` -> the port where none is given."""
_OF_SENTINELS = frozenset({"sentinel_username", "sentinel_password"})
_LARGEST_PORT = 65535


class ServerGroup(NamedTuple):
    """Servers that a URL names together."""

    kind: str
    """`cluster` or `sentinel`."""
    places: tuple[Place, ...]
    """The nodes, or the sentinels."""
    service: str
    """What the sentinels call the server; empty for a cluster."""
    scheme: str
    user: str
    database: str
    query: str
    sentinel_user: str

    def server_url(self, place: Place) -> str:
        """For one of the servers that hold data."""
        database = f"/{self.database}" if self.database else ""
        return self._url(self.user, place, database)

    def sentinel_url(self, place: Place) -> str:
        """For one of the sentinels."""
        return self._url(self.sentinel_user, place, "")

    def _url(self, user: str, place: Place, path: str) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{user}{text_of(place)}{path}{query}"


def text_of(place: Place) -> str:
    """`host:port`, or `[v6]:port`."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def place_of(url: str) -> str:
    """Where the server of a URL is, without secrets."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


def server_group(url: str) -> ServerGroup | None:
    """What the URL names; None if it is a single server's. Raises StoreUnavailable, without secrets."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    scheme, _, kind = scheme.lower().partition("+")
    if kind not in _KINDS:
        return None
    # Not by `urlsplit`: since Python 3.13 it refuses hosts of which a later one is an IPv6 address.
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    user, _, hosts = netloc.rpartition("@")
    options = dict(parse_qsl(query, keep_blank_values=True))
    service, database = _path_of(kind, path.strip("/"))
    return ServerGroup(
        kind=kind,
        places=tuple(_listed_place(host, _KINDS[kind]) for host in hosts.split(",")),
        service=service,
        scheme=scheme,
        user=f"{user}@" if user else "",
        database=database,
        query=urlencode({name: value for name, value in options.items() if name not in _OF_SENTINELS}),
        sentinel_user=_sentinel_user(options) if kind == "sentinel" else "",
    )


def _path_of(kind: str, path: str) -> tuple[str, str]:
    """Service and database."""
    if kind == "cluster":
        if path not in {"", "0"}:
            raise StoreUnavailable(f"l2.url: a cluster has database 0 only, found {path!r}")
        return "", ""
    service, _, database = path.partition("/")
    if not service:
        raise StoreUnavailable(
            "l2.url: expected the service's name, such as redis+sentinel://host:26379/mymaster"
        )
    return service, database


def _listed_place(text: str, default_port: int) -> Place:
    host, colon, port = text.rpartition(":")
    if not colon or host.count("[") != host.count("]"):
        host, port = text, str(default_port)
    is_port = port.isdecimal() and 0 < int(port) <= _LARGEST_PORT
    if not host.strip("[]") or not is_port:
        raise StoreUnavailable(f"l2.url: expected host:port,host:port, found {text!r}")
    return host.strip("[]"), int(port)


def _sentinel_user(options: Mapping[str, str]) -> str:
    name = quote(options.get("sentinel_username", ""), safe="")
    password = quote(options.get("sentinel_password", ""), safe="")
    return f"{name}:{password}@" if name or password else ""
