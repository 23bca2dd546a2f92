"""What of a request tells answers apart: compiled once from a route's policy, with a digest of that decision.

Knows the configuration's words. Which bytes a key is made of is `cache_key.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product

from proxy.config.schema import Match, RoutePolicy

_MOST_WORDS = 8


def spellings(name: bytes) -> frozenset[bytes]:
    """The names that a CGI or WSGI origin takes for this one: each `-` may be `_`.

    Beyond 8 words only the name with all of them exchanged, as the mixtures double with each word.
    """
    words = name.split(b"-")
    if len(words) > _MOST_WORDS:
        return frozenset((name, b"_".join(words)))
    first, *others = words
    mixtures = product(b"-_", repeat=len(others))
    return frozenset(
        first + b"".join(bytes((mark,)) + word for mark, word in zip(marks, others, strict=True))
        for marks in mixtures
    )


def _all_spellings(names: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset().union(*map(spellings, names))


FORWARDING_OVERRIDES = _all_spellings(
    (
        b"forwarded",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-ssl",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-path",
        b"x-forwarded-uri",
        b"x-forwarded-server",
        b"front-end-https",
        b"x-url-scheme",
        b"x-host",
        b"x-original-host",
        b"x-http-host-override",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-script-name",
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
    )
)
"""Fields that make frameworks see another host, scheme, path or method. They reach the origin, so they are
keyed where present. Not X-Forwarded-For: it differs per client, and answers must not depend on it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A route's decision which parts of a request are keyed, and which make it bypass the cache."""

    headers: tuple[bytes, ...]
    """Fields whose values are keyed, absent or not; the identity's among them."""
    cookies: tuple[bytes, ...]
    """Cookies whose texts are keyed, absent or not; the identity's among them."""
    overrides: frozenset[bytes]
    """Fields that are keyed only where present."""
    query_names: frozenset[bytes] | None
    """Names of the query parameters that are keyed; None: the whole query."""
    forwards_keyed: bool
    """The origin sees only the keyed target."""
    bypass_headers: frozenset[bytes]
    bypass_cookies: frozenset[bytes]

    @property
    def telling_fields(self) -> frozenset[bytes]:
        """The fields that the key or the bypass may depend on, beside Cookie."""
        return self.overrides.union(self.headers, self.bypass_headers)


def compile_recipe(policy: RoutePolicy) -> Recipe:
    """The policy's `key`, `identity` and `bypass_when`, in the form that requests are read with."""
    identity = policy.identity
    headers = [name.encode() for name in policy.key.headers]
    cookies = [name.encode() for name in policy.key.cookies]
    if identity.kind == "header":
        headers.append(identity.name.lower().encode())
    if identity.kind == "cookie":
        cookies.append(identity.name.encode())
    include = policy.key.query.include
    return Recipe(
        headers=tuple(headers),
        cookies=tuple(cookies),
        overrides=(FORWARDING_OVERRIDES | _all_spellings(headers)) - frozenset(headers),
        query_names=None if include is None else frozenset(name.encode() for name in include),
        forwards_keyed=policy.key.query.forward == "keyed",
        bypass_headers=_all_spellings(name.encode() for name in policy.bypass_when.headers),
        bypass_cookies=frozenset(name.encode() for name in policy.bypass_when.cookies),
    )


def shape_of(policy: RoutePolicy, match: Match | None, *, profile: str) -> bytes:
    """A 16-byte digest of all that decides which requests an entry may answer; part of every key.

    Replicas that run different policies during a rollout share an entry only where these agree. Addresses,
    names and lifetimes are left out, so that changing them leaves the cache warm.
    """
    decisive = {
        "match": match.model_dump(mode="json") if match is not None else None,
        "key": policy.key.model_dump(mode="json"),
        "identity": [policy.identity.kind, policy.identity.name],
        "ignore_cookies": policy.ignore_cookies,
        "bypass_when": policy.bypass_when.model_dump(mode="json"),
        "override": sorted(policy.override),
        "profile": profile,
    }
    text = json.dumps(decisive, sort_keys=True, ensure_ascii=True)
    return blake2b(text.encode(), digest_size=16, person=b"sidecache-shape1").digest()
