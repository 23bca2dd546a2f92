"""Request + route -> primary key; Vary names + request -> variant key.

Injective by construction: every part is preceded by its length, every list by its count, and the route's
shape says which parts follow. Then hashed with a secret: no value of a cookie or token leaves the process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from proxy.model import Fields, Request
from proxy.policy.cookies import read_cookies
from proxy.policy.recipe import Recipe
from proxy.policy.routes import Route

_DIGEST_BYTES = 16
_PRIMARY = b"sidecache-key-01"
_VARIANT = b"sidecache-vary01"
_SECRET = b"sidecache-secret"

_OWS = b" \t"
_WEIGHT = re.compile(rb"[qQ]=(?:(?P<one>1(?:\.0{0,3})?)|0(?:\.(?P<fraction>[0-9]{0,3}))?)")
_WEIGHTED = frozenset({b"accept-encoding", b"accept-language"})


@dataclass(frozen=True, slots=True)
class CacheKey:
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
    target = keyed_target(route, request.target)
    digest = _hashed(_primary_parts(request, route, target), secret, _PRIMARY)
    forward_target = target if route.recipe.forwards_keyed else request.target
    return CacheKey(digest, request.host, target, forward_target)


def variant_key(primary: bytes, names: tuple[bytes, ...], fields: Fields, *, secret: bytes) -> bytes:
    """The key of the variant that a request selects by the fields of a Vary record (RFC 9111 §4.1)."""
    ordered = sorted(names)
    values = [normalised_value(name, fields.values(name)) for name in ordered]
    selected = b"".join(_list(() if value is None else (value,)) for value in values)
    return _hashed(primary + _list(ordered) + selected, secret, _VARIANT)


def keyed_target(route: Route, target: bytes) -> bytes:
    """The target with only those query parameters that the route keys on, byte for byte, in their order.

    Parameters are split at `&` only and their names compared percent-decoded, with `+` as space. The same
    parameters in another order are another key. An empty query (`/p?`) stays, as it differs from none.
    """
    names = route.recipe.query_names
    path, _, query = target.partition(b"?")
    if names is None or not query:
        return target
    kept = [parameter for parameter in query.split(b"&") if _is_keyed(parameter, names)]
    return path + b"?" + b"&".join(kept) if kept else path


def _is_keyed(parameter: bytes, names: frozenset[bytes]) -> bool:
    # To an origin that also splits at `;`, `x=1;page=2` sets a `page` that we would not see.
    if b";" in parameter:
        return True
    name = parameter.partition(b"=")[0].replace(b"+", b" ")
    return (unquote_to_bytes(name) if b"%" in name else name) in names


def _primary_parts(request: Request, route: Route, target: bytes) -> bytes:
    fixed = route.shape + _part(request.scheme) + _part(request.host) + _part(target)
    recipe = route.recipe
    values = [_list(request.fields.values(name)) for name in recipe.headers]
    if recipe.cookies:
        values.append(_cookies(request.fields, recipe))
    return fixed + b"".join(values) + _overrides(request.fields, recipe)


def _cookies(fields: Fields, recipe: Recipe) -> bytes:
    cookies = read_cookies(fields)
    if cookies is None:
        return b"?" + _list(fields.values(b"cookie"))
    texts = ([cookie.text for cookie in cookies if cookie.name == name] for name in recipe.cookies)
    return b"=" + b"".join(map(_list, texts))


def _overrides(fields: Fields, recipe: Recipe) -> bytes:
    if recipe.overrides.isdisjoint(fields.names()):
        return b""
    present = sorted(recipe.overrides & fields.names())
    return b"".join(_part(name) + _list(fields.values(name)) for name in present)


def _part(value: bytes) -> bytes:
    return b"%d:%b" % (len(value), value)


def _list(values: Iterable[bytes]) -> bytes:
    parts = [_part(value) for value in values]
    return b"%d;%b" % (len(parts), b"".join(parts))


def _hashed(parts: bytes, secret: bytes, purpose: bytes) -> bytes:
    return blake2b(parts, digest_size=_DIGEST_BYTES, key=secret, person=purpose).digest()


def normalised_value(name: bytes, values: list[bytes]) -> bytes | None:
    """The field's value such that equivalent ones are equal; None when absent, which differs from empty.

    Only as RFC 9111 §4.1 allows: the weighted lists of Accept-Encoding and Accept-Language in one order, all
    others with their lines combined and the whitespace around each removed.
    """
    if not values:
        return None
    if name in _WEIGHTED:
        members = b",".join(values).lower().split(b",")
        weighted = {_weighted(member.strip(_OWS)) for member in members if member.strip(_OWS)}
        return b", ".join(_weighted_text(*member) for member in sorted(weighted))
    separator = b"; " if name == b"cookie" else b", "
    return separator.join(value.strip(_OWS) for value in values)


def _weighted(member: bytes) -> tuple[int, bytes]:
    """Minus the weight in thousandths, and the member without it. A weight that is none stays in the text."""
    text, semicolon, parameter = member.partition(b";")
    weight = _WEIGHT.fullmatch(parameter.strip(_OWS)) if semicolon else None
    if weight is None:
        return -1000, member
    thousandths = 1000 if weight["one"] else int((weight["fraction"] or b"").ljust(3, b"0"))
    return -thousandths, text.rstrip(_OWS)


def _weighted_text(minus_thousandths: int, text: bytes) -> bytes:
    return text if minus_thousandths == -1000 else b"%b;q=0.%03d" % (text, -minus_thousandths)
