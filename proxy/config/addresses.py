"""The scalar types for places in the network: where to listen, where the origin and Redis are, who may purge.

Every type takes the text that stands in the file and, for plain dicts, the value that it becomes.
A ValueError says what was expected.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from proxy.config.scalars import OFF_WORD, or_none

REDIS_SCHEMES = ("redis", "rediss", "unix")
REDIS_GROUPS = ("redis+cluster", "redis+sentinel", "rediss+cluster", "rediss+sentinel")
"""Schemes of URLs that name several servers."""
REDIS_WORDS = ("embedded", OFF_WORD)

_PORT = re.compile(r"[0-9]{1,5}")
_LARGEST_PORT = 65535
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


class Address(NamedTuple):
    """Where to listen; port 0 takes any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def host_name(given: object) -> str:
    """A host name or address in lower case, without port and trailing dot. Raises ValueError."""
    host = given.lower().rstrip(".") if isinstance(given, str) else ""
    if _is_ipv6(host.strip("[]")):
        return f"[{host.strip('[]')}]"
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("expected a host name such as api.example.com")
    return host


def address(given: object) -> Address:
    """The two parts of `host:port` or `[v6]:port`. Raises ValueError."""
    if isinstance(given, Address):
        return given
    host, colon, port = given.rpartition(":") if isinstance(given, str) else ("", "", "")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not _PORT.fullmatch(port) or int(port) > _LARGEST_PORT:
        raise ValueError("expected host:port such as 0.0.0.0:8080, with a port from 0 to 65535")
    if is_bracketed and _is_ipv6(host[1:-1]):
        return Address(host[1:-1], int(port))
    if not _HOST_NAME.fullmatch(host.lower()):
        raise ValueError("expected host:port such as 0.0.0.0:8080 or [::]:8080")
    return Address(host, int(port))


def origin_url(given: object) -> str:
    """`http://host:port`, `https://host:port` or `unix:/path`, as written. Raises ValueError."""
    if isinstance(given, str) and given.startswith("unix:"):
        return _unix_url(given)
    parts = _split(given)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected http://host:port, https://host:port or unix:/path/of.sock")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(
            "expected only scheme, host and port: the request's own target is forwarded as it is"
        )
    return f"{parts.scheme}://{parts.netloc}"


def redis_url(given: object) -> str:
    """`embedded`, `off` or a URL with a scheme of Redis. Raises ValueError."""
    if isinstance(given, str) and given in REDIS_WORDS:
        return given
    if isinstance(given, str) and given.partition("://")[0] in REDIS_GROUPS:
        return _redis_group_url(given)
    parts = _split(given)
    if parts is None or parts.scheme not in REDIS_SCHEMES or not (parts.netloc or parts.path):
        raise ValueError(
            "expected redis://host:port, rediss://host:port, redis+cluster://host:port,host:port, "
            "redis+sentinel://host:port,host:port/service, unix:///path, embedded or off"
        )
    return str(given)


def network(given: object) -> IPv4Network | IPv6Network:
    """A network such as 10.0.0.0/8; a bare address is a network of one. Raises ValueError."""
    if isinstance(given, (IPv4Network, IPv6Network)):
        return given
    try:
        return ip_network(given if isinstance(given, str) else "")
    except ValueError:
        raise ValueError("expected a network such as 10.0.0.0/8, no bit set beyond its length") from None


def _redis_group_url(given: str) -> str:
    scheme, _, rest = given.partition("://")
    hosts, _, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
    if not all(_split(f"redis://{host}") and host for host in hosts.split(",")):
        raise ValueError(f"expected {scheme}://host:port,host:port")
    is_cluster = scheme.endswith("cluster")
    if is_cluster and path not in {"", "0"}:
        raise ValueError("expected no database in the URL of a cluster: it has number 0 only")
    if not is_cluster and not path.partition("/")[0]:
        raise ValueError(f"expected the service's name, such as {scheme}://host:26379/mymaster")
    return given


def _unix_url(given: str) -> str:
    path = given.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected unix: with an absolute path, such as unix:/run/api.sock")
    return f"unix:{path}"


def _split(given: object) -> SplitResult | None:
    """The URL's parts; None if it is none, or its port is none."""
    if not isinstance(given, str) or not given.isprintable() or " " in given:
        return None
    try:
        parts = urlsplit(given)
        is_port = parts.port != 0
    except ValueError:
        return None
    return parts if is_port else None


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False


ListenAddress = Annotated[
    Address,
    PlainValidator(address),
    PlainSerializer(str),
    WithJsonSchema({"title": "address", "type": "string", "pattern": ":[0-9]+$"}),
]
OriginUrl = Annotated[
    str,
    PlainValidator(origin_url),
    WithJsonSchema({"title": "URL", "type": "string", "pattern": "^(https?://|unix:)"}),
]
RedisUrl = Annotated[
    str,
    PlainValidator(redis_url),
    WithJsonSchema(
        {
            "title": "URL",
            "type": "string",
            "pattern": "^(rediss?([+](cluster|sentinel))?://|unix:|embedded$|off$)",
        }
    ),
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(network),
    PlainSerializer(str),
    WithJsonSchema({"title": "network", "type": "string"}),
]
HostName = Annotated[str, PlainValidator(host_name), WithJsonSchema({"title": "host", "type": "string"})]
OptionalAddress = Annotated[
    Address | None,
    PlainValidator(or_none(address, OFF_WORD)),
    PlainSerializer(lambda listen: str(listen or OFF_WORD)),
    WithJsonSchema({"title": "address or off", "type": "string", "pattern": "(:[0-9]+|^off)$"}),
]
