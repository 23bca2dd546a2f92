"""The vocabulary of the whole product: requests, responses, stored entries, failures.

Values only. Nothing here does I/O, reads a clock or rolls dice; every instant ends in
`_at` (epoch seconds unless it says otherwise) and every quantity names its unit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, KeysView
from dataclasses import dataclass, field
from enum import Enum, IntEnum, IntFlag
from typing import NamedTuple, Protocol

FieldLine = tuple[bytes, bytes]


class Fields:
    """Header fields as received: order, duplicates, case and bytes are kept.

    Look-ups take lower-case names; the index is built on the first look-up.
    """

    __slots__ = ("_index", "lines")

    def __init__(self, lines: Iterable[FieldLine] = ()) -> None:
        self.lines: tuple[FieldLine, ...] = tuple(lines)
        self._index: dict[bytes, list[bytes]] | None = None

    def _by_name(self) -> dict[bytes, list[bytes]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self.lines:
                index.setdefault(name.lower(), []).append(value)
        return index

    def __contains__(self, name: bytes) -> bool:
        return name in self._by_name()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(self.lines)

    def __repr__(self) -> str:
        return f"Fields({list(self.lines)!r})"

    def names(self) -> KeysView[bytes]:
        """The names that occur, in lower case, each once."""
        return self._by_name().keys()

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field, one per line, in order; empty when absent."""
        return self._by_name().get(name, [])

    def first(self, name: bytes) -> bytes | None:
        """The value of the field's first line; None when absent."""
        values = self._by_name().get(name)
        return values[0] if values else None

    def combined(self, name: bytes) -> bytes | None:
        """All lines of a list field as one value (RFC 9110 §5.3); None when absent."""
        values = self._by_name().get(name)
        return b", ".join(values) if values else None

    def without(self, names: Iterable[bytes]) -> Fields:
        """A copy that lacks the named fields (lower-case names)."""
        unwanted = frozenset(names)
        return Fields(line for line in self.lines if line[0].lower() not in unwanted)

    def plus(self, lines: Iterable[FieldLine]) -> Fields:
        """A copy with more lines at the end."""
        return Fields((*self.lines, *lines))

    def encode(self) -> bytes:
        """The lines as they stand in a head: `Name: value CRLF`, without the empty line."""
        return b"".join([b"%b: %b\r\n" % line for line in self.lines])

    @classmethod
    def decode(cls, encoded: bytes) -> Fields:
        """The inverse of `encode`, for heads that we wrote ourselves."""
        lines = (line.partition(b": ") for line in encoded.split(b"\r\n")[:-1])
        return cls((name, value) for name, _, value in lines)


class BodyBroken(Exception):
    """A body ended before it was complete; `failure` says why."""

    def __init__(self, failure: OriginFailure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Body(Protocol):
    """A body that arrives piece by piece, from a client or from the origin."""

    @property
    def length(self) -> int | None:
        """What the head stated, also for a HEAD whose body is empty; None: chunked or until close."""

    async def read(self) -> bytes:
        """The next piece; b"" once the body is complete. Raises BodyBroken."""

    def abandon(self) -> None:
        """The reader wants no more; what is left is the owner's to drain or cut off."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, validated and normalised at the edge; fields as received."""

    method: str
    target: bytes
    """Origin-form, byte for byte (or `*`)."""
    fields: Fields
    scheme: bytes = b"http"
    host: bytes = b""
    """Lower case, default port and trailing dot removed."""
    version: tuple[int, int] = (1, 1)
    peer: str = ""
    """The address of the client's end of the connection; empty for a unix socket."""
    body: Body | None = None
    """None where the request has no body at all (Content-Length: 0 has none)."""
    upgrade: bool = False
    """Asks to leave HTTP on this connection (`Connection: upgrade`)."""
    on_interim: Callable[[ResponseHead], Awaitable[None]] | None = None
    """Takes 1xx heads (but 100 and 101); None for clients that cannot have them."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status line and fields of a response: Date present, hop-by-hop and framing fields removed."""

    status: int
    fields: Fields
    reason: bytes = b""


class Framing(Enum):
    """How the end of an origin's body is known (RFC 9112 §6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Tunnel(Protocol):
    """The origin's side of a connection that has left HTTP (101): raw bytes both ways."""

    async def read(self) -> bytes:
        """The next bytes; b"" when the origin has closed its side."""

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the transport takes more."""

    def write_eof(self) -> None:
        """Nothing more will be written; reading goes on."""

    def close(self) -> None:
        """End the tunnel and free its slot."""


@dataclass(slots=True)
class OriginResponse:
    """What the origin began to answer; `body` must be read to its end or abandoned."""

    head: ResponseHead
    body: Body
    framing: Framing
    requested_at: float
    received_at: float
    tunnel: Tunnel | None = None


class FailureKind(Enum):
    """How a request to the origin failed: word for logs and metrics, status for the client."""

    REFUSED = ("refused", 502)
    CONNECT_TIMEOUT = ("connect-timeout", 504)
    RESPONSE_TIMEOUT = ("response-timeout", 504)
    IDLE_TIMEOUT = ("idle-timeout", 504)
    RESET = ("reset", 502)
    INVALID_HEAD = ("invalid-head", 502)
    BROKEN_BODY = ("broken-body", 502)
    POOL_EXHAUSTED = ("pool-exhausted", 503)
    QUEUE_FULL = ("queue-full", 503)
    QUEUE_TIMEOUT = ("queue-timeout", 503)
    TUNNELS_FULL = ("tunnels-full", 503)
    CLIENT_BODY = ("client-body", 400)
    INVALID_REQUEST = ("invalid-request", 400)
    CLOSED = ("closed", 503)

    def __init__(self, word: str, status: int) -> None:
        self.word = word
        self.status = status


@dataclass(frozen=True, slots=True)
class OriginFailure:
    """An expected failure towards the origin, as a value."""

    kind: FailureKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.word}: {self.detail}" if self.detail else self.kind.word


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


class LifetimeSource(IntEnum):
    """Who said how long a response stays fresh. The numbers are part of the stored format."""

    ORIGIN = 0
    ROUTE = 1
    HEURISTIC = 2
    NEGATIVE = 3


class Rule(IntFlag):
    """What a stored response asks of its reuse. The numbers are part of the stored format."""

    NONE = 0
    NO_CACHE = 1
    """Validate before every reuse (RFC 9111 §5.2.2.4)."""
    MUST_REVALIDATE = 2
    """Never served stale: must-revalidate, proxy-revalidate (RFC 9111 §5.2.2.2, §5.2.2.8)."""
    SHARED_MAX_AGE = 4
    """s-maxage: implies proxy-revalidate (RFC 9111 §5.2.2.10)."""
    AUTHORIZATION_SHARED = 8
    """May answer requests with Authorization (RFC 9111 §3.5)."""
    IMMUTABLE = 16
    """Not validated while fresh, unless the client asks for it (RFC 8246 §2)."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A complete response, ready to be sent again, and all that its reuse depends on."""

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
    rules: Rule = Rule.NONE
    stale_while_revalidate: float | None = None
    """The response's own directive in seconds; None: the route's window holds."""
    stale_if_error: float | None = None
    etag: bytes | None = None
    last_modified: bytes | None = None
    tags: tuple[bytes, ...] = ()
    fetch_seconds: float = 0.0
    """How long the origin took, first byte sent to last byte received."""

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


class Outcome(Enum):
    """What became of a request: our word (metric, log, docs) and nginx's (X-Cache-Status)."""

    HIT = ("hit", "HIT")
    HIT_L2 = ("hit-l2", "HIT")
    NEGATIVE = ("negative", "HIT")
    UPDATING = ("updating", "UPDATING")
    STALE = ("stale", "STALE")
    REVALIDATED = ("revalidated", "REVALIDATED")
    EXPIRED = ("expired", "EXPIRED")
    MISS = ("miss", "MISS")
    COLLAPSED = ("collapsed", "MISS")
    BYPASS = ("bypass", "BYPASS")
    ERROR = ("error", "MISS")

    def __init__(self, word: str, nginx_word: str) -> None:
        self.word = word
        self.nginx_word = nginx_word


class Forward(Enum):
    """Why a request went to the origin, in the words of RFC 9211 §2.2."""

    BYPASS = "bypass"
    METHOD = "method"
    URI_MISS = "uri-miss"
    VARY_MISS = "vary-miss"
    REQUEST = "request"
    STALE = "stale"
    PARTIAL = "partial"


class Reason(Enum):
    """Why something was not stored, not shared or not looked up; `detail=` and the logs say it."""

    ROUTE = "route"
    METHOD = "method"
    BODY = "body"
    UPGRADE = "upgrade"
    UNSAFE_TARGET = "unsafe-target"
    BYPASS_WHEN = "bypass-when"
    CONNECTION_OPTION = "connection-option"
    COOKIE = "cookie"
    AUTHORIZATION = "authorization"
    IDENTITY = "identity"
    RANGE = "range"
    REQUEST_NO_STORE = "request-no-store"
    STATUS = "status"
    NO_STORE = "no-store"
    PRIVATE = "private"
    SET_COOKIE = "set-cookie"
    VARY_STAR = "vary-star"
    NO_LIFETIME = "no-lifetime"
    TOO_LARGE = "too-large"
    INCOMPLETE = "incomplete"
    CLOSE_DELIMITED = "close-delimited"
    TRANSFER_CODING = "transfer-coding"
    EVENT_STREAM = "event-stream"
    INVALIDATED = "invalidated"
    UNSYNCED = "unsynced"
    TOO_MANY_TAGS = "too-many-tags"
    OTHER_REPRESENTATION = "other-representation"


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """Our member of the Cache-Status field (RFC 9211 §2)."""

    hit: bool = False
    forward: Forward | None = None
    forward_status: int | None = None
    ttl: int | None = None
    """Seconds of freshness left; negative when stale."""
    stored: bool = False
    collapsed: bool = False
    detail: str | None = None


@dataclass(slots=True)
class Answer:
    """What the client gets. `net/wire.py` turns it into bytes; framing is decided there."""

    status: int
    reason: bytes
    lines: bytes
    """Encoded fields, Date included; without framing, Age and our Cache-Status."""
    body: bytes | Body
    outcome: Outcome
    cache_status: CacheStatus | None
    length: int | None = None
    """Content-Length to state; None: unknown (chunked, or until close for HTTP/1.0)."""
    age: int | None = None
    route: str = ""
    tunnel: Tunnel | None = None
    close: bool = False
    """The connection cannot be used again after this answer."""
    extra: bytes = b""
    """More encoded lines of our own, e.g. Retry-After."""
    failure: OriginFailure | None = field(default=None)
