"""The scalar types of the schema: what one YAML value may look like and what it becomes.

Every type takes the text that stands in the file and, for plain dicts, the value that it becomes.
A ValueError says what was expected. Knows no key of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema

from proxy.config.units import SIZE_EXAMPLES, duration_seconds, share_fraction, size_bytes

FLAG_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
NONE_WORD = "none"
OFF_WORD = "off"
MOST_COUNT = 10**9
REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "redis+sentinel", "unix")
REDIS_WORDS = ("embedded", OFF_WORD)

_COUNT = re.compile(r"[0-9]{1,12}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""A method, a field name or a cookie name (RFC 9110 §5.6.2)."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_TAG = re.compile(r"[^\x00-\x20\x7f,]{1,1024}")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_LARGEST_PORT = 65535


class Address(NamedTuple):
    """Where to listen; port 0 takes any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class MemoryShare(NamedTuple):
    """A share (0 to 1) of the memory that the container may use."""

    share: float

    def __str__(self) -> str:
        return f"{self.share * 100:g}%"


def flag(given: object) -> bool:
    """True of `true`, `on`, `yes`; False of `false`, `off`, `no`. Raises ValueError."""
    if isinstance(given, bool):
        return given
    meant = FLAG_WORDS.get(given.lower()) if isinstance(given, str) else None
    if meant is None:
        raise ValueError("expected true or false")
    return meant


def count(given: object) -> int:
    """A whole number, read as decimal also with leading zeros. Raises ValueError."""
    return _count_from(0, given)


def positive_count(given: object) -> int:
    """A whole number from 1. Raises ValueError."""
    return _count_from(1, given)


def token(given: object) -> str:
    """A method, field or cookie name. Raises ValueError."""
    if not isinstance(given, str) or not _TOKEN.fullmatch(given):
        raise ValueError("expected a name of letters, digits and -_.!#$%&'*+^`|~")
    return given


def method(given: object) -> str:
    """A request method; methods are case-sensitive (RFC 9110 §9.1). Raises ValueError."""
    name = token(given)
    if name != name.upper():
        raise ValueError(f"expected a method in capitals; did you mean {name.upper()}?")
    return name


def label(given: object) -> str:
    """A name that may stand in metrics, logs and Redis keys. Raises ValueError."""
    if not isinstance(given, str) or not _LABEL.fullmatch(given):
        raise ValueError("expected at most 64 letters, digits, -, _, . and :, the first a letter or digit")
    return given


def tag(given: object) -> str:
    """A tag or its template. Raises ValueError."""
    if not isinstance(given, str) or not _TAG.fullmatch(given):
        raise ValueError("expected a tag of at most 1024 characters without spaces and commas")
    return given


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
    if not colon or not _COUNT.fullmatch(port) or int(port) > _LARGEST_PORT:
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
    parts = _split(given)
    if parts is None or parts.scheme not in REDIS_SCHEMES or not (parts.netloc or parts.path):
        raise ValueError("expected redis://host:port, rediss://host:port, unix:///path, embedded or off")
    return str(given)


def network(given: object) -> IPv4Network | IPv6Network:
    """A network such as 10.0.0.0/8; a bare address is a network of one. Raises ValueError."""
    if isinstance(given, (IPv4Network, IPv6Network)):
        return given
    try:
        return ip_network(given if isinstance(given, str) else "")
    except ValueError:
        raise ValueError("expected a network such as 10.0.0.0/8, no bit set beyond its length") from None


def memory_limit(given: object) -> int | MemoryShare:
    """A size in bytes, or a share of the container's memory. Raises ValueError."""
    if isinstance(given, MemoryShare):
        return given
    if isinstance(given, str) and given.rstrip().endswith("%"):
        return MemoryShare(share_fraction(given))
    try:
        return size_bytes(given)
    except ValueError as error:
        raise ValueError(
            str(error).replace(SIZE_EXAMPLES, f"{SIZE_EXAMPLES}, or a share such as 40%")
        ) from None


def _count_from(least: int, given: object) -> int:
    number = int(given) if isinstance(given, str) and _COUNT.fullmatch(given) else given
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    if not isinstance(number, int) or not is_whole or not least <= number <= MOST_COUNT:
        raise ValueError(f"expected a whole number from {least} to {MOST_COUNT}")
    return number


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


def _or_none(read: Callable[[object], Any], word: str = NONE_WORD) -> Callable[[object], Any]:
    def read_or_none(given: object) -> Any:
        return None if given is None or given == word else read(given)

    return read_or_none


def _none_word(value: Any) -> Any:
    return NONE_WORD if value is None else value


def _empty_is_none(given: object) -> object:
    return None if given == "" else given


def _lower_token(given: object) -> str:
    return token(given).lower()


_QUANTITY_SCHEMA = {"type": "number", "minimum": 0}
DURATION_SCHEMA = {
    "title": "duration",
    "anyOf": [_QUANTITY_SCHEMA, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?$"}],
}
SIZE_SCHEMA = {
    "title": "size",
    "anyOf": [_QUANTITY_SCHEMA, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB)?$"}],
}
_SHARE_TEXT_SCHEMA = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)? ?%|0)$"}
SHARE_SCHEMA = {"title": "share", "anyOf": [{"const": 0}, _SHARE_TEXT_SCHEMA]}
FLAG_SCHEMA = {"title": "flag", "anyOf": [{"type": "boolean"}, {"enum": sorted(FLAG_WORDS)}]}
_DIGITS_SCHEMA = {"type": "string", "pattern": "^[0-9]+$"}
COUNT_SCHEMA = {"title": "count", "anyOf": [{"type": "integer", "minimum": 0}, _DIGITS_SCHEMA]}
POSITIVE_COUNT_SCHEMA = {"title": "count", "anyOf": [{"type": "integer", "minimum": 1}, _DIGITS_SCHEMA]}

Duration = Annotated[float, PlainValidator(duration_seconds), WithJsonSchema(DURATION_SCHEMA)]
OptionalDuration = Annotated[
    float | None,
    PlainValidator(_or_none(duration_seconds)),
    PlainSerializer(_none_word),
    WithJsonSchema({"title": "duration or none", "anyOf": [{"const": NONE_WORD}, DURATION_SCHEMA]}),
]
Size = Annotated[int, PlainValidator(size_bytes), WithJsonSchema(SIZE_SCHEMA)]
OptionalSize = Annotated[
    int | None,
    PlainValidator(_or_none(size_bytes)),
    PlainSerializer(_none_word),
    WithJsonSchema({"title": "size or none", "anyOf": [{"const": NONE_WORD}, SIZE_SCHEMA]}),
]
Share = Annotated[float, PlainValidator(share_fraction), WithJsonSchema(SHARE_SCHEMA)]
Flag = Annotated[bool, PlainValidator(flag), WithJsonSchema(FLAG_SCHEMA)]
Count = Annotated[int, PlainValidator(count), WithJsonSchema(COUNT_SCHEMA)]
PositiveCount = Annotated[int, PlainValidator(positive_count), WithJsonSchema(POSITIVE_COUNT_SCHEMA)]
MemoryLimit = Annotated[
    int | MemoryShare,
    PlainValidator(memory_limit),
    PlainSerializer(lambda limit: str(limit) if isinstance(limit, MemoryShare) else limit),
    WithJsonSchema({"title": "size or share", "anyOf": [SIZE_SCHEMA, _SHARE_TEXT_SCHEMA]}),
]
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
            "pattern": "^(rediss?://|redis[+](cluster|sentinel)://|unix:|embedded$|off$)",
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
    PlainValidator(_or_none(address, OFF_WORD)),
    PlainSerializer(lambda listen: str(listen or OFF_WORD)),
    WithJsonSchema({"title": "address or off", "type": "string", "pattern": "(:[0-9]+|^off)$"}),
]
Label = Annotated[str, PlainValidator(label), WithJsonSchema({"title": "name", "type": "string"})]
Tag = Annotated[str, PlainValidator(tag), WithJsonSchema({"title": "tag", "type": "string"})]
Method = Annotated[str, PlainValidator(method), WithJsonSchema({"title": "method", "type": "string"})]
CookieName = Annotated[str, PlainValidator(token), WithJsonSchema({"title": "cookie name", "type": "string"})]
HeaderName = Annotated[
    str, PlainValidator(_lower_token), WithJsonSchema({"title": "field name", "type": "string"})
]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
