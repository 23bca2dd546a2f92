from typing import Any

import pytest

from proxy.model import Fields, Framing, LifetimeSource, Position, Reason, Request, ResponseHead, Rule
from proxy.policy.cache_key import CacheKey
from proxy.policy.storing import StorePlan, plan, stored
from proxy.policy.tags import MOST_TAGS
from tests.support.responses import NOW, as_planned, cache_control, date, draft_of, head, plan_of
from tests.support.routing import get, match_all, routes_of

ETAG = (b"ETag", b'"abc"')
MODIFIED = (b"Last-Modified", date(-1000))
WITH_COOKIE = get(b"/", (b"Cookie", b"a=b"))

REFUSED: list[tuple[ResponseHead, Request, dict[str, Any], Reason]] = [
    (head(), get(), {}, Reason.NO_LIFETIME),  # freshness-none
    (head(status=302), get(), {"ttl": 60}, Reason.NO_LIFETIME),
    (head(ETAG, status=302), get(), {}, Reason.NO_LIFETIME),
    (head(ETAG, MODIFIED, status=503), get(), {}, Reason.NO_LIFETIME),  # heuristic-503-not_cached
    (head((b"ETag", b"")), get(), {}, Reason.NO_LIFETIME),
    (head(ETAG, ETAG), get(), {}, Reason.NO_LIFETIME),
    (head((b"Last-Modified", b"yesterday")), get(), {}, Reason.NO_LIFETIME),
    (cache_control(b"no-cache"), get(), {}, Reason.NO_LIFETIME),
    (cache_control(b"max-age=10000, no-cache"), get(), {}, Reason.NO_LIFETIME),  # cc-resp-no-cache
    (cache_control(b"no-cache, stale-if-error=60"), get(), {"ttl": 60}, Reason.NO_LIFETIME),
    (cache_control(b"max-age=0"), get(), {"stale_if_error": 0}, Reason.NO_LIFETIME),
    (cache_control(b"max-age=0, must-revalidate"), get(), {}, Reason.NO_LIFETIME),
    (cache_control(b"s-maxage=0"), get(), {}, Reason.NO_LIFETIME),
    (cache_control(b"max-age=0", status=503), get(), {}, Reason.NO_LIFETIME),
    (cache_control(b"max-age=0", ETAG), get(), {"keep": 0, "stale_if_error": 0}, Reason.NO_LIFETIME),
    (cache_control(b"s-maxage=30", (b"Age", b"30")), get(), {}, Reason.NO_LIFETIME),
    (head(), WITH_COOKIE, {"ttl": 60}, Reason.COOKIE),
    (head(status=404), WITH_COOKIE, {"negative": {404: 30}}, Reason.COOKIE),
    (head(MODIFIED), WITH_COOKIE, {}, Reason.COOKIE),
    (head(ETAG), WITH_COOKIE, {}, Reason.COOKIE),
    (
        cache_control(b"max-age=60", (b"Cache-Tag", b",".join(b"t%d" % n for n in range(MOST_TAGS + 1)))),
        get(),
        {},
        Reason.TOO_MANY_TAGS,
    ),
    (cache_control(b"max-age=60", (b"xkey", b"x" * 1025)), get(), {}, Reason.TOO_MANY_TAGS),
    (cache_control(b"no-store"), get(), {}, Reason.NO_STORE),
]


@pytest.mark.parametrize(("given", "request_", "policy", "reason"), REFUSED)
def test_refusal_says_why(
    given: ResponseHead, request_: Request, policy: dict[str, Any], reason: Reason
) -> None:
    assert plan_of(given, request_, **policy) is reason


LIFETIMES: list[tuple[ResponseHead, Request, dict[str, Any], float, LifetimeSource]] = [
    (cache_control(b"max-age=60"), get(), {}, 60.0, LifetimeSource.ORIGIN),
    (cache_control(b"max-age=60"), WITH_COOKIE, {}, 60.0, LifetimeSource.ORIGIN),
    (head(), get(), {"ttl": 60}, 48.0, LifetimeSource.ROUTE),
    (head(), WITH_COOKIE, {"ttl": 60, "ignore_cookies": ["a"]}, 48.0, LifetimeSource.ROUTE),
    (head(status=404), get(), {"negative": {404: 30}}, 24.0, LifetimeSource.NEGATIVE),
    (head(MODIFIED), get(), {}, 100.0, LifetimeSource.HEURISTIC),
    (head(ETAG), get(), {}, 0.0, LifetimeSource.HEURISTIC),
    (head(ETAG, status=404), get(), {}, 0.0, LifetimeSource.HEURISTIC),
    (cache_control(b"public", ETAG, status=302), get(), {}, 0.0, LifetimeSource.HEURISTIC),
    (cache_control(b"max-age=0", ETAG), get(), {}, 0.0, LifetimeSource.ORIGIN),
    (cache_control(b"max-age=0"), get(), {}, 0.0, LifetimeSource.ORIGIN),
]


@pytest.mark.parametrize(("given", "request_", "policy", "seconds", "source"), LIFETIMES)
def test_lifetime_is_stored_as_rolled(
    given: ResponseHead, request_: Request, policy: dict[str, Any], seconds: float, source: LifetimeSource
) -> None:
    draft = draft_of(given, request_, roll=0.0, **policy)

    assert (draft.lifetime, draft.source) == (pytest.approx(seconds), source)


@pytest.mark.parametrize(
    ("given", "policy", "refresh_age"),
    [
        (cache_control(b"max-age=60"), {}, 54.0),
        (cache_control(b"max-age=60"), {"jitter": "0%"}, None),
        (head(MODIFIED), {}, 90.0),
        (head(), {"ttl": 60}, None),
        (cache_control(b"max-age=60, immutable"), {}, None),
        (cache_control(b"max-age=60, no-cache", ETAG), {}, None),
        (cache_control(b"max-age=0", ETAG), {}, None),
    ],
)
def test_refresh_comes_before_the_end_that_the_origin_set(
    given: ResponseHead, policy: dict[str, Any], refresh_age: float | None
) -> None:
    assert draft_of(given, roll=0.5, **policy).refresh_age == refresh_age


RULES = [
    (b"max-age=60", Rule.NONE),
    (b"max-age=60, public", Rule.AUTHORIZATION_SHARED),
    (b"max-age=60, must-revalidate", Rule.MUST_REVALIDATE | Rule.AUTHORIZATION_SHARED),
    (b"max-age=60, proxy-revalidate", Rule.MUST_REVALIDATE),
    (b"max-age=60, s-maxage=1.5", Rule.SHARED_MAX_AGE),
    (b"s-maxage=60", Rule.SHARED_MAX_AGE | Rule.AUTHORIZATION_SHARED),
    (b"max-age=60, no-cache", Rule.NO_CACHE),
    (b'max-age=60, no-cache="a"', Rule.NONE),
    (b"max-age=60, immutable", Rule.IMMUTABLE),
]


@pytest.mark.parametrize(("value", "rules"), RULES)
def test_rules(value: bytes, rules: Rule) -> None:
    assert draft_of(cache_control(value, ETAG)).rules == rules


WINDOWS: list[tuple[ResponseHead, float | None, float | None]] = [
    (cache_control(b"max-age=60"), None, None),
    (cache_control(b"max-age=60, stale-while-revalidate=5, stale-if-error=6"), 5, 6),
    (cache_control(b"max-age=60, stale-while-revalidate=0"), 0, None),
    (cache_control(b"max-age=60", status=404), None, None),
    (cache_control(b"max-age=60", status=500), 0, 0),
    (cache_control(b"max-age=60", status=504), 0, 0),
    (cache_control(b"max-age=60, stale-while-revalidate=5", status=503), 5, 0),
]


@pytest.mark.parametrize(("given", "while_revalidate", "if_error"), WINDOWS)
def test_own_windows(given: ResponseHead, while_revalidate: float | None, if_error: float | None) -> None:
    draft = draft_of(given)

    assert (draft.stale_while_revalidate, draft.stale_if_error) == (while_revalidate, if_error)


EXPIRIES: list[tuple[ResponseHead, dict[str, Any], float]] = [
    (cache_control(b"max-age=60"), {}, 60 + 300),
    (cache_control(b"max-age=60"), {"stale_if_error": 0}, 60),
    (cache_control(b"max-age=60"), {"stale_if_error": 0, "stale_while_revalidate": 30}, 60 + 30),
    (cache_control(b"max-age=60", ETAG), {}, 60 + 600),
    (cache_control(b"max-age=60", MODIFIED), {"keep": 7, "stale_if_error": 0}, 60 + 7),
    (cache_control(b"max-age=60, stale-while-revalidate=5000", ETAG), {}, 60 + 5000),
    (cache_control(b"max-age=60, stale-if-error=7"), {}, 60 + 7),
    (cache_control(b"max-age=60, must-revalidate"), {}, 60),
    (cache_control(b"s-maxage=60"), {}, 60),
    (cache_control(b"max-age=60, no-cache", ETAG), {}, 60 + 600),
    (cache_control(b"no-cache", ETAG), {}, 600),  # cc-resp-no-cache-revalidate
    (cache_control(b"max-age=0, stale-while-revalidate=3600"), {}, 3600),
    (cache_control(b"max-age=60", (b"Age", b"20")), {}, 40 + 300),
    (cache_control(b"max-age=60", (b"Age", b"100")), {}, 260),
    (cache_control(b"s-maxage=30", (b"Age", b"29")), {}, 1),
    (cache_control(b"max-age=60", status=500), {}, 60),
]


@pytest.mark.parametrize(("given", "policy", "seconds"), EXPIRIES)
def test_entry_is_kept_while_it_is_of_use(
    given: ResponseHead, policy: dict[str, Any], seconds: float
) -> None:
    assert draft_of(given, **policy).expires_at == NOW + seconds


def test_draft_holds_what_the_head_says() -> None:
    given = ResponseHead(
        203,
        Fields(
            [
                (b"Date", date(-5)),
                (b"cache-control", b"max-age=60"),
                (b"Age", b"1"),
                ETAG,
                MODIFIED,
                (b"X", b"caf\xe9"),
                (b"Vary", b"B, a"),
                (b"xkey", b"t"),
            ]
        ),
        b"Fine",
    )
    planned = plan_of(given, requested_at=NOW - 2)

    assert isinstance(planned, StorePlan)
    assert planned.vary == (b"a", b"b")
    draft = as_planned(planned)
    assert (draft.status, draft.reason, draft.route) == (203, b"Fine", "all")
    assert draft.lines == (
        b"Date: " + date(-5) + b"\r\ncache-control: max-age=60\r\n"
        b'ETag: "abc"\r\nLast-Modified: ' + date(-1000) + b"\r\nX: caf\xe9\r\nVary: B, a\r\n"
    )
    assert (draft.received_at, draft.initial_age) == (NOW, 5.0)
    assert (draft.etag, draft.last_modified) == (b'"abc"', date(-1000))
    assert draft.tags == (b"t",)


@pytest.mark.parametrize(
    ("line", "etag", "last_modified"),
    [
        ((b"ETag", b'W/"a"'), b'W/"a"', None),
        ((b"ETag", b"unquoted"), b"unquoted", None),
        ((b"Last-Modified", b"Sunday, 06-Nov-94 08:49:37 GMT"), None, b"Sunday, 06-Nov-94 08:49:37 GMT"),
        ((b"Last-Modified", b"foo"), None, None),
    ],
)
def test_validators_are_kept_as_written(
    line: tuple[bytes, bytes], etag: bytes | None, last_modified: bytes | None
) -> None:
    draft = draft_of(cache_control(b"max-age=60", line))

    assert (draft.etag, draft.last_modified) == (etag, last_modified)


def test_a_repeated_validator_names_no_representation() -> None:
    draft = draft_of(cache_control(b"max-age=60", ETAG, ETAG, MODIFIED, MODIFIED))

    assert (draft.etag, draft.last_modified) == (None, None)


def test_of_several_dates_and_ages_the_first_counts() -> None:
    dates = head((b"Date", date(-20)), (b"Date", date()), (b"Cache-Control", b"max-age=60"), dated=False)
    ages = cache_control(b"max-age=60", (b"Age", b"10"), (b"Age", b"0"))

    assert [draft_of(given).initial_age for given in (dates, ages)] == [20.0, 10.0]


def test_tags_of_the_defaults_are_for_requests_without_a_route_too() -> None:
    match = routes_of(unmatched="cache", defaults={"tags": ["shop", "product:{id}"]}).match(get())

    planned = plan(
        get(),
        cache_control(b"max-age=60"),
        Framing.LENGTH,
        match,
        requested_at=NOW,
        received_at=NOW,
        roll=0.5,
        profile="safe",
    )

    assert isinstance(planned, StorePlan)
    assert as_planned(planned).tags == (b"shop",)


def test_tags_of_response_route_and_predecessor_are_joined() -> None:
    match = routes_of(
        {"name": "product", "match": {"path": "/products/{id}"}, "tags": ["product:{id}", "shop"]}
    ).match(get(b"/products/42"))

    planned = plan(
        get(b"/products/42"),
        cache_control(b"max-age=60", (b"Surrogate-Key", b"shop b")),
        Framing.CHUNKED,
        match,
        requested_at=NOW,
        received_at=NOW,
        roll=0.5,
        profile="safe",
        inherited_tags=(b"old", b"b"),
    )

    assert isinstance(planned, StorePlan)
    assert as_planned(planned).tags == (b"old", b"b", b"shop", b"product:42")


def test_stored_entry_knows_its_place_and_birth() -> None:
    planned = plan_of(cache_control(b"max-age=60"))
    assert isinstance(planned, StorePlan)
    born = Position(1, 2, 3, 4)

    entry = stored(
        planned, b"body", CacheKey(b"k" * 16, b"shop", b"/a", b"/a?x"), born=born, fetch_seconds=0.5
    )

    assert (entry.body, entry.host, entry.target, entry.born, entry.fetch_seconds) == (
        b"body",
        b"shop",
        b"/a",
        born,
        0.5,
    )
    assert entry.lines == as_planned(planned).lines


def test_route_that_caches_nothing_plans_nothing() -> None:
    assert match_all(cache=False).reason is Reason.ROUTE
    assert plan_of(cache_control(b"max-age=60"), cache=False) is Reason.ROUTE


def test_entries_share_the_reason_and_the_name_of_their_route() -> None:
    match = match_all()
    first, second = (
        plan(
            get(),
            ResponseHead(200, cache_control(b"max-age=60").fields, b"O%b" % b"K"),
            Framing.LENGTH,
            match,
            requested_at=NOW,
            received_at=NOW,
            roll=0.5,
            profile="safe",
        )
        for _ in range(2)
    )
    assert isinstance(first, StorePlan)
    assert isinstance(second, StorePlan)

    assert first.head.reason is not second.head.reason
    assert as_planned(first).reason is as_planned(second).reason
    assert as_planned(first).route is match.route.name
