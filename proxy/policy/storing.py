"""As what a response is stored: decided from its head, before its body arrives (RFC 9111 §3).

A refusal is a Reason. Whether the body is complete and small enough, and whether an invalidation overtook
the fetch, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from msgspec import Struct

from proxy.config.schema import RoutePolicy
from proxy.model import (
    Fields,
    Framing,
    LifetimeSource,
    Position,
    Reason,
    Request,
    ResponseHead,
    Rule,
    StoredResponse,
)
from proxy.policy.bypass import cookies_are_covered
from proxy.policy.cache_key import CacheKey
from proxy.policy.dates import http_date
from proxy.policy.directives import ResponseDirectives, response_directives, vary_names
from proxy.policy.failures import is_error_status
from proxy.policy.freshness import Lifetime, initial_age, lifetime, may_be_assumed, refresh_age, spread
from proxy.policy.parts import part_of
from proxy.policy.routes import RouteMatch
from proxy.policy.staleness import error_window, revalidation_window
from proxy.policy.storability import is_shared_despite_authorization, kept_fields, refusal
from proxy.policy.tags import are_too_many, group_tags, route_tags, tag_values

_RULES: tuple[tuple[int, Callable[[ResponseDirectives], bool]], ...] = (
    (Rule.NO_CACHE, lambda stated: stated.no_cache),
    (Rule.MUST_REVALIDATE, lambda stated: stated.must_revalidate or stated.proxy_revalidate),
    (Rule.SHARED_MAX_AGE, lambda stated: stated.s_maxage is not None),
    (Rule.AUTHORIZATION_SHARED, is_shared_despite_authorization),
    (Rule.IMMUTABLE, lambda stated: stated.immutable),
)


class StorePlan(Struct, frozen=True):
    """All that a response's head decides about its entry."""

    values: dict[str, Any]
    """Those of the entry, as `StoredResponse.of` takes them, but for its body, its place and its birth."""
    vary: tuple[bytes, ...]
    """The request fields that select it (RFC 9111 §4.1)."""

    @property
    def source(self) -> LifetimeSource:
        """Who says how long it stays fresh."""
        source: LifetimeSource = self.values["source"]
        return source


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
    policy = match.route.policy
    directives = response_directives(head.fields)
    reason = refusal(request, head, framing, match, directives, profile=profile)
    if reason is not None:
        return reason
    given = _lifetime(request, head, directives, policy, received_at)
    if isinstance(given, Reason):
        return given
    stated = (*tag_values(head.fields), *group_tags(request, head.fields))
    named = (*inherited_tags, *stated, *route_tags(policy.tags, match.params))
    tags = tuple(dict.fromkeys(named))
    if are_too_many(tags):
        return Reason.TOO_MANY_TAGS
    age = initial_age(head.fields, requested_at=requested_at, received_at=received_at)
    values = _values(head, directives, match, given, roll=roll)
    values |= {"received_at": received_at, "initial_age": age, "tags": tags}
    values["expires_at"] = expires_at = _expires_at(values, policy)
    if expires_at <= received_at:
        return Reason.NO_LIFETIME
    return StorePlan(values, vary_names(head.fields) or ())


def stored(
    planned: StorePlan,
    body: bytes,
    key: CacheKey | StoredResponse,
    *,
    born: Position | None,
    fetch_seconds: float,
) -> StoredResponse:
    """The entry, now that its body is complete; of `key` only host and target count."""
    return StoredResponse.of(
        **planned.values,
        body=body,
        host=key.host,
        target=key.target,
        born=born,
        fetch_seconds=fetch_seconds,
    )


def _lifetime(
    request: Request,
    head: ResponseHead,
    directives: ResponseDirectives,
    policy: RoutePolicy,
    received_at: float,
) -> Lifetime | Reason:
    given = lifetime(head, directives, policy, received_at=received_at)
    if given is None:
        # Without a lifetime it can still be validated, if RFC 9111 §3 lets it be stored at all.
        validator = _etag(head.fields) or _last_modified(head.fields)
        if validator is None or not may_be_assumed(head.status, directives):
            return Reason.NO_LIFETIME
        given = Lifetime(0.0, LifetimeSource.HEURISTIC)
    if given.source is not LifetimeSource.ORIGIN and not cookies_are_covered(request, policy):
        return Reason.COOKIE
    return given


def _values(
    head: ResponseHead, directives: ResponseDirectives, match: RouteMatch, given: Lifetime, *, roll: float
) -> dict[str, Any]:
    policy = match.route.policy
    rules = _rules(directives)
    part = part_of(head)
    # What a part is of is kept as numbers: each answer from it has a Content-Range of its own.
    described = head.fields if part is None else head.fields.without({b"content-range"})
    lasting = spread(given, share=policy.jitter, roll=roll)
    is_refreshed = not rules & (Rule.NO_CACHE | Rule.IMMUTABLE)
    return {
        "status": head.status,
        "reason": head.reason,
        "lines": kept_fields(described, directives, policy).encode(),
        "route": match.route.name,
        "lifetime": lasting.seconds,
        "source": lasting.source,
        "refresh_age": refresh_age(given, share=policy.jitter, roll=roll) if is_refreshed else None,
        "rules": rules,
        "stale_while_revalidate": _own_window(directives.stale_while_revalidate, head.status),
        "stale_if_error": _own_window(directives.stale_if_error, head.status),
        "etag": _etag(head.fields),
        "last_modified": _last_modified(head.fields),
        "part": part,
    }


# An API's answers say the same few things.
@lru_cache(maxsize=256)
def _rules(directives: ResponseDirectives) -> int:
    return reduce(or_, (rule for rule, holds in _RULES if holds(directives)), Rule.NONE)


def _own_window(stated: int | None, status: int) -> float | None:
    # A remembered error must not outlive its lifetime: by then the origin may have recovered.
    return 0.0 if stated is None and is_error_status(status) else stated


def _etag(fields: Fields) -> bytes | None:
    """Several ETag lines name no representation."""
    values = fields.values(b"etag")
    return values[0] or None if len(values) == 1 else None


def _last_modified(fields: Fields) -> bytes | None:
    values = fields.values(b"last-modified")
    return values[0] if len(values) == 1 and http_date(values[0]) is not None else None


def _expires_at(values: dict[str, Any], policy: RoutePolicy) -> float:
    """The instant from which on the entry is of no use to anybody."""
    can_be_validated = values["etag"] is not None or values["last_modified"] is not None
    rules, received_at = values["rules"], values["received_at"]
    if rules & Rule.NO_CACHE and not can_be_validated:
        return float(received_at)
    windows = (
        revalidation_window(rules, values["stale_while_revalidate"], policy),
        error_window(rules, values["stale_if_error"], policy),
        policy.keep if can_be_validated else 0.0,
    )
    return float(received_at - values["initial_age"] + values["lifetime"] + max(windows))
