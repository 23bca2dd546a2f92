"""As what a response is stored: decided from its head, before its body arrives (RFC 9111 §3).

A refusal is a Reason. Whether the body is complete and small enough, and whether an invalidation overtook
the fetch, is decided elsewhere.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.config.schema import RoutePolicy
from proxy.model import (
    Fields,
    Framing,
    LifetimeSource,
    Part,
    Position,
    Reason,
    Request,
    ResponseHead,
    Rule,
    StoredResponse,
    packing,
    shared_reason,
)
from proxy.policy.bypass import cookies_are_covered
from proxy.policy.cache_key import CacheKey
from proxy.policy.dates import http_date
from proxy.policy.freshness import Lifetime, initial_age, lifetime, may_be_assumed, refresh_age, spread
from proxy.policy.parts import part_of
from proxy.policy.routes import RouteMatch
from proxy.policy.tags import are_too_many, stated_tags
from proxy.policy.terms import Terms, terms_of


class StorePlan(Struct, frozen=True):
    """All that a response's head decides about its entry."""

    head: ResponseHead
    lines: bytes
    """Of its fields, those that are stored."""
    route: str
    terms: Terms
    lifetime: Lifetime
    refresh_age: float | None
    """What these mean is said at the properties of `StoredResponse`, as of all below."""
    received_at: float
    initial_age: float
    expires_at: float
    etag: bytes | None
    last_modified: bytes | None
    tags: tuple[bytes, ...]
    part: Part | None

    @property
    def source(self) -> LifetimeSource:
        """Who says how long it stays fresh."""
        return self.lifetime.source

    @property
    def vary(self) -> tuple[bytes, ...]:
        """The request fields that select it (RFC 9111 §4.1)."""
        return self.terms.vary


def plan(
    request: Request,
    head: ResponseHead,
    framing: Framing,
    match: RouteMatch,
    *,
    requested_at: float,
    received_at: float,
    roll: float,
    profile: str,
    inherited_tags: tuple[bytes, ...] = (),
) -> StorePlan | Reason:
    """What to store, or why not. `roll` is uniform in [0, 1); instants are epoch seconds.

    `inherited_tags` are those of the stored response that this head updates.
    """
    terms = terms_of(request, head, framing, match, profile=profile)
    if isinstance(terms, Reason):
        return terms
    fields, policy = head.fields, match.route.policy
    etag, last_modified = _etag(fields), _last_modified(fields)
    can_be_validated = etag is not None or last_modified is not None
    given = _lifetime(request, head, terms, policy, received_at)
    if isinstance(given, Reason):
        return given
    tags = (*inherited_tags, *stated_tags(request, fields))
    if policy.tags:
        tags = (*tags, *match.route.tags.of(request.target))
    if len(tags) > 1:
        tags = tuple(dict.fromkeys(tags))
    if are_too_many(tags):
        return Reason.TOO_MANY_TAGS
    age = initial_age(fields, requested_at=requested_at, received_at=received_at)
    lasting = spread(given, share=policy.jitter, roll=roll)
    longest_stale = max(terms.longest_stale, policy.keep) if can_be_validated else terms.longest_stale
    # From then on the entry is of no use to anybody.
    expires_at = received_at - age + lasting.seconds + longest_stale
    if expires_at <= received_at or (terms.rules & Rule.NO_CACHE and not can_be_validated):
        return Reason.NO_LIFETIME
    is_refreshed = not terms.rules & (Rule.NO_CACHE | Rule.IMMUTABLE)
    part = part_of(head)
    # What a part is of is kept as numbers: each answer from it has a Content-Range of its own.
    described = fields if part is None else fields.without({b"content-range"})
    return StorePlan(
        head,
        described.without(terms.unkept).encode(),
        match.route.name,
        terms,
        lasting,
        refresh_age(given, share=policy.jitter, roll=roll) if is_refreshed else None,
        received_at,
        age,
        expires_at,
        etag,
        last_modified,
        tags,
        part,
    )


def stored(
    planned: StorePlan,
    body: bytes,
    key: CacheKey | StoredResponse,
    *,
    born: Position | None,
    fetch_seconds: float,
) -> StoredResponse:
    """The entry, now that its body is complete; of `key` only host and target count."""
    head, terms, lasting = planned.head, planned.terms, planned.lifetime
    packed = packing.pack(
        (planned.received_at, planned.initial_age, lasting.seconds, planned.refresh_age, fetch_seconds),
        (terms.stale_while_revalidate, terms.stale_if_error),
        born,
        (key.target, key.host, planned.etag, planned.last_modified),
        planned.tags,
    )
    # By its slots, in their order: to name the 22 values that `of` takes would cost a µs.
    return StoredResponse(
        head.status,
        shared_reason(head.reason),
        planned.lines,
        body,
        planned.route,
        planned.expires_at,
        lasting.source,
        terms.rules,
        planned.part,
        packed,
    )


def _lifetime(
    request: Request, head: ResponseHead, terms: Terms, policy: RoutePolicy, received_at: float
) -> Lifetime | Reason:
    given = terms.dateless or lifetime(head, terms.directives, policy, received_at=received_at)
    if given is None:
        # Without a lifetime it can still be validated, if RFC 9111 §3 lets it be stored at all.
        has_validator = _etag(head.fields) is not None or _last_modified(head.fields) is not None
        if not has_validator or not may_be_assumed(head.status, terms.directives):
            return Reason.NO_LIFETIME
        given = Lifetime(0.0, LifetimeSource.HEURISTIC)
    if given.source is not LifetimeSource.ORIGIN and not cookies_are_covered(request, policy):
        return Reason.COOKIE
    return given


def _etag(fields: Fields) -> bytes | None:
    """Several ETag lines name no representation."""
    return fields.only(b"etag") or None


def _last_modified(fields: Fields) -> bytes | None:
    value = fields.only(b"last-modified")
    return None if value is None or http_date(value) is None else value
