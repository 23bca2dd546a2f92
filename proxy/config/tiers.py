"""The sections about where responses live: L1 in memory, L2 in Redis or Valkey."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from proxy.config.addresses import RedisUrl
from proxy.config.scalars import (
    OFF_WORD,
    Duration,
    Label,
    MemoryLimit,
    MemoryShare,
    OptionalText,
    PositiveCount,
    PositiveDuration,
    Size,
)
from proxy.config.section import Section
from proxy.config.units import BYTES

DEFAULT_NAMESPACE = "sidecache"
MOST_WARM_KEYS = 50_000
"""A list of so many is about a megabyte, which passes a 1 Gbit/s link in 10 ms."""


class L1(Section):
    """The cache in this process' memory."""

    max_entries: PositiveCount = 100_000
    """The most entries, a tenth of them kept for negative answers. Default: 100000. The least recently used
    gives way."""
    max_bytes: MemoryLimit = MemoryShare(0.4)
    """The most bytes: heads, bodies, keys and objects. A size, or a share of the container's memory limit
    less 96MiB, at least 8MiB; without such a limit a share means 256MiB. Default: 40%."""
    max_entry_bytes: Size = BYTES["MiB"]
    """Answers of more bytes are not stored, in neither tier. Default: 1MiB."""


class L2(Section):
    """The cache in Redis or Valkey behind L1, which replicas can share."""

    url: RedisUrl = Field(default=OFF_WORD, repr=False)
    """`redis://user:password@host:port/db`, `redis+cluster://host:port,host:port`,
    `redis+sentinel://host:port,host:port/service`, each also with `rediss` for TLS, `unix:///path`,
    `embedded` (a private server of this process) or `off`. Default: off, L1 only."""
    url_file: OptionalText = None
    """A file that holds the URL, for passwords. Default: none. Not together with `url`."""
    timeout: PositiveDuration = 0.05
    """How long an operation may take; then it counts as a miss. Default: 50ms."""
    namespace: Label = DEFAULT_NAMESPACE
    """Begins every key in Redis. Default: sidecache. Services that share a Redis must differ."""
    max_unsynced: Duration = 30.0
    """How long the invalidation log may go unread before neither tier is trusted. Default: 30s."""
    when_unsynced: Literal["short", "serve", "bypass"] = "short"
    """What is served then: `short` (only what this replica itself fetched, for at most `max_unsynced`),
    `serve` (trust L1 on, purges may be missed) or `bypass` (nothing). Default: short."""
    on_error: Literal["open", "shed"] = "open"
    """When Redis cannot be asked: `open` (go on without L2) or `shed` (answer 503 rather than expose the
    origin). Default: open."""


class Warm(Section):
    """What a replica that starts puts into L1 before it is ready."""

    from_: Literal["off", "l2"] = Field(default="off", alias="from")
    """`l2`: the keys that the fleet asks for most, as far as L2 has them; all replicas with this setting tell
    each other by L2 which they are. `off`: nothing. Default: off."""
    keys: PositiveCount = 10_000
    """The most keys, at most 50000; never more than nine tenths of L1. Default: 10000."""
    timeout: PositiveDuration = 5.0
    """How long readiness waits for it at most; then the replica is ready as it is. Default: 5s."""

    @field_validator("keys")
    @classmethod
    def _fit_a_list(cls, keys: int) -> int:
        if keys > MOST_WARM_KEYS:
            raise ValueError(f"expected at most {MOST_WARM_KEYS}")
        return keys
