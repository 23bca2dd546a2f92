"""What can be wrong with routes although each value is right: unreachable, unsafe, contradictory."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config import patterns
from proxy.config.coverage import Paths, covers, paths
from proxy.config.faults import Finding, suggestion
from proxy.config.policies import Placed, caching, in_force
from proxy.config.policy import ANY_HOST, Route
from proxy.config.schema import Config

RESERVED_NAME = "unmatched"
MOST_JITTER = 0.9

_WHOLESALE_FIELDS = {
    "authorization": "identity: {header: Authorization}, which covers RFC 9111 §3.5 too",
    "cookie": "the cookies that matter, by name, in key.cookies",
}
_SHARED_SECRETS = {
    "private": "answers that the origin marks as one user's",
    "set-cookie": "one user's cookies",
}
"""Overrides that `identity: shared` must not go with -> what everybody would get."""
_REQUEST_DEPENDENT_STATUSES = frozenset(
    {400, 401, 406, 407, 408, 412, 413, 414, 415, 416, 417, 421, 425, 426, 428, 429, 431}
)
"""One client's faulty or early request can provoke them, for everybody else's good one."""


def duplicate_names(config: Config) -> Iterator[Finding]:
    """Metrics and purges tell routes apart by name."""
    first: dict[str, int] = {}
    for index, route in enumerate(config.routes):
        path = ("routes", index, "name")
        if route.name == RESERVED_NAME:
            yield Finding(
                f"found {RESERVED_NAME}, expected another name: requests without a route have it", (path,)
            )
        if route.name in first:
            yield Finding(f"found {route.name} a second time, expected each name once", (path,))
        first.setdefault(route.name, index)


def unreachable_routes(config: Config) -> Iterator[Finding]:
    """The first route that matches decides, so a later one may never be asked."""
    earlier: list[tuple[Route, Paths]] = []
    for index, route in enumerate(config.routes):
        reached = paths(route.match.path)
        takers = (at for at, (one, taken) in enumerate(earlier) if _takes_all(one, taken, route, reached))
        taker = next(takers, None)
        if taker is not None:
            by = f"{config.routes[taker].name} ({config.routes[taker].match.path})"
            message = f"unreachable: the earlier route {by} takes all its requests"
            yield Finding(message, (("routes", index, "match"), ("routes", taker, "match")))
        earlier.append((route, reached))


def _takes_all(earlier: Route, taken: Paths, later: Route, reached: Paths) -> bool:
    is_same_host = earlier.match.host in {ANY_HOST, later.match.host}
    has_methods = _methods_include(earlier.match.methods, later.match.methods)
    return is_same_host and has_methods and covers(taken, reached)


def _methods_include(earlier: tuple[str, ...] | None, later: tuple[str, ...] | None) -> bool:
    if earlier is None:
        return True
    # Whoever lists GET means HEAD too.
    asked_by_get = {"HEAD"} if "GET" in earlier else set()
    return later is not None and set(later) <= {*earlier, *asked_by_get}


def cacheable_by_ending_alone(config: Config) -> Iterator[Finding]:
    """Web cache deception: `/account/x.css` is answered with the account."""
    for placed in caching(config):
        match = placed.route.match if placed.route else None
        if match and patterns.judges_by_ending_alone(match.path):
            message = f"found {match.path}, expected a path that begins with a literal, as in /static/**"
            yield Finding(message, ((*placed.path, "match", "path"), placed.at("cache")))


def shared_private_answers(config: Config) -> Iterator[Finding]:
    """A shared entry for identified users may hold nothing that is one user's."""
    for placed in caching(config):
        if placed.policy.identity.kind != "shared":
            continue
        for word in sorted(placed.policy.override & _SHARED_SECRETS.keys()):
            message = (
                f"found {word} together with identity: shared, which gives everybody {_SHARED_SECRETS[word]};"
                " expected identity: {header: Name} or {cookie: Name}"
            )
            yield Finding(message, (placed.at("override"), placed.at("identity")))


def wholesale_key_fields(config: Config) -> Iterator[Finding]:
    """These fields identify users; as part of a key they neither share well nor protect."""
    for placed in caching(config):
        for name in placed.policy.key.headers:
            if name in _WHOLESALE_FIELDS:
                message = f"found {name}, expected {_WHOLESALE_FIELDS[name]}"
                yield Finding(message, ((*placed.at("key"), "headers"),))


def bodies_larger_than_entries(config: Config) -> Iterator[Finding]:
    """One limit holds for both tiers."""
    most = config.l1.max_entry_bytes
    for placed in in_force(config):
        largest = placed.policy.max_body
        if largest is not None and largest > most:
            message = f"found {largest} bytes, expected at most l1.max_entry_bytes ({most} bytes)"
            yield Finding(message, (placed.at("max_body"), ("l1", "max_entry_bytes")))


def unknown_tag_parameters(config: Config) -> Iterator[Finding]:
    """A tag names what its path has."""
    for placed in in_force(config):
        match = placed.route.match if placed.route else None
        known = patterns.parameters(match.path) if match else ()
        for tag in placed.policy.tags:
            for name in patterns.parameters(tag):
                if name not in known:
                    yield _unknown_parameter(placed, tag, name, known)


def _unknown_parameter(placed: Placed, tag: str, name: str, known: tuple[str, ...]) -> Finding:
    index = placed.policy.tags.index(tag)
    expected = " or ".join(known) or "a path with parameters"
    message = f"found {{{name}}} in {tag}, expected {expected}{suggestion(name, known)}"
    return Finding(message, ((*placed.at("tags"), index), (*placed.path, "match")))


def excessive_jitter(config: Config) -> Iterator[Finding]:
    """Beyond it some entries would live hardly at all."""
    for placed in in_force(config):
        if placed.policy.jitter > MOST_JITTER:
            yield Finding(
                f"found {placed.policy.jitter:.0%}, expected at most {MOST_JITTER:.0%}",
                (placed.at("jitter"),),
            )


def request_dependent_negatives(config: Config) -> Iterator[Finding]:
    """A denial of service by cache: one client's bad request would be everybody's answer."""
    for placed in in_force(config):
        for status in sorted(placed.policy.negative.statuses.keys() & _REQUEST_DEPENDENT_STATUSES):
            message = (
                f"found {status}, which depends on more than the URL; expected a status such as 404 or 410"
            )
            yield Finding(message, ((*placed.at("negative"), str(status)),))


def overruled_origin_without_ttl(config: Config) -> Iterator[Finding]:
    """`ttl` cannot win where there is none."""
    for placed in caching(config):
        if not placed.policy.respect_origin and placed.policy.ttl is None:
            message = "found false without a ttl, expected a ttl that wins over the origin's lifetimes"
            yield Finding(message, (placed.at("respect_origin"), placed.at("ttl")))


ROUTE_FAULTS = (
    duplicate_names,
    unreachable_routes,
    cacheable_by_ending_alone,
    shared_private_answers,
    wholesale_key_fields,
    bodies_larger_than_entries,
    unknown_tag_parameters,
    excessive_jitter,
    request_dependent_negatives,
    overruled_origin_without_ttl,
)
