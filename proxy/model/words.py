"""The closed sets of words: one for each concept, from the metrics to the headers and the docs."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

LETTER = "rfc9111"
"""The profile that follows the letter of RFC 9111 where the default is more careful."""


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

    def __init__(self, word: str) -> None:
        self.parameter = b"; fwd=" + word.encode()


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

    def __init__(self, word: str) -> None:
        self.word = word


class Claim(Enum):
    """What became of the wish to be the one replica that fetches a key."""

    HELD = "held"
    """It is us, until the lease is released."""
    TAKEN = "taken"
    """Another replica fetches."""
    LONE = "lone"
    """An answer of late was not for others: each replica fetches for itself."""
    UNAVAILABLE = "unavailable"
    """Nobody can say: the shared server cannot be asked."""


class CacheStatus(Struct, frozen=True):
    """Our member of the Cache-Status field (RFC 9211 §2)."""

    hit: bool = False
    forward: Forward | None = None
    forward_status: int | None = None
    ttl: int | None = None
    """Seconds of freshness left; negative when stale."""
    stored: bool = False
    collapsed: bool = False
    detail: str | None = None
