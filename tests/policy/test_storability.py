from typing import Any

import pytest

from proxy.model import FieldLine, Fields, Framing, Reason, Request, ResponseHead
from proxy.policy.directives import response_directives
from proxy.policy.storability import kept_fields, refusal
from tests.support.responses import cache_control, date, head
from tests.support.routing import get, match_all, route_of

FRESH = (b"Cache-Control", b"max-age=3600")
WITH_AUTHORIZATION = get(b"/", (b"Authorization", b"FOO"))
WITH_COOKIE = get(b"/", (b"Cookie", b"a=b"))
EVENTS = b"text/event-stream"
COOKIE = (b"Set-Cookie", b"a=b")
NO_STORE = get(b"/", (b"Cache-Control", b"no-store"))


def reason_of(
    given: ResponseHead,
    request: Request | None = None,
    *,
    framing: Framing = Framing.LENGTH,
    profile: str = "safe",
    **policy: Any,
) -> Reason | None:
    directives = response_directives(given.fields)
    return refusal(request or get(), given, framing, match_all(**policy), directives, profile=profile)


STORED: list[tuple[ResponseHead, Request, dict[str, Any]]] = [
    (head(FRESH), get(), {}),
    (head(FRESH), get(b"/", (b"Range", b"bytes=0-1"), (b"Cache-Control", b"max-age=0")), {}),
    (head(FRESH), WITH_COOKIE, {}),  # other-cookie
    (cache_control(b"max-age=3600, public"), WITH_AUTHORIZATION, {}),  # other-authorization-public
    (cache_control(b"max-age=3600, must-revalidate"), WITH_AUTHORIZATION, {}),
    (cache_control(b"s-maxage=3600"), WITH_AUTHORIZATION, {}),  # other-authorization-smaxage
    (head(FRESH), WITH_AUTHORIZATION, {"identity": "shared"}),
    (head(FRESH), WITH_AUTHORIZATION, {"identity": {"header": "Authorization"}}),
    (head(FRESH), NO_STORE, {"client_cache_control": "ignore"}),
    (cache_control(b"no-store"), get(), {"override": ["no-store"]}),
    (cache_control(b"private"), get(), {"override": ["private"]}),
    (cache_control(b'private="a", no-cache="b"'), get(), {}),
    (cache_control(b"no-store, must-understand"), get(), {}),  # status-200-must-understand
    (cache_control(b"no-store", (b"CDN-Cache-Control", b"max-age=1")), get(), {}),  # cdn-fresh-cc-nostore
    (head(FRESH, (b"Vary", b"Foo, Bar")), get(), {}),
    (head(FRESH, (b"Content-Type", b"text/event-streams")), get(), {}),
    (head(FRESH, COOKIE), get(), {"override": ["set-cookie"]}),
    (cache_control(b'no-cache="Set-Cookie"', COOKIE), get(), {}),
    (cache_control(b'private="set-cookie"', COOKIE), get(), {}),
    *((head(FRESH, status=status), get(), {}) for status in (200, 204, 299, 301, 302, 404, 499, 503, 599)),
    *((cache_control(b"must-understand", status=status), get(), {}) for status in (200, 302, 404, 451, 505)),
]
REFUSED: list[tuple[ResponseHead, Request, dict[str, Any], Reason]] = [
    (head(FRESH), get(), {"cache": False}, Reason.ROUTE),
    (head(FRESH), get(method="HEAD"), {}, Reason.METHOD),
    (head(FRESH), get(method="POST"), {}, Reason.METHOD),
    (head(FRESH), NO_STORE, {}, Reason.REQUEST_NO_STORE),
    (head(FRESH), WITH_AUTHORIZATION, {}, Reason.AUTHORIZATION),  # other-authorization
    (cache_control(b"max-age=1, s-maxage=1.5"), WITH_AUTHORIZATION, {}, Reason.AUTHORIZATION),
    (cache_control(b"max-age=1, proxy-revalidate"), WITH_AUTHORIZATION, {}, Reason.AUTHORIZATION),
    (head(FRESH), WITH_AUTHORIZATION, {"identity": {"header": "X-User"}}, Reason.AUTHORIZATION),
    *(
        (head(FRESH, status=status), get(), {}, Reason.STATUS)
        for status in (103, 199, 304, 428, 429, 431, 511)
    ),
    (cache_control(b"max-age=1, must-understand", status=599), get(), {}, Reason.STATUS),
    (cache_control(b"no-store, must-understand", status=599), get(), {}, Reason.STATUS),
    (cache_control(b"must-understand", status=299), get(), {}, Reason.STATUS),
    (cache_control(b"max-age=10000, no-store"), get(), {}, Reason.NO_STORE),  # cc-resp-no-store-fresh
    (cache_control(b"no-store"), get(), {"override": ["private"]}, Reason.NO_STORE),
    (cache_control(b"no-store"), get(), {"ttl": 60, "respect_origin": False}, Reason.NO_STORE),
    (cache_control(b"private, max-age=3600"), get(), {}, Reason.PRIVATE),  # cc-resp-private-shared
    (cache_control(b"private"), get(), {"override": ["no-store", "set-cookie"]}, Reason.PRIVATE),
    (cache_control(b'private="a", private'), get(), {}, Reason.PRIVATE),
    (
        cache_control(b"max-age=1", (b"CDN-Cache-Control", b"private")),
        get(),
        {},
        Reason.PRIVATE,
    ),  # cdn-private
    (head(FRESH, (b"Vary", b"Foo, *")), get(), {}, Reason.VARY_STAR),
    (head(FRESH, (b"Content-Type", b"text/event-stream")), get(), {}, Reason.EVENT_STREAM),
    (head(FRESH, (b"Content-Type", b" Text/Event-Stream ;charset=x")), get(), {}, Reason.EVENT_STREAM),
    (head(FRESH, COOKIE), get(), {}, Reason.SET_COOKIE),
    (cache_control(b'private="set-cookie"', COOKIE), get(), {"override": ["private"]}, Reason.SET_COOKIE),
]


@pytest.mark.parametrize(("given", "request_", "policy"), STORED)
def test_nothing_is_against_storing(given: ResponseHead, request_: Request, policy: dict[str, Any]) -> None:
    assert reason_of(given, request_, **policy) is None


@pytest.mark.parametrize(("given", "request_", "policy", "reason"), REFUSED)
def test_refusal_says_why(
    given: ResponseHead, request_: Request, policy: dict[str, Any], reason: Reason
) -> None:
    assert reason_of(given, request_, **policy) is reason


@pytest.mark.parametrize(
    ("framing", "profile", "reason"),
    [
        (Framing.NONE, "safe", None),
        (Framing.LENGTH, "safe", None),
        (Framing.CHUNKED, "safe", None),
        (Framing.CLOSE, "safe", Reason.CLOSE_DELIMITED),
        (Framing.CLOSE, "rfc9111", None),
    ],
)
def test_only_a_proven_end_makes_a_body_complete(
    framing: Framing, profile: str, reason: Reason | None
) -> None:
    assert reason_of(head(FRESH), framing=framing, profile=profile) is reason


RANGED = get(b"/", (b"Range", b"bytes=0-4"))
RESUMED = get(b"/", (b"Range", b"bytes=0-4"), (b"If-Range", b'"a"'))
CONTENT_RANGE = (b"Content-Range", b"bytes 0-4/10")
PARTS: list[tuple[ResponseHead, Request, str, Reason | None]] = [
    (head(FRESH, CONTENT_RANGE, (b"ETag", b'"a"'), status=206), RANGED, "safe", None),
    (head(FRESH, CONTENT_RANGE, (b"Last-Modified", date(-60)), status=206), RANGED, "safe", None),
    (head(FRESH, CONTENT_RANGE, (b"ETag", b'W/"a"'), status=206), RANGED, "safe", Reason.INCOMPLETE),
    (head(FRESH, CONTENT_RANGE, status=206), RANGED, "safe", Reason.INCOMPLETE),
    (head(FRESH, CONTENT_RANGE, (b"ETag", b'"a"'), status=206), RESUMED, "safe", Reason.INCOMPLETE),
    (head(FRESH, (b"ETag", b'"a"')), RESUMED, "safe", None),
    (head(FRESH, CONTENT_RANGE, status=206), RANGED, "rfc9111", None),
    (head(FRESH, CONTENT_RANGE, (b"ETag", b'"a"'), status=206), get(), "rfc9111", Reason.INCOMPLETE),
    (head(FRESH, (b"ETag", b'"a"'), status=206), RANGED, "rfc9111", Reason.INCOMPLETE),
    (head(FRESH), RANGED, "safe", None),
    (head(FRESH, status=416), RANGED, "safe", Reason.RANGE),
    (head(FRESH, status=404), RANGED, "rfc9111", Reason.RANGE),
    (head(FRESH, status=416), get(), "safe", None),
]
"""A part is kept for a request that asked for one, if it says what it is of."""


@pytest.mark.parametrize(("given", "request_", "profile", "reason"), PARTS)
def test_part(given: ResponseHead, request_: Request, profile: str, reason: Reason | None) -> None:
    assert reason_of(given, request_, profile=profile) is reason


def test_set_cookie_is_stored_to_the_letter() -> None:  # other-set-cookie
    assert reason_of(head(FRESH, COOKIE), profile="rfc9111") is None


def test_event_stream_is_not_stored_to_the_letter_either() -> None:
    given = head(FRESH, (b"Content-Type", EVENTS))

    assert reason_of(given, profile="rfc9111") is Reason.EVENT_STREAM


A, B, C = (b"A", b"1"), (b"B", b"2"), (b"C", b"3")
KEPT: list[tuple[list[FieldLine], dict[str, Any], list[FieldLine]]] = [
    ([A, (b"Age", b"7"), B, A], {}, [A, B, A]),
    ([A, (b"Surrogate-Key", b"x"), (b"XKEY", b"x"), (b"cache-tag", b"x")], {}, [A]),
    ([(b"Cache-Groups", b'"x"'), A], {}, [(b"Cache-Groups", b'"x"'), A]),
    (
        [
            A,
            (b"Proxy-Authenticate", b"x"),
            (b"Proxy-Authentication-Info", b"x"),
            (b"Proxy-Authorization", b"x"),
        ],
        {},
        [A],
    ),
    (
        [(b"CDN-Cache-Control", b"max-age=1"), (b"Surrogate-Control", b"max-age=2"), A],
        {},
        [(b"CDN-Cache-Control", b"max-age=1"), (b"Surrogate-Control", b"max-age=2"), A],
    ),
    ([(b"Cache-Control", b'no-cache="a"'), A, B], {}, [(b"Cache-Control", b'no-cache="a"'), B]),
    ([(b"Cache-Control", b'no-cache="a, b"'), A, B, C], {}, [(b"Cache-Control", b'no-cache="a, b"'), C]),
    ([(b"Cache-Control", b'private="A"'), A, B], {}, [(b"Cache-Control", b'private="A"'), B]),
    (
        [(b"Cache-Control", b'private="A"'), A],
        {"override": ["private"]},
        [(b"Cache-Control", b'private="A"'), A],
    ),
    (
        [(b"Cache-Control", b'no-cache="date"'), (b"Date", b"x")],
        {},
        [(b"Cache-Control", b'no-cache="date"'), (b"Date", b"x")],
    ),
    ([COOKIE, A, COOKIE], {}, [COOKIE, A, COOKIE]),
    ([COOKIE, A, COOKIE], {"override": ["set-cookie"]}, [A]),
]


@pytest.mark.parametrize(("lines", "policy", "kept"), KEPT)
def test_fields_that_are_kept(lines: list[FieldLine], policy: dict[str, Any], kept: list[FieldLine]) -> None:
    fields = Fields(lines)

    assert kept_fields(fields, response_directives(fields), route_of(**policy).policy) == Fields(kept)
