"""Request + route -> primary key; Vary names + request -> variant key.

Injective by construction: every part is preceded by its length, every list by its count, and the route's
shape says which parts follow. Then hashed with a secret: no value of a cookie or token leaves the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from proxy.model import NO_FIELDS, Fields, Request, VaryRecord
from proxy.policy.cookies import read_cookies
from proxy.policy.recipe import Recipe
from proxy.policy.routes import Route
from proxy.policy.selecting_fields import ACCEPT_LANGUAGE, language_of, normalised_value, wanted_language

_DIGEST_BYTES = 16
_PRIMARY = b"sidecache-key-01"
_VARIANT = b"sidecache-vary01"
_SECRET = b"sidecache-secret"


class CacheKey(Struct, frozen=True):
    """Where the answer to a request is kept, and what of the request went into it."""

    digest: bytes
    host: bytes
    target: bytes
    """As keyed: what selectors are compared with."""
    forward_target: bytes
    """What the origin is asked for."""


def derive_secret(text: str) -> bytes:
    """The key of all hashes, from the configured secret or what stands in for it."""
    return blake2b(text.encode(), digest_size=32, person=_SECRET).digest()


def make_key(request: Request, route: Route, *, secret: bytes) -> CacheKey:
    """The primary key. HEAD shares the key of GET; other methods are never looked up."""
    asked, host, recipe = request.target, request.host, route.recipe
    target = asked if recipe.query_names is None else keyed_target(route, asked)
    # As `_part` writes them, in one step: most keys have nothing more.
    parts = b"%d:%b%d:%b" % (len(host), host, len(target), target)
    if request.fields is not NO_FIELDS or recipe.headers or recipe.cookies:
        parts += _keyed_fields(request.fields, recipe)
    hasher = _begun(secret, route.shape, request.scheme).copy()
    hasher.update(parts)
    return CacheKey(hasher.digest(), host, target, target if recipe.forwards_keyed else asked)


def variant_key(primary: bytes, names: tuple[bytes, ...], fields: Fields, *, secret: bytes) -> bytes:
    """The key of the variant that a request selects by the fields of a Vary record (RFC 9111 §4.1)."""
    ordered = sorted(names)
    values = [normalised_value(name, fields.values(name)) for name in ordered]
    selected = b"".join(_list(() if value is None else (value,)) for value in values)
    hasher = _hasher(secret, _VARIANT).copy()
    hasher.update(primary + _list(ordered) + selected)
    return hasher.digest()


def selected_variant(primary: bytes, record: VaryRecord, fields: Fields, *, secret: bytes) -> bytes:
    """The key of the variant that a request gets.

    Where nothing is stored for this very request, a variant in the one language that it wants most will do:
    with the same other fields the origin would choose it again (RFC 9111 §4.1).
    """
    exact = variant_key(primary, record.names, fields, secret=secret)
    if not record.by_language or exact in record.variants:
        return exact
    language = wanted_language(fields.values(ACCEPT_LANGUAGE))
    if language is None:
        return exact
    alone = variant_key(primary, record.names, _for_language(fields, language), secret=secret)
    return dict(record.by_language).get(alone, exact)


def language_key(
    primary: bytes, names: tuple[bytes, ...], asked: Fields, answered: Fields, *, secret: bytes
) -> bytes | None:
    """The key of a request for nothing but the language of the answer; None: that is no single language."""
    language = language_of(answered) if ACCEPT_LANGUAGE in names else None
    if language is None:
        return None
    return variant_key(primary, names, _for_language(asked, language), secret=secret)


def keyed_target(route: Route, target: bytes) -> bytes:
    """The target with only those query parameters that the route keys on, byte for byte, in their order.

    Parameters are split at `&` only and their names compared percent-decoded, with `+` as space. The same
    parameters in another order are another key. An empty query (`/p?`) stays, as it differs from none.
    """
    names = route.recipe.query_names
    if names is None:
        return target
    path, _, query = target.partition(b"?")
    if not query:
        return target
    kept = [parameter for parameter in query.split(b"&") if _is_keyed(parameter, names)]
    return path + b"?" + b"&".join(kept) if kept else path


def _is_keyed(parameter: bytes, names: frozenset[bytes]) -> bool:
    # To an origin that also splits at `;`, `x=1;page=2` sets a `page` that we would not see.
    if b";" in parameter:
        return True
    name = parameter.partition(b"=")[0].replace(b"+", b" ")
    return (unquote_to_bytes(name) if b"%" in name else name) in names


def _for_language(fields: Fields, language: bytes) -> Fields:
    return fields.without({ACCEPT_LANGUAGE}).plus([(ACCEPT_LANGUAGE, language)])


def _keyed_fields(fields: Fields, recipe: Recipe) -> bytes:
    parts = b"".join([_list(fields.values(name)) for name in recipe.headers])
    if recipe.cookies:
        parts += _cookies(fields, recipe)
    if not recipe.overrides.isdisjoint(fields.names()):
        parts += _overrides(fields, recipe)
    return parts


def _cookies(fields: Fields, recipe: Recipe) -> bytes:
    cookies = read_cookies(fields)
    if cookies is None:
        return b"?" + _list(fields.values(b"cookie"))
    texts = ([cookie.text for cookie in cookies if cookie.name == name] for name in recipe.cookies)
    return b"=" + b"".join(map(_list, texts))


def _overrides(fields: Fields, recipe: Recipe) -> bytes:
    present = sorted(recipe.overrides & fields.names())
    return b"".join(_part(name) + _list(fields.values(name)) for name in present)


def _part(value: bytes) -> bytes:
    return b"%d:%b" % (len(value), value)


def _list(values: Iterable[bytes]) -> bytes:
    parts = [_part(value) for value in values]
    return b"%d;%b" % (len(parts), b"".join(parts))


# A process has one secret, and keys begin as their route says. To copy what has taken that in is quicker than
# to take it in again.
@lru_cache(maxsize=16)
def _hasher(secret: bytes, purpose: bytes) -> blake2b:
    return blake2b(digest_size=_DIGEST_BYTES, key=secret, person=purpose)


@lru_cache(maxsize=1024)
def _begun(secret: bytes, shape: bytes, scheme: bytes) -> blake2b:
    hasher = _hasher(secret, _PRIMARY).copy()
    hasher.update(shape + _part(scheme))
    return hasher
