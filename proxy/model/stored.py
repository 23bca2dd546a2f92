"""What the stores hold, and what the invalidation log knows of it."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple

from proxy.model.fields import Fields


class Position(NamedTuple):
    """A place in the invalidation log: the id of a record read in order, never a time.

    Compared as (number, ms, seq); the nonce tells epochs of the same number apart.
    """

    number: int
    ms: int
    seq: int
    nonce: int


class Capture(NamedTuple):
    """What is known of the log before an origin request begins (invalidation R3)."""

    born: Position | None
    version: int
    """`index.version`: equal now means that nothing was applied since (R9)."""
    began_at: float
    """Seconds on the log's monotonic clock."""


Succession = Coroutine[Any, Any, Capture | None]
"""Ends with where what replaces purged content is born; None: nobody can say."""


class LifetimeSource(IntEnum):
    """Who said how long a response stays fresh. The numbers are part of the stored format."""

    ORIGIN = 0
    ROUTE = 1
    HEURISTIC = 2
    NEGATIVE = 3


class Rule:
    """What a stored response asks of its reuse, as bits. The numbers are part of the stored format.

    Plain integers: `&` is asked for every hit, and takes 0.03 us instead of an IntFlag's 1.
    """

    NONE: Final = 0
    NO_CACHE: Final = 1
    """Validate before every reuse (RFC 9111 §5.2.2.4)."""
    MUST_REVALIDATE: Final = 2
    """Never served stale: must-revalidate, proxy-revalidate (RFC 9111 §5.2.2.2, §5.2.2.8)."""
    SHARED_MAX_AGE: Final = 4
    """s-maxage: implies proxy-revalidate (RFC 9111 §5.2.2.10)."""
    AUTHORIZATION_SHARED: Final = 8
    """May answer requests with Authorization (RFC 9111 §3.5)."""
    IMMUTABLE: Final = 16
    """Not validated while fresh, unless the client asks for it (RFC 8246 §2)."""
    ALL: Final = 31


class Part(NamedTuple):
    """Which bytes of a representation a 206 has, as its Content-Range says (RFC 9110 §14.4)."""

    first: int
    last: int
    """Included."""
    complete_length: int


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response, ready to be sent again, and all that its reuse depends on."""

    status: int
    reason: bytes
    lines: bytes
    """Encoded fields as they are sent, Date included; without framing, Age and our Cache-Status."""
    body: bytes
    route: str
    host: bytes
    target: bytes
    """The target as keyed: what `urls`, `prefixes` and `patterns` select by."""
    born: Position | None
    """Read from the log before the origin request began (invalidation R3); None: before the log was read."""
    received_at: float
    initial_age: float
    """Corrected initial age in seconds (RFC 9111 §4.2.3)."""
    lifetime: float
    """Freshness lifetime in seconds; stale is measured from it."""
    expires_at: float
    """No store needs to keep the entry beyond this instant."""
    source: LifetimeSource = LifetimeSource.ORIGIN
    refresh_age: float | None = None
    """Age in seconds at which a refresh starts although the entry is fresh (jitter); None: never."""
    rules: int = Rule.NONE
    """Bits of Rule."""
    stale_while_revalidate: float | None = None
    """The response's own directive in seconds; None: the route's window holds."""
    stale_if_error: float | None = None
    etag: bytes | None = None
    last_modified: bytes | None = None
    tags: tuple[bytes, ...] = ()
    fetch_seconds: float = 0.0
    """How long the origin took, first byte sent to last byte received."""
    part: Part | None = None
    """What of the representation `body` is; None: all of it."""

    def age(self, now: float) -> float:
        """Current age in seconds (RFC 9111 §4.2.3)."""
        resident = now - self.received_at
        return self.initial_age + (resident if resident > 0 else 0.0)

    def fields(self) -> Fields:
        """The stored fields, parsed."""
        return Fields.decode(self.lines)


@dataclass(frozen=True, slots=True)
class VaryRecord:
    """Stands under a primary key whose responses vary: which request fields select (RFC 9111 §4.1)."""

    names: tuple[bytes, ...]
    """Lower-case field names, sorted."""
    variants: tuple[bytes, ...]
    """Variant keys, oldest first; at most the route's max_variants."""
    expires_at: float
    by_language: tuple[tuple[bytes, bytes], ...] = ()
    """The key of a request for one language only, and the variant that is in this language."""


Entry = StoredResponse | VaryRecord


class Held:
    """This replica's copy of an entry in L1, with what only this replica knows of it."""

    __slots__ = (
        "began_at",
        "checked",
        "entry",
        "generation",
        "idle",
        "kept_at",
        "size",
        "used_at",
        "version",
    )

    def __init__(self, entry: Entry, size: int, now: float, idle: float | None = None) -> None:
        self.entry = entry
        self.size = size
        """Bytes in L1: fields, body, key and the objects that hold them."""
        self.kept_at = now
        self.used_at = now
        self.idle = idle
        """Seconds without use after which the copy is dropped; None: never."""
        self.began_at: float | None = None
        """Monotonic instant at which our own fetch of it began; None: it came from L2."""
        self.version = -1
        """`index.version` when the rule last found it alive; -1: not asked yet."""
        self.checked: Position | None = None
        self.generation = -1
        """The full read of the log for which `checked` holds (invalidation R6)."""


class Validity(Enum):
    """The rule's answer for one entry (invalidation R4, R15)."""

    ALIVE = "alive"
    STALE = "stale"
    """A soft record is newer: as if its lifetime had ended."""
    DEAD = "dead"
    """A hard record is newer: never served, never revalidated."""
    DISTRUSTED = "distrusted"
    """Nothing is known of it: never served, but a 304 proves it."""
    UNSYNCED = "unsynced"
    """The log has not been read for too long: a miss, though the entry may be kept."""
