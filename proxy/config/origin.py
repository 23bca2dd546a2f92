"""The sections about the origin: where it is, how long it may take, how much it is asked at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from proxy.config.addresses import HostName, OriginUrl
from proxy.config.scalars import Count, Duration, OptionalText, PositiveCount, PositiveDuration
from proxy.config.section import Section

PRESERVE_HOST = "preserve"


class OriginPool(Section):
    """Connections to the origin."""

    max_connections: PositiveCount = 128
    """The most connections, tunnels aside. Default: 128."""
    min_idle: Count = Field(default_factory=lambda checked: min(4, checked["max_connections"]))
    """Idle connections that are kept open ahead of need. Default: 4, or `max_connections` if that is less."""
    acquire_timeout: PositiveDuration = 3.0
    """How long a request waits for a connection; then 503. Default: 3s."""
    idle_timeout: PositiveDuration = 60.0
    """An idle connection is closed after this long. Default: 60s. Below the origin's own keep-alive timeout
    fewer requests meet a closed connection."""
    max_lifetime: PositiveDuration = 1800.0
    """A connection is closed after this long, so that changes of DNS are followed. Default: 30m."""


class OriginQueue(Section):
    """Requests that wait for a place at the origin."""

    size: Count = 1024
    """The most requests that wait. Default: 1024. One more is answered 503 with Retry-After."""
    timeout: Duration = 2.0
    """How long one waits; then 503 with Retry-After. Default: 2s."""


class OriginTls(Section):
    """TLS towards the origin, for https URLs."""

    ca_file: OptionalText = None
    """PEM file of the authorities that may sign the origin's certificate. Default: the system's."""
    cert_file: OptionalText = None
    """PEM file of our own certificate, for origins that ask for one. Default: none. Together with
    `key_file`."""
    key_file: OptionalText = None
    """PEM file of our certificate's key. Default: none."""
    server_name: OptionalText = None
    """The name that the origin's certificate must bear, also sent as SNI. Default: the URL's host."""


class Origin(Section):
    """The one API behind this sidecar."""

    url: OriginUrl
    """`http://host:port`, `https://host:port` or `unix:/path/of.sock`. Required."""
    host: Annotated[HostName, WithJsonSchema({"title": "host or preserve", "type": "string"})] = PRESERVE_HOST
    """The Host that the origin sees: `preserve` (the client's own) or a fixed name. Default: preserve."""
    connect_timeout: PositiveDuration = 1.0
    """How long a connection may take to open, TLS included; then 504. Default: 1s."""
    response_timeout: PositiveDuration = 10.0
    """How long the origin may take to send the first byte of its answer; then 504. Default: 10s."""
    idle_timeout: PositiveDuration = 60.0
    """How long the origin may be silent between later bytes; then the answer is broken off. Default: 60s."""
    pool: OriginPool = OriginPool()
    """Connections to the origin."""
    max_in_flight: PositiveCount = Field(
        default_factory=lambda checked: min(128, checked["pool"].max_connections)
    )
    """The most requests at the origin at once. Default: 128, or `pool.max_connections` if that is less; never
    above it."""
    queue: OriginQueue = OriginQueue()
    """Requests beyond `max_in_flight` wait here."""
    slow_after: Duration = 0.1
    """An answer that takes longer is logged and counted. Default: 100ms."""
    tls: OriginTls = OriginTls()
    """TLS towards the origin, for https URLs."""
