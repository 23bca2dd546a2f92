"""Builders for what routing and keys work on: requests, and routes from the YAML's shape."""

from __future__ import annotations

from typing import Any

from proxy.config.schema import Config
from proxy.model import Fields, Request
from proxy.policy.routes import Route, RouteMatch, Routes

SECRET = b"a secret of the tests"


def get(target: bytes = b"/", *lines: tuple[bytes, bytes], **changes: Any) -> Request:
    """A GET request for host `shop`, with these field lines."""
    return Request(**{"method": "GET", "target": target, "fields": Fields(lines), "host": b"shop", **changes})


def routes_of(*routes: dict[str, Any], **config: Any) -> Routes:
    """Compiled routes of a configuration that is otherwise the default one."""
    return Routes(
        Config.model_validate({"origin": {"url": "http://127.0.0.1:8000"}, "routes": list(routes), **config})
    )


def match_all(**policy: Any) -> RouteMatch:
    """The match of any request with a single route for every path, of this policy."""
    return routes_of({"name": "all", "match": {"path": "/**"}, **policy}).match(get())


def route_of(**policy: Any) -> Route:
    """A single route for every path, of this policy."""
    return match_all(**policy).route
