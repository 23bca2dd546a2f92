from typing import Any

import pytest

from proxy.model import Forward, InboundBody, Reason, Request
from proxy.policy.bypass import Bypass, authorization_is_covered, bypass, cookies_are_covered
from tests.support.routing import get, match_all, route_of, routes_of


class NoBody:
    """A body that nobody reads."""

    length = 0

    async def read(self) -> bytes:
        return b""

    def take_rest(self) -> bytes | None:
        return None

    def abandon(self) -> None:
        pass


BODY: InboundBody = NoBody()
WHEN = {"bypass_when": {"headers": ["X-Preview-Mode"], "cookies": ["session"]}}

ASKED: list[tuple[dict[str, Any], Request]] = [
    ({}, get()),
    ({}, get(method="HEAD")),
    ({}, get(b"/", (b"Authorization", b"x"), (b"Cookie", b"a=1"), (b"Cache-Control", b"no-store"))),
    ({}, get(b"/", (b"Range", b"bytes=0-1"), (b"Expect", b"100-continue"))),
    ({}, get(b"/", (b"X-Preview-Mode", b"1"), (b"Cookie", b"session=1"))),
    ({}, get(b"/", (b"Connection", b"keep-alive"))),
    ({}, get(b"/", (b"Connection", b"Close, TE , ,"), (b"Connection", b"HTTP2-Settings, Upgrade"))),
    (WHEN, get(b"/", (b"X-Preview", b"1"), (b"Cookie", b"Session=1; sessions=2; a=session"))),
]
PASSED: list[tuple[dict[str, Any], Request, Forward, Reason]] = [
    ({"cache": False}, get(), Forward.BYPASS, Reason.ROUTE),
    ({"cache": False}, get(method="POST", body=BODY), Forward.BYPASS, Reason.ROUTE),
    ({}, get(method="POST"), Forward.METHOD, Reason.METHOD),
    ({}, get(method="get"), Forward.METHOD, Reason.METHOD),
    ({}, get(method="PURGE"), Forward.METHOD, Reason.METHOD),
    ({}, get(method="QUERY", body=BODY), Forward.METHOD, Reason.METHOD),
    ({}, get(body=BODY), Forward.BYPASS, Reason.BODY),
    ({}, get(method="HEAD", body=BODY), Forward.BYPASS, Reason.BODY),
    ({}, get(upgrade=True), Forward.BYPASS, Reason.UPGRADE),
    ({}, get(b"/", (b"Connection", b"X-Tenant")), Forward.BYPASS, Reason.CONNECTION_OPTION),
    ({}, get(b"/", (b"Connection", b"close, authorization")), Forward.BYPASS, Reason.CONNECTION_OPTION),
    (
        {},
        get(b"/", (b"Connection", b"close"), (b"Connection", b"Cookie")),
        Forward.BYPASS,
        Reason.CONNECTION_OPTION,
    ),
    (WHEN, get(b"/", (b"x-preview-mode", b"")), Forward.BYPASS, Reason.BYPASS_WHEN),
    (WHEN, get(b"/", (b"X_Preview-Mode", b"1")), Forward.BYPASS, Reason.BYPASS_WHEN),
    (WHEN, get(b"/", (b"Cookie", b"a=1; session=")), Forward.BYPASS, Reason.BYPASS_WHEN),
    (WHEN, get(b"/", (b"Cookie", b"session")), Forward.BYPASS, Reason.BYPASS_WHEN),
    (WHEN, get(b"/", (b"Cookie", b"a=1"), (b"Cookie", b"session=1")), Forward.BYPASS, Reason.BYPASS_WHEN),
    (WHEN, get(b"/", (b"Cookie", b'a="1;b=2"')), Forward.BYPASS, Reason.BYPASS_WHEN),
]


@pytest.mark.parametrize(("policy", "request_"), ASKED)
def test_cache_is_asked(policy: dict[str, Any], request_: Request) -> None:
    assert bypass(request_, match_all(**policy)) is None


@pytest.mark.parametrize(("policy", "request_", "forward", "reason"), PASSED)
def test_cache_is_not_asked(
    policy: dict[str, Any], request_: Request, forward: Forward, reason: Reason
) -> None:
    assert bypass(request_, match_all(**policy)) == Bypass(forward, reason)


def test_unsafe_target_and_no_route_are_reasons_of_their_own() -> None:
    routes = routes_of({"name": "a", "match": {"path": "/a"}})
    unsafe, unmatched = get(b"/a%2f"), get(b"/b")

    assert bypass(unsafe, routes.match(unsafe)) == Bypass(Forward.BYPASS, Reason.UNSAFE_TARGET)
    assert bypass(unmatched, routes.match(unmatched)) == Bypass(Forward.BYPASS, Reason.ROUTE)


COOKIES: list[tuple[dict[str, Any], bytes | None, bool]] = [
    ({}, None, True),
    ({}, b"", True),
    ({}, b"a=1", False),
    ({}, b"a", False),
    ({"identity": "shared"}, b"a=1", True),
    ({"identity": "shared"}, b'a="', True),
    ({"ignore_cookies": True}, b"a=1", True),
    ({"ignore_cookies": True}, b'a="', True),
    ({"ignore_cookies": ["a"]}, b"a=1", True),
    ({"ignore_cookies": ["a"]}, b"A=1", False),
    ({"ignore_cookies": ["a"]}, b"a=1; b=2", False),
    ({"ignore_cookies": ["a"]}, b'a="1;b=2"', False),
    ({"ignore_cookies": ["a"]}, b"=1", False),
    ({"ignore_cookies": ["a"]}, b"\xe9=1", False),
    ({"key": {"cookies": ["a"]}}, b"a=1", True),
    ({"key": {"cookies": ["a"]}, "ignore_cookies": ["b"]}, b"a=1;b=2; a=3", True),
    ({"key": {"cookies": ["a"]}, "ignore_cookies": ["b"]}, b"a=1;b=2;c=3", False),
    ({"identity": {"cookie": "sid"}}, b"sid=1", True),
    ({"identity": {"cookie": "sid"}}, b"sid=1; a=1", False),
    ({"identity": {"header": "sid"}}, b"sid=1", False),
    ({"identity": {"header": "Cookie"}}, b'sid="', True),
    ({"key": {"headers": ["Cookie"]}}, b'sid="', True),
    ({"bypass_when": {"cookies": ["a"]}}, b"a=1", False),
]


@pytest.mark.parametrize(("policy", "cookie", "is_covered"), COOKIES)
def test_cookies_are_covered_where_each_is_keyed_or_ignored(
    policy: dict[str, Any], cookie: bytes | None, is_covered: bool
) -> None:
    lines = [] if cookie is None else [(b"Cookie", cookie)]

    assert cookies_are_covered(get(b"/", *lines), route_of(**policy).policy) == is_covered


def test_cookies_of_all_lines_must_be_covered() -> None:
    request = get(b"/", (b"Cookie", b"a=1"), (b"cookie", b"b=2"))

    assert not cookies_are_covered(request, route_of(ignore_cookies=["a"]).policy)
    assert cookies_are_covered(request, route_of(ignore_cookies=["a", "b"]).policy)


AUTHORIZATION: list[tuple[dict[str, Any], bool, bool]] = [
    ({}, False, True),
    ({}, True, False),
    ({"identity": "shared"}, True, True),
    ({"identity": {"header": "authorization"}}, True, True),
    ({"identity": {"header": "Authorization"}}, True, True),
    ({"identity": {"header": "X-User"}}, True, False),
    ({"identity": {"cookie": "Authorization"}}, True, False),
    ({"key": {"headers": ["Authorization"]}}, True, True),
    ({"key": {"headers": ["X-A"], "cookies": ["authorization"]}}, True, False),
    ({"ignore_cookies": True}, True, False),
]


@pytest.mark.parametrize(("policy", "is_present", "is_covered"), AUTHORIZATION)
def test_authorization_is_covered_where_the_key_has_it_or_the_operator_shares(
    policy: dict[str, Any], is_present: bool, is_covered: bool
) -> None:
    lines = [(b"authorization", b"Bearer x")] if is_present else []

    assert authorization_is_covered(get(b"/", *lines), route_of(**policy).policy) == is_covered
