"""What a successful unsafe request makes untrue (RFC 9111 §4.4)."""

from __future__ import annotations

import pytest

from proxy.engine.unsafe_methods import invalidated_by, names_its_target
from proxy.model import FieldLine
from tests.support.responses import head
from tests.support.routing import get, routes_of

ROUTES = routes_of(
    {"name": "private", "match": {"path": "/private/**"}, "cache": False},
    {"name": "all", "match": {"path": "/**"}},
)


def purged(method: str, *lines: FieldLine, status: int = 200, target: bytes = b"/a/b") -> list[str]:
    """The URLs that this request and its answer purge."""
    selectors = invalidated_by(get(target, method=method), head(*lines, status=status), ROUTES)
    return [selector.value for selector in selectors]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_safe_methods_purge_nothing(method: str) -> None:
    assert purged(method) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "X-OTHER"])
def test_all_other_methods_purge_their_target(method: str) -> None:
    assert purged(method) == ["http://shop/a/b"]


@pytest.mark.parametrize(
    ("status", "count"), [(199, 0), (200, 1), (204, 1), (302, 1), (399, 1), (400, 0), (404, 0), (503, 0)]
)
def test_only_a_success_or_a_redirect_purges(status: int, count: int) -> None:
    assert len(purged("POST", status=status)) == count


@pytest.mark.parametrize("name", [b"Location", b"Content-Location"])
@pytest.mark.parametrize(
    ("value", "others"),
    [
        (b"/c", ["http://shop/c"]),
        (b"c?x=1", ["http://shop/a/c?x=1"]),
        (b"http://shop/d", ["http://shop/d"]),
        (b"http://SHOP/d", ["http://shop/d"]),
        (b"http://shop", ["http://shop/"]),
        (b"//shop/e", ["http://shop/e"]),
        (b"http://shop:80/f", ["http://shop/f"]),
        (b"https://shop:443/f", ["http://shop/f"]),
        (b"http://shop:8080/f", []),
        (b"/a/b", []),
        (b"/private/x", []),
        (b"http://elsewhere/d", []),
        (b"http://[broken/", []),
        (b"", []),
    ],
)
def test_what_the_answer_names_on_the_same_host_is_purged_too(
    name: bytes, value: bytes, others: list[str]
) -> None:
    assert purged("POST", (name, value)) == ["http://shop/a/b", *others]


def test_what_no_route_caches_need_not_be_purged() -> None:
    assert purged("POST", target=b"/private/x") == []


@pytest.mark.parametrize(
    ("location", "named"),
    [
        (b"/a/b", True),
        (b"b", True),
        (b"", True),
        (b"http://shop/a/b", True),
        (b"HTTP://SHOP/a/b", True),
        (b"/a/b#part", True),
        (b"/a/b?", True),
        (b"/a/b?x=1", False),
        (b"/a/B", False),
        (b"/a", False),
        (b"http://other/a/b", False),
        (b"http://[", False),
    ],
)
def test_content_location_may_name_the_target(location: bytes, named: bool) -> None:
    given = head((b"Content-Location", location))

    assert names_its_target(get(b"/a/b", method="POST"), given) is named


def test_without_content_location_the_target_is_not_named() -> None:
    assert not names_its_target(get(b"/a/b", method="POST"), head())


INVALIDATES = (b"Cache-Group-Invalidation", b'"carts", "prices"')


def test_groups_of_the_same_origin_are_purged() -> None:
    assert purged("POST", INVALIDATES) == ["http://shop/a/b", "http://shop\ncarts", "http://shop\nprices"]


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("QUERY", 200), ("POST", 404)])
def test_groups_are_left_alone_where_the_target_is(method: str, status: int) -> None:
    assert purged(method, INVALIDATES, status=status) == []
