"""As what a response is stored: decided from its head, before its body arrives (RFC 9111 §3).

A refusal is a Reason. Whether the body is complete and small enough, and whether an invalidation overtook
the fetch, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from proxy.model import (
    FieldNames,
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
from proxy.policy.freshness import Lifetime, dated_lifetime, initial_age, may_be_assumed, refresh_age, spread
from proxy.policy.parts import part_of
from proxy.policy.routes import RouteMatch
from proxy.policy.tags import TAG_FIELDS, are_too_many, stated_tags
from proxy.policy.terms import Terms, terms_of

_NOT_REFRESHED = Rule.NO_CACHE | Rule.IMMUTABLE
_ORIGIN = LifetimeSource.ORIGIN
"""On CPython 3.11 a member takes as long to look up as a function to call."""
_Told = tuple[bytes | None, ...]
_ABSENT = (None,)


class StorePlan(Struct, frozen=True, gc=False):
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
    telling = fields.layout.derived(_telling)
    etag, last_modified, date, stated_age = telling.pick(fields.sent_values + _ABSENT)
    etag = etag or None
    if last_modified is not None and http_date(last_modified) is None:
        last_modified = None
    can_be_validated = etag is not None or last_modified is not None
    given = terms.dateless or _dated(head, terms, received_at, can_be_validated=can_be_validated)
    if given is None:
        return Reason.NO_LIFETIME
    lasting = given
    if given.source is not _ORIGIN:
        if not cookies_are_covered(request, policy):
            return Reason.COOKIE
        lasting = spread(given, share=policy.jitter, roll=roll)
    tags = inherited_tags
    if telling.has_tags:
        tags += stated_tags(request, fields)
    if policy.tags:
        tags += match.route.tags.of(request.target)
    if len(tags) > 1:
        tags = tuple(dict.fromkeys(tags))
    if are_too_many(tags):
        return Reason.TOO_MANY_TAGS
    age = initial_age(date, stated_age, requested_at=requested_at, received_at=received_at)
    # From then on the entry is of no use to anybody.
    longest_use = terms.longest_kept if can_be_validated else terms.longest_stale
    expires_at = received_at - age + lasting.seconds + longest_use
    if expires_at <= received_at or (not can_be_validated and terms.rules & Rule.NO_CACHE):
        return Reason.NO_LIFETIME
    is_refreshed = not terms.rules & _NOT_REFRESHED
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


class _Telling(NamedTuple):
    """Where, among fields of certain names, those stand that an entry is planned by."""

    pick: Callable[[_Told], _Told]
    """ETag, Last-Modified, Date and Age, out of all values and a None behind them: what absent ones are."""
    has_tags: bool


def _telling(names: FieldNames) -> _Telling:
    first = {name: places[0] for name, places in names.places.items()}
    # Several ETag lines name no representation.
    only = {name: place for name, place in first.items() if len(names.places[name]) == 1}
    validators = [only.get(name, -1) for name in (b"etag", b"last-modified")]
    ages = [first.get(name, -1) for name in (b"date", b"age")]
    return _Telling(itemgetter(*validators, *ages), not TAG_FIELDS.isdisjoint(first))


def _dated(
    head: ResponseHead, terms: Terms, received_at: float, *, can_be_validated: bool
) -> Lifetime | None:
    """The lifetime of a response whose dates may have a say in it."""
    given = dated_lifetime(head, terms.directives, terms.by_route, received_at=received_at)
    # Without a lifetime it can still be validated, if RFC 9111 §3 lets it be stored at all.
    if given is None and can_be_validated and may_be_assumed(head.status, terms.directives):
        return Lifetime(0.0, LifetimeSource.HEURISTIC)
    return given
