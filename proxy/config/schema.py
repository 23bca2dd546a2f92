"""The YAML's shape: one model a section; every field says its unit, its default and what follows.

Values and their types only. Text, files and the environment are `loading.py`'s; whether a
combination of values makes sense is `lint.py`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator

from proxy.config.addresses import Address, ListenAddress, Network, OptionalAddress
from proxy.config.identity import Identity
from proxy.config.negative import Negative
from proxy.config.nodes import Path
from proxy.config.origin import Origin, OriginPool, OriginQueue, OriginTls
from proxy.config.policy import (
    BypassWhen,
    Coalesce,
    Key,
    Match,
    QueryKey,
    Route,
    RoutePolicy,
)
from proxy.config.scalars import (
    Count,
    Duration,
    Flag,
    MemoryShare,
    OptionalText,
    PositiveCount,
    PositiveDuration,
    PositiveSize,
    Size,
)
from proxy.config.section import Section
from proxy.config.tiers import L1, L2, Warm
from proxy.config.units import BYTES, share_fraction

__all__ = [
    "L1",
    "L2",
    "SECRET_FILES",
    "Address",
    "Admin",
    "BypassWhen",
    "Coalesce",
    "Config",
    "DataPurge",
    "Drain",
    "Forwarded",
    "Identity",
    "Key",
    "Limits",
    "Logs",
    "Match",
    "MemoryShare",
    "Negative",
    "Ops",
    "Origin",
    "OriginPool",
    "OriginQueue",
    "OriginTls",
    "QueryKey",
    "Route",
    "RoutePolicy",
    "Warm",
]

SECRET_FILES: dict[Path, Path] = {
    ("admin", "token"): ("admin", "token_file"),
    ("l2", "url"): ("l2", "url_file"),
    ("secret",): ("secret_file",),
}
"""Keys whose values are never shown -> the keys that name a file to read them from."""
ACCESS_WORDS = {"off": 0.0, "all": 1.0}


def _logged_share(given: object) -> float:
    if isinstance(given, str) and given in ACCESS_WORDS:
        return ACCESS_WORDS[given]
    try:
        return share_fraction(given)
    except ValueError:
        raise ValueError("expected off, all or a share such as 1%") from None


LoggedShare = Annotated[
    float,
    PlainValidator(_logged_share),
    WithJsonSchema(
        {
            "title": "off, all or a share",
            "anyOf": [{"enum": ["off", "all"]}, {"type": "string", "pattern": "%$"}],
        }
    ),
]


class Ops(Section):
    """The port for probes and metrics: read-only, without a token."""

    listen: OptionalAddress = Address("0.0.0.0", 9901)
    """host:port of the probes, /metrics and /-/drain, or `off`. Default: 0.0.0.0:9901, so that the kubelet
    and Prometheus reach it."""


class Admin(Section):
    """The operator's port: purge, inspect, reload."""

    listen: OptionalAddress = Address("127.0.0.1", 9902)
    """host:port of the admin API, or `off`. Default: 127.0.0.1:9902. Beyond loopback a token is required."""
    token: OptionalText = Field(default=None, repr=False)
    """The bearer token that every call must carry. Default: none, which only loopback may do. Shorter than 16
    characters is warned of."""
    token_file: OptionalText = None
    """A file that holds the token. Default: none. Not together with `token`."""


class Drain(Section):
    """How the process goes away after SIGTERM or /-/drain."""

    delay: Duration = 3.0
    """How long new connections are still accepted while readiness is already false. Default: 3s, the time
    that endpoints take to forget us."""
    timeout: Duration = 20.0
    """How long requests under way may take to finish after that. Default: 20s. Then their connections are
    closed."""


class Limits(Section):
    """Bounds on what clients can make this process hold or wait for."""

    head: PositiveSize = 64 * BYTES["KiB"]
    """The most bytes of a request head; above it 431. Default: 64KiB."""
    head_time: PositiveDuration = 10.0
    """How long a request head may take to arrive; then 408. Default: 10s."""
    body_idle: PositiveDuration = 30.0
    """How long a client may pause within a request body; then 408. Default: 30s."""
    write_idle: PositiveDuration = 30.0
    """How long a client may take nothing of its answer; then the connection is closed. Default: 30s."""
    connections: PositiveCount = 10_000
    """The most client connections. Default: 10000. Further ones are closed at once."""
    tunnels: Count = 1024
    """The most upgraded connections and event streams, beside `origin.max_in_flight`. Default: 1024. Further
    ones are answered 503."""
    tunnel_idle: PositiveDuration = 3600.0
    """A tunnel without a byte for this long is closed. Default: 1h."""
    spool: Size = 64 * BYTES["MiB"]
    """The most bytes that fetches under way hold for those who wait for them. Default: 64MiB. Never more than
    40 % of the container's limit less 96MiB, nor than 8MiB where that is less. Above it answers stream to one
    client and are not stored."""
    purge_selectors: PositiveCount = 10_000
    """The most selectors of one purge, and URLs of one warm; above it 422. Default: 10000."""
    refresh_entries: PositiveCount = 1_000
    """The most entries that wait to be fetched again after purges with `refresh`; of more the hottest.
    Default: 1000."""


class Logs(Section):
    """What is logged: access lines on standard output, all others on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written. Default: info."""
    format: Literal["json", "console"] = "json"
    """`json` (one object a line) or `console` (for people). Default: json."""
    access: LoggedShare = 0.0
    """A line per request: `off`, a share of them such as `1%`, or `all`. Default: off."""


class Forwarded(Section):
    """What the origin is told about the client."""

    via: Flag = True
    """Whether `Via` is added, in both directions. Default: true."""
    for_: Literal["append", "set", "pass", "remove"] = Field(default="append", alias="for")
    """X-Forwarded-For: `append` the client's address, `set` it anew, `pass` the field as it came, or `remove`
    it. Default: append."""
    host: Literal["set", "pass", "remove"] = "pass"
    """X-Forwarded-Host: `set` it to the Host that the client sent, `pass` the field as it came, or `remove`
    it. Default: pass."""
    proto: Literal["set", "pass", "remove"] = "pass"
    """X-Forwarded-Proto: `set` it to the client's scheme, `pass` the field as it came, or `remove` it.
    Default: pass."""


class DataPurge(Section):
    """PURGE requests on the data port."""

    from_: tuple[Network, ...] = Field(default=(), alias="from")
    """Networks whose clients may PURGE on the data port, e.g. 10.0.0.0/8; others get 403.
    Default: none, and PURGE passes to the origin like any other method."""


class Config(Section):
    """The whole configuration."""

    listen: ListenAddress = Address("0.0.0.0", 8080)
    """host:port where the API's clients are served. Default: 0.0.0.0:8080."""
    ops: Ops = Ops()
    """The port for probes and metrics: read-only, without a token."""
    admin: Admin = Admin()
    """The operator's port: purge, inspect, reload."""
    workers: PositiveCount = 1
    """Processes that share the data port. Default: 1. They divide `l1.max_bytes`, `l1.max_entries`,
    `limits.connections`, `limits.tunnels`, `limits.spool`, `origin.max_in_flight`, `origin.queue.size` and
    the pool's `max_connections` and `min_idle`: totals stay totals."""
    drain: Drain = Drain()
    """How the process goes away after SIGTERM or /-/drain."""
    origin: Origin
    """The one API behind this sidecar. Required."""
    l1: L1 = L1()
    """The cache in this process' memory."""
    l2: L2 = L2()
    """The cache in Redis or Valkey behind L1, which replicas can share."""
    warm: Warm = Warm()
    """What a replica that starts puts into L1 before it is ready."""
    limits: Limits = Limits()
    """Bounds on what clients can make this process hold or wait for."""
    logs: Logs = Logs()
    """What is logged: access lines on standard output, all others on standard error."""
    forwarded: Forwarded = Forwarded()
    """What the origin is told about the client."""
    plain_lane: Flag = True
    """Whether plain requests are answered without the full parser. Off only to rule it out as a cause: the
    answers are the same. Default: true."""
    x_cache_status: Flag = False
    """Whether answers also carry X-Cache-Status in nginx's words (HIT, MISS, BYPASS, EXPIRED, STALE,
    UPDATING, REVALIDATED). Default: false."""
    data_purge: DataPurge = DataPurge()
    """PURGE requests on the data port."""
    profile: Literal["safe", "rfc9111"] = "safe"
    """`safe`, or `rfc9111`: the letter of RFC 9111 in four points that docs/http-support.md lists. Default:
    safe."""
    secret: OptionalText = Field(default=None, repr=False)
    """Keys the hashes of identities, cookies and header values. Default: derived from `l2.namespace`.
    Replicas that share a Redis must have the same."""
    secret_file: OptionalText = None
    """A file that holds the secret. Default: none. Not together with `secret`."""
    defaults: RoutePolicy = RoutePolicy()
    """What every route inherits."""
    routes: tuple[Route, ...] = Field(default=(), max_length=1000)
    """The routes, at most 1000; the first that matches a request decides. Default: none."""
    unmatched: Literal["pass", "cache"] = Field(
        default_factory=lambda checked: "pass" if checked.get("routes") else "cache"
    )
    """Requests that match no route: `pass` (not cached) or `cache` (with the defaults). Default: pass;
    without routes: cache."""

    @field_validator("routes")
    @classmethod
    def _inherit(cls, routes: tuple[Route, ...], info: ValidationInfo) -> tuple[Route, ...]:
        defaults = info.data.get("defaults")
        if not isinstance(defaults, RoutePolicy):
            return routes
        return tuple(route.inheriting(defaults) for route in routes)
