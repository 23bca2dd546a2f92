"""Every policy that a configuration puts in force, and where each of its values was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from proxy.config.nodes import Path
from proxy.config.policy import Route, RoutePolicy
from proxy.config.schema import Config

DEFAULTS: Path = ("defaults",)


class Placed(NamedTuple):
    """A policy in force and its place; `route` is None for requests that match no route."""

    policy: RoutePolicy
    path: Path
    route: Route | None

    def at(self, key: str) -> Path:
        """Where the value of `key` was given: in the route, or in the defaults that it inherits."""
        is_own = self.route is None or key in self.route.model_fields_set
        return (*(self.path if is_own else DEFAULTS), key)


def in_force(config: Config) -> Iterator[Placed]:
    """The routes in order, and the defaults where they serve unmatched requests."""
    for index, route in enumerate(config.routes):
        yield Placed(route, ("routes", index), route)
    if config.unmatched == "cache":
        yield Placed(config.defaults, DEFAULTS, None)


def caching(config: Config) -> Iterator[Placed]:
    """Those of them that store anything."""
    return (placed for placed in in_force(config) if placed.policy.cache)
