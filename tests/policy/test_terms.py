"""What is remembered of the terms that a response is stored on: the same as if each were read anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import LETTER, Fields, Framing, LifetimeSource, Reason, Request, ResponseHead, Rule
from proxy.policy import terms
from proxy.policy.freshness import Lifetime
from proxy.policy.routes import RouteMatch
from proxy.policy.terms import Terms, terms_of
from tests.support.responses import cache_control, head
from tests.support.routing import get, match_all, route_of

ROUTES = [
    route_of(),
    route_of(ttl=30, respect_origin=False),
    route_of(override=["private", "set-cookie", "no-store"]),
    route_of(client_cache_control="ignore", negative={404: 5, "errors": {503: 1}}),
    route_of(identity="shared", stale_while_revalidate=7, stale_if_error=70),
]
RESPONSE_LINES = st.tuples(
    st.sampled_from(
        [
            b"Cache-Control",
            b"CDN-Cache-Control",
            b"Surrogate-Control",
            b"Vary",
            b"Content-Type",
            b"Content-Range",
            b"ETag",
            b"Last-Modified",
            b"Set-Cookie",
            b"Server",
        ]
    ),
    st.sampled_from(
        [
            b"",
            b"max-age=60",
            b"s-maxage=5, stale-while-revalidate=9",
            b'private="set-cookie", max-age=1',
            b"no-store, must-understand",
            b"no-cache, public",
            b"private",
            b"*",
            b"Accept",
            b"text/event-stream",
            b"bytes 0-1/4",
            b'"tag"',
        ]
    ),
)
STATUSES = st.sampled_from([200, 206, 304, 404, 503])
REQUEST_LINES = st.sampled_from(
    [
        (b"Authorization", b"Basic x"),
        (b"Cache-Control", b"no-store"),
        (b"Pragma", b"no-cache"),
        (b"Range", b"bytes=0-1"),
        (b"If-Range", b'"tag"'),
        (b"Accept", b"*/*"),
        (b"Cookie", b"a=b"),
    ]
)


def terms_for(given: ResponseHead, request: Request | None = None, **policy: Any) -> Terms | Reason:
    return terms_of(request or get(), given, Framing.LENGTH, match_all(**policy), profile="safe")


@given(
    st.builds(get, st.just(b"/"), REQUEST_LINES, method=st.sampled_from(["GET", "HEAD"])) | st.just(get()),
    st.builds(ResponseHead, STATUSES, st.builds(Fields, st.lists(RESPONSE_LINES, max_size=4))),
    st.sampled_from(list(Framing)),
    st.builds(RouteMatch, st.sampled_from(ROUTES), st.sampled_from([None, Reason.ROUTE])),
    st.sampled_from(["safe", LETTER]),
)
def test_what_is_remembered_is_what_is_read(
    asked: Request, answer: ResponseHead, framing: Framing, match: RouteMatch, profile: str
) -> None:
    remembered = terms_of(asked, answer, framing, match, profile=profile)

    assert remembered == terms._read(asked, answer, framing, match, profile)


def test_a_response_that_differs_in_other_fields_only_is_not_read_again() -> None:
    match = match_all()
    first = head((b"Cache-Control", b"max-age=60"), (b"ETag", b'"a"'))
    other = head((b"ETag", b'"b"'), (b"Server", b"x"), (b"Cache-Control", b"max-age=60"))

    one = terms_of(get(), first, Framing.LENGTH, match, profile="safe")

    assert terms_of(get(b"/x"), other, Framing.LENGTH, match, profile="safe") is one


def test_another_framing_is_another_question() -> None:
    match = match_all()
    given = cache_control(b"max-age=61")

    said = [terms_of(get(), given, framing, match, profile="safe") for framing in Framing]

    assert [isinstance(one, Terms) for one in said] == [framing is not Framing.CLOSE for framing in Framing]


@pytest.mark.parametrize(
    "given",
    [
        cache_control(b"max-age=60", (b"Content-Type", b"x" * 256)),
        cache_control(b"max-age=60", *[(b"Vary", b"a")] * 8),
    ],
)
def test_long_values_and_many_lines_are_not_remembered(given: ResponseHead) -> None:
    match = match_all()

    one = terms_of(get(), given, Framing.LENGTH, match, profile="safe")
    other = terms_of(get(), given, Framing.LENGTH, match, profile="safe")

    assert one == other
    assert one is not other


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        (b"max-age=60", Rule.NONE),
        (b"no-cache, max-age=60", Rule.NO_CACHE),
        (b"max-age=60, must-revalidate", Rule.MUST_REVALIDATE | Rule.AUTHORIZATION_SHARED),
        (b"max-age=60, proxy-revalidate", Rule.MUST_REVALIDATE),
        (b"s-maxage=60", Rule.SHARED_MAX_AGE | Rule.AUTHORIZATION_SHARED),
        (b"max-age=60, public, immutable", Rule.AUTHORIZATION_SHARED | Rule.IMMUTABLE),
    ],
)
def test_directives_become_rules(value: bytes, rules: int) -> None:
    said = terms_for(cache_control(value))

    assert isinstance(said, Terms)
    assert said.rules == rules


def test_the_longest_window_counts() -> None:
    said = terms_for(head(), stale_while_revalidate=7, stale_if_error=70)

    assert isinstance(said, Terms)
    assert said.longest_stale == 70
    assert said.dateless is None


def test_what_can_be_validated_is_of_use_for_as_long_as_the_route_keeps_it() -> None:
    longer, shorter = (
        terms_for(head(), keep=80, stale_if_error=70),
        terms_for(head(), keep=60, stale_if_error=70),
    )

    assert isinstance(longer, Terms)
    assert isinstance(shorter, Terms)
    assert (longer.longest_kept, shorter.longest_kept) == (80, 70)


def test_the_route_gives_a_lifetime_where_the_origin_states_none() -> None:
    said = terms_for(head(), ttl=5)

    assert isinstance(said, Terms)
    assert (said.dateless, said.by_route) == (None, Lifetime(5, LifetimeSource.ROUTE))


def test_a_remembered_error_does_not_outlive_its_lifetime() -> None:
    said = terms_for(head(status=503), negative={"errors": {503: 5}}, stale_if_error=70)

    assert isinstance(said, Terms)
    assert said.longest_stale == 0
    assert said.dateless is None


def test_the_route_goes_before_the_origin_where_it_is_not_respected() -> None:
    said = terms_for(cache_control(b"max-age=60"), ttl=5, respect_origin=False)

    assert isinstance(said, Terms)
    assert isinstance(said.dateless, Lifetime)
    assert said.dateless.seconds == 5
