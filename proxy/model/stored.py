"""What the stores hold, and what the invalidation log knows of it."""

from __future__ import annotations

from collections.abc import Coroutine
from enum import Enum, IntEnum
from functools import lru_cache
from inspect import signature
from typing import Any, Final, NamedTuple

from msgspec import Struct

from proxy.model import packing
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


class StoredResponse(Struct, frozen=True, gc=False):
    """A response, ready to be sent again, and all that its reuse depends on. Made by `of`, varied by `but`;
    what is packed already (what L2 holds, a plan) is made of the slots themselves.

    L1 holds a million of these: what a hit reads has a slot, the rest is packed into one text. As objects of
    their own, the numbers and texts took twice the memory (see `bench/memory.py`). Without cycles by
    construction, so that the cyclic collector need not know of it.
    """

    status: int
    reason: bytes
    lines: bytes
    """Encoded fields as they are sent, Date included; without framing, Age and our Cache-Status."""
    body: bytes
    route: str
    expires_at: float
    """No store needs to keep the entry beyond this instant."""
    source: LifetimeSource
    rules: int
    """Bits of Rule."""
    part: Part | None
    """What of the representation `body` is; None: all of it."""
    packed: bytes
    """Instants, durations, the place of birth and the texts that no hit reads: `proxy/model/packing.py`."""

    @classmethod
    def of(
        cls,
        *,
        status: int,
        reason: bytes,
        lines: bytes,
        body: bytes,
        route: str,
        host: bytes,
        target: bytes,
        born: Position | None,
        received_at: float,
        initial_age: float,
        lifetime: float,
        expires_at: float,
        source: LifetimeSource = LifetimeSource.ORIGIN,
        refresh_age: float | None = None,
        rules: int = Rule.NONE,
        stale_while_revalidate: float | None = None,
        stale_if_error: float | None = None,
        etag: bytes | None = None,
        last_modified: bytes | None = None,
        tags: tuple[bytes, ...] = (),
        fetch_seconds: float = 0.0,
        part: Part | None = None,
    ) -> StoredResponse:
        """A response of these values; what they are is said at the properties below."""
        packed = packing.pack(
            (received_at, initial_age, lifetime, refresh_age, fetch_seconds),
            (stale_while_revalidate, stale_if_error),
            born,
            (target, host, etag, last_modified),
            tags,
        )
        # One object for all responses that say the same.
        reason, route = shared_reason(reason), _shared_name(route)
        return cls(status, reason, lines, body, route, expires_at, source, rules, part, packed)

    def but(self, **changes: Any) -> StoredResponse:
        """The same with other values, by the names of `of`."""
        return StoredResponse.of(**(self.values() | changes))

    def values(self) -> dict[str, Any]:
        """All values by name: what `of` made it of."""
        packed = packing.unpack(self.packed)
        return {
            "status": self.status,
            "reason": self.reason,
            "lines": self.lines,
            "body": self.body,
            "route": self.route,
            "host": packed.host,
            "target": packed.target,
            "born": None if packed.place is None else Position._make(packed.place),
            "received_at": packed.received_at,
            "initial_age": packed.initial_age,
            "lifetime": packed.lifetime,
            "expires_at": self.expires_at,
            "source": self.source,
            "refresh_age": packed.refresh_age,
            "rules": self.rules,
            "stale_while_revalidate": packing.window(self.packed, 0),
            "stale_if_error": packing.window(self.packed, 1),
            "etag": packed.etag,
            "last_modified": packed.last_modified,
            "tags": self.tags,
            "fetch_seconds": packed.fetch_seconds,
            "part": self.part,
        }

    def age(self, now: float) -> float:
        """Current age in seconds (RFC 9111 §4.2.3)."""
        received_at: float
        initial_age: float
        received_at, initial_age = packing.unpack_age(self.packed)
        resident = now - received_at
        return initial_age + (resident if resident > 0 else 0.0)

    def ages(self, now: float) -> tuple[float, float, float]:
        """Age, freshness lifetime and the age of its refresh (NaN: none) at once, as a hit needs them."""
        received_at, initial_age, lifetime, refresh_age = packing.unpack_ages(self.packed)
        resident = now - received_at
        return initial_age + (resident if resident > 0 else 0.0), lifetime, refresh_age

    @property
    def received_at(self) -> float:
        """The instant in epoch seconds at which its head, or that of the 304 that renewed it, arrived."""
        return packing.seconds_at(self.packed, packing.RECEIVED_AT)

    @property
    def initial_age(self) -> float:
        """Corrected initial age in seconds (RFC 9111 §4.2.3)."""
        return packing.seconds_at(self.packed, packing.INITIAL_AGE)

    @property
    def lifetime(self) -> float:
        """Freshness lifetime in seconds; stale is measured from it."""
        return packing.seconds_at(self.packed, packing.LIFETIME)

    @property
    def refresh_age(self) -> float | None:
        """Age in seconds at which a refresh starts although the entry is fresh (jitter); None: never."""
        return packing.known(packing.seconds_at(self.packed, packing.REFRESH_AGE))

    @property
    def fetch_seconds(self) -> float:
        """How long the origin took, first byte sent to last byte received."""
        return packing.seconds_at(self.packed, packing.FETCH_SECONDS)

    @property
    def stale_while_revalidate(self) -> float | None:
        """The response's own directive in seconds; None: the route's window holds."""
        return packing.window(self.packed, 0)

    @property
    def stale_if_error(self) -> float | None:
        """The same for failures of the origin."""
        return packing.window(self.packed, 1)

    @property
    def born(self) -> Position | None:
        """Read from the log before the origin request began (invalidation R3); None: the log was not read."""
        place = packing.place_of(self.packed)
        # What `_make` does, but for counting its four numbers: each fetch is judged by it.
        return None if place is None else tuple.__new__(Position, place)

    @property
    def target(self) -> bytes:
        """The target as keyed: what `urls`, `prefixes` and `patterns` select by."""
        return packing.text(self.packed, packing.TARGET) or b""

    @property
    def host(self) -> bytes:
        """The host as keyed."""
        return packing.text(self.packed, packing.HOST) or b""

    @property
    def etag(self) -> bytes | None:
        """The entity tag, if there is exactly one."""
        return packing.text(self.packed, packing.ETAG)

    def has_etag(self, tag: bytes) -> bool:
        """Is this, byte for byte, its entity tag?"""
        return packing.has_etag(self.packed, tag)

    @property
    def last_modified(self) -> bytes | None:
        """Last-Modified, if there is exactly one and it is a date."""
        return packing.text(self.packed, packing.LAST_MODIFIED)

    @property
    def tags(self) -> tuple[bytes, ...]:
        """Names under which it can be purged."""
        return tuple(packing.tags(self.packed))

    def fields(self) -> Fields:
        """The stored fields, parsed."""
        return Fields.decode(self.lines)


@lru_cache(maxsize=1024)
def shared_reason(reason: bytes) -> bytes:
    """One object for all responses that say the same: each was parsed by itself."""
    return reason


@lru_cache(maxsize=1024)
def _shared_name(route: str) -> str:
    return route


VALUES = tuple(signature(StoredResponse.of).parameters)
"""The names of all values of a StoredResponse."""


class VaryRecord(Struct, frozen=True, gc=False):
    """Stands under a primary key whose responses vary: which request fields select (RFC 9111 §4.1)."""

    names: tuple[bytes, ...]
    """Lower-case field names, sorted."""
    variants: tuple[bytes, ...]
    """Variant keys, oldest first; at most the route's max_variants."""
    expires_at: float
    by_language: tuple[tuple[bytes, bytes], ...] = ()
    """The key of a request for one language only, and the variant that is in this language."""


Entry = StoredResponse | VaryRecord


class NotAsked(Enum):
    """Stands where what L2 has would stand, had it been asked."""

    NOT_ASKED = "not-asked"


NOT_ASKED = NotAsked.NOT_ASKED
Found = Entry | None | NotAsked
"""What L2 has of a key."""


class Held(Struct, gc=False, eq=False):
    """This replica's copy of an entry in L1, with what only this replica knows of it."""

    entry: Entry
    size: int
    """Bytes in L1: fields, body, key and the objects that hold them."""
    kept_at: float
    idle: float | None = None
    """Seconds without use after which the copy is dropped; None: never."""
    used_at: float = 0.0
    began_at: float | None = None
    """Monotonic instant at which our own fetch of it began; None: it came from L2, or there is no L2."""
    version: int = -1
    """`index.version` when the rule last found it alive; -1: not asked yet."""
    checked: Position | None = None
    generation: int = -1
    """The full read of the log for which `checked` holds (invalidation R6)."""

    def __post_init__(self) -> None:
        self.used_at = self.kept_at


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
