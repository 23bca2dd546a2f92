"""What a head says about caching, parsed once into values: for requests, for responses, and Vary.

Which response field governs: CDN-Cache-Control, then Surrogate-Control, then Cache-Control with Expires.
What follows from a directive is decided in freshness.py, storing.py and reuse.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import inf

from proxy.model import Fields
from proxy.policy.cache_directives import Directive, Directives, parse_directives
from proxy.policy.structured_fields import BareItem, parse_dictionary

_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

_FLAGS = frozenset(
    {b"immutable", b"must-revalidate", b"must-understand", b"no-store", b"proxy-revalidate", b"public"}
)
_QUALIFIED = frozenset({b"no-cache", b"private"})
_SECONDS = frozenset({b"max-age", b"s-maxage", b"stale-if-error", b"stale-while-revalidate"})
_KNOWN = _FLAGS | _QUALIFIED | _SECONDS


@dataclass(frozen=True, slots=True)
class RequestDirectives:
    """What the client asks of a cache (RFC 9111 §5.2.1, RFC 5861 §4). Malformed arguments count as absent."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: float | None = None
    """Infinite without an argument."""
    stale_if_error: int | None = None


@dataclass(frozen=True, slots=True)
class ResponseDirectives:
    """What the origin says in the field that governs (RFC 9111 §5.2.2, RFC 5861, RFC 8246)."""

    is_targeted: bool = False
    """CDN-Cache-Control or Surrogate-Control governs: Cache-Control and Expires count for nothing."""
    no_store: bool = False
    no_cache: bool = False
    """Without field names."""
    no_cache_fields: frozenset[bytes] = frozenset()
    private: bool = False
    """Without field names."""
    private_fields: frozenset[bytes] = frozenset()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    max_age: int | None = None
    """0 where the argument is malformed: stale (RFC 9111 §4.2.1)."""
    s_maxage: int | None = None
    """As `max_age`."""
    has_malformed_s_maxage: bool = False
    """It then allows nothing, above all not to share what answers an Authorization."""
    stale_while_revalidate: int | None = None
    """None where the argument is malformed."""
    stale_if_error: int | None = None
    """None where the argument is malformed."""


NOTHING_ASKED = RequestDirectives()
"""What most requests say: the object itself, where there is neither Cache-Control nor Pragma."""
_TARGETED = frozenset({b"cdn-cache-control", b"surrogate-control"})
_USUAL_BYTES = 64
"""Longer values are read anew each time, so that nobody fills the memory with them."""


def request_directives(fields: Fields) -> RequestDirectives:
    """Cache-Control of a request; Pragma only where there is none (RFC 9111 §5.4)."""
    lines = fields.values(b"cache-control")
    if not lines:
        return _asked_by_pragma(fields)
    if len(lines) == 1 and len(lines[0]) <= _USUAL_BYTES:
        return _usually_asked(lines[0])
    return _asked(lines)


# Clients say the same few words with every request: 0.4 us instead of 6.8.
@lru_cache(maxsize=256)
def _usually_asked(line: bytes) -> RequestDirectives:
    return _asked([line])


def _asked(lines: Iterable[bytes]) -> RequestDirectives:
    asked = parse_directives(lines)
    return RequestDirectives(
        no_cache=asked.has(b"no-cache"),
        no_store=asked.has(b"no-store"),
        only_if_cached=asked.has(b"only-if-cached"),
        max_age=asked.seconds(b"max-age", invalid=None),
        min_fresh=asked.seconds(b"min-fresh", invalid=None, choose=max),
        max_stale=_max_stale(asked),
        stale_if_error=asked.seconds(b"stale-if-error", invalid=None),
    )


def _asked_by_pragma(fields: Fields) -> RequestDirectives:
    if b"pragma" not in fields:
        return NOTHING_ASKED
    return RequestDirectives(no_cache=parse_directives(fields.values(b"pragma")).has(b"no-cache"))


def _max_stale(asked: Directives) -> float | None:
    seconds = asked.seconds(b"max-stale", invalid=None)
    if seconds is None and asked.has_bare(b"max-stale"):
        return inf
    return seconds


def response_directives(fields: Fields) -> ResponseDirectives:
    """The directives of the first field that is valid and says something (RFC 9213 §2.2)."""
    if _TARGETED.isdisjoint(fields.names()):
        return _untargeted(fields)
    cdn = _targeted(fields.combined(b"cdn-cache-control"))
    if cdn:
        return _stated(Directives(cdn), is_targeted=True)
    surrogate = _targeted(fields.combined(b"surrogate-control"))
    # Often only `content="ESI/1.0"`, which must not hide a Cache-Control: private.
    if any(directive.name in _KNOWN for directive in surrogate):
        return _stated(Directives(surrogate), is_targeted=True)
    return _untargeted(fields)


def _untargeted(fields: Fields) -> ResponseDirectives:
    lines = fields.values(b"cache-control")
    if len(lines) == 1 and len(lines[0]) <= _USUAL_BYTES:
        return _usually_stated(lines[0])
    return _stated(parse_directives(lines), is_targeted=False)


# An API says the same few lines with all its answers.
@lru_cache(maxsize=256)
def _usually_stated(line: bytes) -> ResponseDirectives:
    return _stated(parse_directives([line]), is_targeted=False)


def _targeted(value: bytes | None) -> list[Directive]:
    """The members of a targeted field (RFC 9213 §2.1); none if it is malformed or one has a wrong type."""
    dictionary = None if value is None else parse_dictionary(value)
    if dictionary is None or not all(_has_its_type(name, item) for name, item in dictionary.items()):
        return []
    return [Directive(name, _argument(item)) for name, item in dictionary.items()]


def _has_its_type(name: bytes, item: BareItem) -> bool:
    if name in _SECONDS:
        return isinstance(item, int) and not isinstance(item, bool)
    if name in _QUALIFIED:
        return item is True or isinstance(item, bytes)
    return name not in _FLAGS or item is True


def _argument(item: BareItem) -> bytes | None:
    if item is None or isinstance(item, bytes | bool):
        return item if isinstance(item, bytes) else None
    return b"%d" % item


def _stated(directives: Directives, *, is_targeted: bool) -> ResponseDirectives:
    no_cache_fields = directives.field_names(b"no-cache")
    private_fields = directives.field_names(b"private")
    return ResponseDirectives(
        is_targeted=is_targeted,
        no_store=directives.has(b"no-store"),
        no_cache=no_cache_fields is None,
        no_cache_fields=no_cache_fields or frozenset(),
        private=private_fields is None,
        private_fields=private_fields or frozenset(),
        public=directives.has(b"public"),
        must_revalidate=directives.has(b"must-revalidate"),
        proxy_revalidate=directives.has(b"proxy-revalidate"),
        must_understand=directives.has(b"must-understand"),
        immutable=directives.has(b"immutable"),
        max_age=directives.seconds(b"max-age", invalid=0),
        s_maxage=directives.seconds(b"s-maxage", invalid=0),
        has_malformed_s_maxage=directives.seconds(b"s-maxage", invalid=-1) == -1,
        stale_while_revalidate=directives.seconds(b"stale-while-revalidate", invalid=None),
        stale_if_error=directives.seconds(b"stale-if-error", invalid=None),
    )


def vary_names(fields: Fields) -> tuple[bytes, ...] | None:
    """The request fields that select the response, lower case, sorted (RFC 9110 §12.5.5).

    None: `*`, or a member that is no field name: no request can be known to match.
    """
    lines = fields.values(b"vary")
    if not lines:
        return ()
    members = b",".join(lines).lower().split(b",")
    names = {name for member in members if (name := member.strip(b" \t"))}
    if not all(_FIELD_NAME.fullmatch(name) and name != b"*" for name in names):
        return None
    return tuple(sorted(names))
