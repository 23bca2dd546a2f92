"""Host, method and path -> route. Compiled once; the first route that matches decides.

Matching reads the canonical path only (targets.py). A target without one matches no route: it passes.
Routes are found by the first segment of the path, so that their number costs little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.config import schema
from proxy.config.policy import ANY_HOST
from proxy.model import Reason, Request
from proxy.policy.globs import Glob, compile_glob
from proxy.policy.recipe import Recipe, compile_recipe, shape_of
from proxy.policy.tags import RouteTags
from proxy.policy.targets import canonical_path

UNMATCHED = "unmatched"

_TELLING = frozenset({b"authorization", b"cache-control", b"connection", b"cookie", b"pragma"})
"""Fields that decide about the cache whatever the route says."""
_PORT = re.compile(rb":[0-9]*\Z")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route of the configuration, or what stands in for none. Equal to itself only."""

    name: str
    policy: schema.RoutePolicy
    is_cacheable: bool
    shape: bytes
    """Digest of match, key and identity: part of every key."""
    methods: frozenset[str] | None
    """None: any. Where GET is listed, HEAD is meant too."""
    recipe: Recipe
    tags: RouteTags


class RouteMatch(NamedTuple):
    """The route of a request, and why it may not be cached (None: it may): one for all that match alike."""

    route: Route
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    match: RouteMatch
    host: bytes | None
    """None: any host."""
    glob: Glob
    is_for_all: bool
    """Every method, on every host."""

    @property
    def route(self) -> Route:
        """What it is a candidate for."""
        return self.match.route

    def takes(self, method: str, host: bytes | None) -> bool:
        """Is the route for this method and host, whatever the port? None: for some host."""
        methods = self.match.route.methods
        if methods is not None and method not in methods:
            return False
        return self.host is None or host is None or self.host == _PORT.sub(b"", host)


_Candidates = tuple[_Candidate, ...]


class _BySegment(dict[bytes, _Candidates]):
    """The candidates for each first segment that some route names, and those for all other segments."""

    def __init__(self, candidates: _Candidates) -> None:
        named = {first for candidate in candidates if (first := candidate.glob.first_literal) is not None}
        super().__init__({first: _starting(candidates, (first, None)) for first in named})
        self._others = _starting(candidates, (None,))

    def __missing__(self, segment: bytes) -> _Candidates:
        return self._others


class Routes:
    """All routes of one configuration."""

    def __init__(self, config: schema.Config) -> None:
        candidates = tuple(_compile(route, profile=config.profile) for route in config.routes)
        self._candidates = _BySegment(candidates)
        may_cache = config.defaults.cache and config.unmatched == "cache"
        self._unmatched = _stand_in(config, is_cacheable=may_cache, reason=Reason.ROUTE)
        self._unsafe = _stand_in(config, is_cacheable=False, reason=Reason.UNSAFE_TARGET)
        routes = (*(candidate.route for candidate in candidates), self._unmatched.route)
        self.telling_fields = _TELLING.union(*(route.recipe.telling_fields for route in routes))
        """Request fields that matching, bypassing, keys or the reasons for passing may depend on."""
        self.caching = {route.name: route.policy for route in routes if route.is_cacheable}
        """The policies under which answers may be stored, by the name of the route."""
        self.names = (*(route.name for route in config.routes), UNMATCHED)

    def match(self, request: Request) -> RouteMatch:
        """The first route that is for this request, else the one named `unmatched`."""
        path = canonical_path(request.target)
        if path is None:
            return self._unsafe
        method, host = request.method, request.host
        for candidate in self._candidates[path.split(b"/", 2)[1]]:
            is_for_it = candidate.is_for_all or candidate.takes(method, host)
            if is_for_it and candidate.glob.matches(path):
                return candidate.match
        return self._unmatched

    def for_url(self, host: bytes | None, target: bytes) -> Route | None:
        """The route under which an answer to GET is kept; None where none caches it.

        The host is normalised as in Request.host. None is any host: the first of `cacheable_for_url`.
        """
        return next(iter(self.cacheable_for_url(host, target)), None)

    def cacheable_for_url(self, host: bytes | None, target: bytes) -> tuple[Route, ...]:
        """All routes under which an answer to GET may be kept: several only where the host is None."""
        path = canonical_path(target)
        if path is None:
            return ()
        taking = self._taking_get(host, path)
        return tuple(route for route in taking if route.is_cacheable)

    def _taking_get(self, host: bytes | None, path: bytes) -> Iterator[Route]:
        """The first route for each host that is asked for, in order."""
        decided: set[bytes] = set()
        for candidate in self._candidates[path.split(b"/", 2)[1]]:
            is_for_get = candidate.takes("GET", host) and candidate.host not in decided
            if not is_for_get or not candidate.glob.takes(path):
                continue
            yield candidate.route
            if host is not None or candidate.host is None:
                return
            decided.add(candidate.host)
        yield self._unmatched.route


def _compile(route: schema.Route, *, profile: str) -> _Candidate:
    glob = compile_glob(route.match.path)
    compiled = Route(
        name=route.name,
        policy=route,
        is_cacheable=route.cache,
        shape=shape_of(route, route.match, profile=profile),
        methods=_methods(route.match.methods),
        recipe=compile_recipe(route),
        tags=RouteTags(route.tags, glob),
    )
    host = None if route.match.host == ANY_HOST else route.match.host.encode()
    match = RouteMatch(compiled, None if compiled.is_cacheable else Reason.ROUTE)
    return _Candidate(match, host, glob, host is None and compiled.methods is None)


def _methods(listed: tuple[str, ...] | None) -> frozenset[str] | None:
    if listed is None:
        return None
    # HEAD is answered from what GET has stored (RFC 9111 §4), so whoever lists GET means both.
    return frozenset((*listed, "HEAD")) if "GET" in listed else frozenset(listed)


def _stand_in(config: schema.Config, *, is_cacheable: bool, reason: Reason) -> RouteMatch:
    route = Route(
        name=UNMATCHED,
        policy=config.defaults,
        is_cacheable=is_cacheable,
        shape=shape_of(config.defaults, None, profile=config.profile),
        methods=None,
        recipe=compile_recipe(config.defaults),
        tags=RouteTags(config.defaults.tags, None),
    )
    return RouteMatch(route, None if is_cacheable else reason)


def _starting(candidates: Iterable[_Candidate], firsts: tuple[bytes | None, ...]) -> _Candidates:
    return tuple(candidate for candidate in candidates if candidate.glob.first_literal in firsts)
