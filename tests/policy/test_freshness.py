from collections import Counter
from random import Random
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FieldLine, Fields, LifetimeSource, ResponseHead
from proxy.policy.directives import response_directives
from proxy.policy.freshness import (
    HEURISTIC_STATUSES,
    Lifetime,
    dated_lifetime,
    dateless_lifetime,
    initial_age,
    lifetime_by_route,
    refresh_age,
    spread,
)
from tests.support.responses import NOW, cache_control, date, head
from tests.support.routing import route_of

ORIGIN = LifetimeSource.ORIGIN
ROUTE = LifetimeSource.ROUTE
HEURISTIC = LifetimeSource.HEURISTIC
NEGATIVE = LifetimeSource.NEGATIVE
DAY = 86_400


def lifetime_of(given_head: ResponseHead, *, received_at: float = NOW, **policy: Any) -> Lifetime | None:
    directives = response_directives(given_head.fields)
    asked = given_head.status, directives, route_of(**policy).policy
    dateless = dateless_lifetime(*asked)
    return dateless or dated_lifetime(
        given_head, directives, lifetime_by_route(*asked), received_at=received_at
    )


def age_of(fields: Fields, *, requested_at: float = NOW, received_at: float = NOW) -> float:
    date, stated = fields.first(b"date"), fields.first(b"age")
    return initial_age(date, stated, requested_at=requested_at, received_at=received_at)


def expires(seconds: float, *lines: FieldLine) -> ResponseHead:
    return head((b"Expires", date(seconds)), *lines)


STATED: list[tuple[ResponseHead, float]] = [
    (cache_control(b"max-age=3600"), 3600),
    (cache_control(b"max-age=0"), 0),
    (cache_control(b"max-age=-3600"), 0),  # freshness-max-age-negative
    (cache_control(b"max-age=3600", (b"Expires", date(-7200))), 3600),  # freshness-max-age-expires
    (cache_control(b"max-age=3600", (b"Expires", b"0")), 3600),  # freshness-max-age-expires-invalid
    (cache_control(b"max-age=0", (b"Expires", date(3600))), 0),  # freshness-max-age-0-expires
    (cache_control(b"max-age=3600, s-maxage=1"), 1),  # freshness-max-age-s-maxage-shared-longer
    (cache_control(b"s-maxage=1, max-age=3600"), 1),  # freshness-max-age-s-maxage-shared-longer-reversed
    (cache_control(b"max-age=1, s-maxage=3600"), 3600),  # freshness-max-age-s-maxage-shared-shorter
    (cache_control(b"max-age=0, s-maxage=3600", (b"Expires", date(-10))), 3600),
    (cache_control(b"s-maxage=x, max-age=3600"), 0),
    (expires(30 * DAY), 30 * DAY),  # freshness-expires-future
    (expires(-30 * DAY), 0),  # freshness-expires-past
    (expires(0), 0),  # freshness-expires-present
    (expires(1), 1),
    (head((b"Expires", b"0")), 0),  # freshness-expires-invalid
    (head((b"Expires", b"")), 0),
    (head((b"Expires", b"Thu, 18 Aug 2050 02:01:18 UTC")), 0),
    (expires(10, (b"Expires", date(20))), 10),
    (expires(10, (b"Expires", b"x")), 0),
    (head((b"Date", date(400)), (b"Expires", date(300)), dated=False), 0),  # freshness-expires-old-date
    (head((b"Date", date(-10)), (b"Expires", date(10)), dated=False), 20),
    (head((b"Date", b"foo"), (b"Expires", date(10)), dated=False), 10),  # freshness-expires-invalid-date
    (head((b"Expires", date(10)), dated=False), 10),
    (head((b"Expires", b"Fri, 31 Dec 9999 23:59:59 GMT")), 2**31),
    (head((b"CDN-Cache-Control", b"max-age=60"), (b"Cache-Control", b"max-age=1"), (b"Expires", b"0")), 60),
    (cache_control(b"max-age=60", status=599), 60),  # status-599-fresh
]
NEITHER_STATED_NOR_ASSUMED = [
    head(),  # freshness-none
    cache_control(b"public"),
    cache_control(b"no-cache"),
    head((b"Last-Modified", b"yesterday")),
    head((b"CDN-Cache-Control", b"public"), (b"Cache-Control", b"max-age=60"), (b"Expires", date(60))),
]
ASSUMED = [
    (10, 1.0),
    (0, 0.0),
    (-10, 0.0),
    (DAY, 8640.0),
    (10 * DAY - 1, 86399.9),
    (10 * DAY, 86400.0),
    (10 * DAY + 1, 86400.0),
    (1000 * DAY, 86400.0),
]


def modified(seconds_ago: float, *lines: FieldLine, status: int = 200) -> ResponseHead:
    return head((b"Last-Modified", date(-seconds_ago)), *lines, status=status)


@pytest.mark.parametrize(("given_head", "seconds"), STATED)
def test_lifetime_that_the_origin_states(given_head: ResponseHead, seconds: float) -> None:
    assert lifetime_of(given_head) == (seconds, ORIGIN)


@pytest.mark.parametrize("given_head", NEITHER_STATED_NOR_ASSUMED)
def test_no_lifetime(given_head: ResponseHead) -> None:
    assert lifetime_of(given_head) is None


@pytest.mark.parametrize(("seconds_ago", "seconds"), ASSUMED)
def test_heuristic_is_a_tenth_and_at_most_a_day(seconds_ago: float, seconds: float) -> None:
    assert lifetime_of(modified(seconds_ago)) == (pytest.approx(seconds), HEURISTIC)


def test_heuristic_without_date_counts_from_the_receipt() -> None:
    given_head = head((b"Last-Modified", date(-10)), dated=False)

    assert lifetime_of(given_head, received_at=NOW + 10) == (2.0, HEURISTIC)


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
def test_status_that_is_heuristically_cacheable(status: int) -> None:  # heuristic-NNN-cached
    assert lifetime_of(modified(DAY, status=status)) == (8640.0, HEURISTIC)


@pytest.mark.parametrize("status", [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599])
def test_status_that_is_not(status: int) -> None:  # heuristic-NNN-not_cached
    assert lifetime_of(modified(DAY, status=status)) is None
    assert lifetime_of(modified(DAY, (b"Cache-Control", b"public"), status=status)) == (8640.0, HEURISTIC)


OF_THE_ROUTE: list[tuple[ResponseHead, dict[str, Any], Lifetime | None]] = [
    (head(), {"ttl": 60}, Lifetime(60, ROUTE)),
    (head(), {"ttl": 0}, Lifetime(0, ROUTE)),
    (modified(DAY), {"ttl": 60}, Lifetime(60, ROUTE)),
    (cache_control(b"max-age=5"), {"ttl": 60}, Lifetime(5, ORIGIN)),
    (head((b"Expires", b"0")), {"ttl": 60}, Lifetime(0, ORIGIN)),
    (cache_control(b"no-cache"), {"ttl": 60}, Lifetime(60, ROUTE)),
    (cache_control(b"max-age=5"), {"ttl": 60, "respect_origin": False}, Lifetime(60, ROUTE)),
    (cache_control(b"max-age=5"), {"respect_origin": False}, Lifetime(5, ORIGIN)),
    (modified(DAY), {"respect_origin": False}, Lifetime(8640, HEURISTIC)),
    (head(status=301), {"ttl": 60}, Lifetime(60, ROUTE)),
    (head(status=302), {"ttl": 60}, None),
    (cache_control(b"public", status=302), {"ttl": 60}, Lifetime(60, ROUTE)),
    (head(status=404), {"ttl": 60}, None),
    (cache_control(b"public", status=404), {"ttl": 60}, None),
    (head(status=500), {"ttl": 60}, None),
    (head(status=501), {"ttl": 60}, None),
    (modified(DAY, status=404), {"ttl": 60}, Lifetime(8640, HEURISTIC)),
    (head(status=404), {"negative": {404: 30}}, Lifetime(30, NEGATIVE)),
    (head(status=404), {"ttl": 60, "negative": {404: 30}}, Lifetime(30, NEGATIVE)),
    (head(status=404), {"negative": {404: 0}}, Lifetime(0, NEGATIVE)),
    (head(status=403), {"negative": {403: 3}}, Lifetime(3, NEGATIVE)),
    (head(status=410), {"negative": {404: 30}}, None),
    (modified(DAY, status=404), {"negative": {404: 30}}, Lifetime(30, NEGATIVE)),
    (cache_control(b"max-age=5", status=404), {"negative": {404: 30}}, Lifetime(5, ORIGIN)),
    (
        cache_control(b"max-age=5", status=404),
        {"negative": {404: 30}, "respect_origin": False},
        Lifetime(30, NEGATIVE),
    ),
    (head(status=500), {"negative": {"errors": {500: 1}}}, Lifetime(1, NEGATIVE)),
    (head(status=502), {"negative": {"errors": {500: 1}}}, None),
    (cache_control(b"max-age=5", status=500), {"negative": {"errors": {500: 1}}}, Lifetime(5, ORIGIN)),
]


@pytest.mark.parametrize(("given_head", "policy", "expected"), OF_THE_ROUTE)
def test_lifetime_that_the_route_gives(
    given_head: ResponseHead, policy: dict[str, Any], expected: Lifetime | None
) -> None:
    assert lifetime_of(given_head, **policy) == expected


AGES: list[tuple[list[FieldLine], float]] = [
    ([], 0),
    ([(b"Date", date())], 0),
    ([(b"Date", date(-7200))], 7200),  # freshness-max-age-date
    ([(b"Date", date(7200))], 0),
    ([(b"Date", b"foo")], 0),
    ([(b"Age", b"30")], 30),
    ([(b"Date", date(-10)), (b"Age", b"30")], 30),
    ([(b"Date", date(-40)), (b"Age", b"30")], 40),
    ([(b"Age", b"abc")], 0),  # age-parse-nonnumeric
    ([(b"Age", b"-7200")], 0),  # age-parse-negative
    ([(b"Age", b"7200.0")], 0),  # age-parse-float
    ([(b"Age", b"")], 0),
    ([(b"Age", b"2147483647")], 2147483647),  # age-parse-large-minus-one
    ([(b"Age", b"2147483648")], 2147483648),  # age-parse-large
    ([(b"Age", b"2147483649")], 2147483648),  # age-parse-larger
    ([(b"Age", b"9" * 5000)], 2147483648),
    ([(b"Age", b"7200, 0")], 7200),  # age-parse-suffix
    ([(b"Age", b"0, 7200")], 0),  # age-parse-prefix
    ([(b"Age", b"7200"), (b"Age", b"0")], 7200),  # age-parse-suffix-twoline
    ([(b"Age", b"0"), (b"Age", b"7200")], 0),  # age-parse-prefix-twoline
    ([(b"Age", b"3600"), (b"Age", b"3600")], 3600),  # age-parse-dup-old
    ([(b"Age", b"abc, 7200")], 0),
    ([(b"Age", b"7200;foo=bar")], 7200),  # age-parse-parameter
    ([(b"Age", b"7200;foo=111")], 7200),  # age-parse-numeric-parameter
]


@pytest.mark.parametrize(("lines", "seconds"), AGES)
def test_initial_age(lines: list[FieldLine], seconds: float) -> None:
    assert age_of(Fields(lines)) == seconds


@pytest.mark.parametrize(
    ("age", "requested_at", "received_at", "seconds"),
    [
        (b"0", NOW - 5, NOW, 5.0),
        (b"30", NOW - 5, NOW, 35.0),
        (b"0", NOW + 5, NOW, 0.0),  # the clock was set back meanwhile
        (b"30", NOW + 5, NOW, 30.0),
        (b"0", NOW + 0.9, NOW + 0.9, 0.0),  # Date has no fractions
        (b"0", NOW + 0.9, NOW + 1.0, 1.0),
    ],
)
def test_delay_counts_as_age(age: bytes, requested_at: float, received_at: float, seconds: float) -> None:
    fields = Fields([(b"Date", date()), (b"Age", age)])

    assert age_of(fields, requested_at=requested_at, received_at=received_at) == seconds


@pytest.mark.parametrize("source", [ROUTE, NEGATIVE])
@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 80.0), (0.25, 90.0), (0.5, 100.0), (0.75, 110.0)])
def test_lifetime_of_the_route_is_spread(source: LifetimeSource, roll: float, seconds: float) -> None:
    given_lifetime = Lifetime(100, source)

    assert spread(given_lifetime, share=0.2, roll=roll) == (pytest.approx(seconds), source)
    assert refresh_age(given_lifetime, share=0.2, roll=roll) is None


@pytest.mark.parametrize("source", [ORIGIN, HEURISTIC])
@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 100.0), (0.25, 95.0), (0.5, 90.0), (0.75, 85.0)])
def test_lifetime_of_the_origin_stays_and_the_refresh_comes_forward(
    source: LifetimeSource, roll: float, seconds: float
) -> None:
    given_lifetime = Lifetime(100, source)

    assert spread(given_lifetime, share=0.2, roll=roll) == given_lifetime
    assert refresh_age(given_lifetime, share=0.2, roll=roll) == pytest.approx(seconds)


@pytest.mark.parametrize(("seconds", "share"), [(0, 0.2), (100, 0.0)])
def test_nothing_to_bring_forward(seconds: float, share: float) -> None:
    assert refresh_age(Lifetime(seconds, ORIGIN), share=share, roll=0.5) is None


def test_ten_thousand_entries_filled_at_once_do_not_expire_at_once() -> None:
    entries, dice = 10_000, Random(2026)
    rolls = [dice.random() for _ in range(entries)]

    expiries = [spread(Lifetime(300, ROUTE), share=0.2, roll=roll).seconds for roll in rolls]
    refreshes = [refresh_age(Lifetime(300, ORIGIN), share=0.2, roll=roll) or 0.0 for roll in rolls]

    for instants, first, last in ((expiries, 240, 360), (refreshes, 240, 300)):
        even_share = entries / (last - first)
        per_second = Counter(int(instant) for instant in instants)
        assert first <= min(instants) <= max(instants) <= last
        assert mean(instants) == pytest.approx((first + last) / 2, rel=0.01)
        assert len(per_second) == last - first
        assert 0.5 * even_share < min(per_second.values()) <= max(per_second.values()) < 1.5 * even_share


@given(st.floats(0, 1e9), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_spread_stays_within_its_share(seconds: float, share: float, roll: float) -> None:
    spread_seconds = spread(Lifetime(seconds, ROUTE), share=share, roll=roll).seconds
    early = refresh_age(Lifetime(seconds, ORIGIN), share=share, roll=roll)

    assert seconds * (1 - share) * 0.999999 <= spread_seconds <= seconds * (1 + share) * 1.000001
    assert early is None or seconds * (1 - share) <= early <= seconds


@given(st.lists(st.tuples(st.sampled_from([b"Age", b"Date", b"Expires", b"Last-Modified"]), st.binary())))
def test_any_bytes_have_an_age_and_a_lifetime(lines: list[FieldLine]) -> None:
    given_head = head(*lines, dated=False)

    found = lifetime_of(given_head)

    assert found is None or 0 <= found.seconds <= 2**31
    assert age_of(given_head.fields) >= 0


def test_every_heuristic_status_is_tested() -> None:
    assert {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501} == HEURISTIC_STATUSES
