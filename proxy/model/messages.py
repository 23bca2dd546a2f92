"""Requests, responses and answers on their way between client, cache and origin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

from msgspec import Struct

from proxy.model.failures import OriginFailure
from proxy.model.fields import Fields
from proxy.model.stored import StoredResponse
from proxy.model.words import CacheStatus, Outcome


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


class InboundBody(Body, Protocol):
    """A body on its way to us over a connection: all of it may be here already."""

    def take_rest(self) -> bytes | None:
        """All that is left to read, if it has arrived to the end; None: read on, for it has not."""


class Request(Struct, frozen=True):
    """One request, validated and normalised at the edge; fields as received.

    A struct, as all messages here: made in a twelfth of the time that a frozen dataclass takes.
    """

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
    body: InboundBody | None = None
    """None where the request has no body at all (Content-Length: 0 has none)."""
    upgrade: bool = False
    """Asks to leave HTTP on this connection (`Connection: upgrade`)."""
    on_interim: Callable[[ResponseHead], Awaitable[None]] | None = None
    """Takes 1xx heads (but 100 and 101); None for clients that cannot have them."""
    sent: object | None = None
    """The origin client's word that it has sent this request already, and waits for the answer."""


class ResponseHead(Struct, frozen=True):
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


class OriginResponse(Struct):
    """What the origin began to answer; `body` must be read to its end or abandoned."""

    head: ResponseHead
    body: InboundBody
    framing: Framing
    requested_at: float
    received_at: float
    tunnel: Tunnel | None = None


class Answer(Struct):
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
    failure: OriginFailure | None = None


class RelayTerms(Struct, frozen=True, eq=False):
    """How the origin's answers to some requests go to their clients: with all of their body, in one step."""

    route: str
    outcome: Outcome
    cache_status: CacheStatus
    """But for the origin's status."""
    watched: frozenset[bytes]
    """Fields (lower case) of an answer that must be looked at before it goes."""


class Hit(Struct, gc=False, eq=False):
    """A stored response that answers now as it is: what an `Answer` is made of, or the bytes at once."""

    stored: StoredResponse
    age: int
    ttl: int
    """Seconds of freshness left; negative when stale."""
    outcome: Outcome
    detail: str
    route: str
    now: float
    """When that was decided, epoch seconds."""
    is_not_modified: bool = False
    """The client may keep what it has: 304. Set once its conditions are known."""

    @property
    def status(self) -> int:
        """What the client is told."""
        return 304 if self.is_not_modified else self.stored.status
