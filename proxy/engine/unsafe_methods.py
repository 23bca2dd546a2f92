"""What a successful unsafe request makes untrue (RFC 9111 §4.4, RFC 9875 §3)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

from proxy.model import Request, ResponseHead
from proxy.policy.invalidation import Selector, SelectorKind
from proxy.policy.routes import Routes
from proxy.policy.tags import invalidated_groups

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
"""RFC 9110 §9.2.1, and QUERY, which is safe by its definition."""
NAMING_FIELDS = frozenset({b"cache-group-invalidation", b"content-location", b"location"})
"""Of the answer to an unsafe request: these name what it makes untrue beside its target."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def invalidated_by(request: Request, head: ResponseHead, routes: Routes) -> tuple[Selector, ...]:
    """What to purge: target, and on its host Location, Content-Location, if a route caches them; groups."""
    if request.method in SAFE_METHODS or not 200 <= head.status < 400:
        return ()
    found = {
        target: Selector(SelectorKind.URL, _absolute(request, target))
        for target in _targets(request, head)
        if routes.for_url(request.host, target) is not None
    }
    groups = invalidated_groups(request, head.fields)
    named = (Selector(SelectorKind.TAG, group.decode("latin-1")) for group in groups)
    return (*found.values(), *named)


def names_its_target(request: Request, head: ResponseHead) -> bool:
    """Is the content of this answer that of the request's own target (RFC 9110 §8.7)?"""
    location = head.fields.first(b"content-location")
    if location is None:
        return False
    own = _absolute(request, request.target)
    return _target_on_same_host(own, location.decode("latin-1")) == request.target


def _targets(request: Request, head: ResponseHead) -> Iterator[bytes]:
    yield request.target
    own = _absolute(request, request.target)
    for name in (b"location", b"content-location"):
        value = head.fields.first(name)
        named = value and _target_on_same_host(own, value.decode("latin-1"))
        if named:
            yield named


def _target_on_same_host(own: str, reference: str) -> bytes | None:
    try:
        there, here = urlsplit(urljoin(own, reference)), urlsplit(own)
    except ValueError:
        return None
    if _without_default_port(there) != here.netloc:
        return None
    query = f"?{there.query}" if there.query else ""
    return f"{there.path or '/'}{query}".encode("latin-1")


def _without_default_port(url: SplitResult) -> str:
    """Its authority in the form that a request's host has."""
    return url.netloc.lower().removesuffix(_DEFAULT_PORTS.get(url.scheme, ""))


def _absolute(request: Request, target: bytes) -> str:
    return (request.scheme + b"://" + request.host + target).decode("latin-1")
