from math import exp, inf, nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.policy import RoutePolicy
from proxy.model import (
    FieldLine,
    LifetimeSource,
    Position,
    Reason,
    Request,
    Rule,
    StoredResponse,
    Validity,
)
from proxy.policy.directives import request_directives
from proxy.policy.reuse import (
    Asking,
    Decision,
    Reuse,
    asking,
    decide,
    has_validator,
    is_newer,
    may_answer_error,
    seconds_alike,
    seconds_fresh,
)
from proxy.policy.storing import StorePlan
from tests.support.responses import NOW, as_planned, date, entry, head, plan_of
from tests.support.routing import get, route_of

ETAG = {"etag": b'"abc"'}
WITH_AUTHORIZATION = get(b"/", (b"Authorization", b"FOO"))
WITH_COOKIE = get(b"/", (b"Cookie", b"a=b"))
STALE_BY_5 = {"received_at": NOW - 105.0}
ALIVE = Validity.ALIVE


def wanting(value: bytes) -> Request:
    return get(b"/", (b"Cache-Control", value))


def decided(
    stored: StoredResponse,
    request: Request | None = None,
    *,
    validity: Validity = ALIVE,
    now: float = NOW,
    roll: float = 0.5,
    **policy: Any,
) -> Decision:
    rules = route_of(**policy).policy
    return decide(stored, validity, asked_by(request or get(), rules), rules, now=now, roll=roll)


def asked_by(request: Request, policy: RoutePolicy) -> Asking:
    return asking(request, request_directives(request.fields), policy)


FRESH, REFRESH, VALIDATE_FIRST = Reuse.FRESH, Reuse.REFRESH, Reuse.VALIDATE_FIRST


@pytest.mark.parametrize(
    ("age", "use", "stale", "seconds_left"),
    [
        (0.0, FRESH, False, 100.0),
        (99.5, FRESH, False, 0.5),
        (100.0, VALIDATE_FIRST, True, 0.0),
        (105.0, VALIDATE_FIRST, True, -5.0),
    ],
)
def test_fresh_until_the_lifetime_ends(age: float, use: Reuse, stale: bool, seconds_left: float) -> None:
    assert decided(entry(), now=NOW + age) == Decision(use, stale, None, seconds_left)


@pytest.mark.parametrize(
    ("changes", "now", "seconds"),
    [
        ({}, 0.0, -0.001),  # of the hundred seconds that are left the first ends at once
        ({}, 0.25, 0.749),
        ({"initial_age": 0.5}, 0.0, 0.499),
        ({"lifetime": 100.25}, 0.0, 0.249),
        ({"lifetime": 100.25}, 0.5, 0.499),
        ({"lifetime": 0.5}, 0.25, 0.249),
        ({"refresh_age": 80.0}, 79.9, 0.099),
        ({"refresh_age": 80.0}, 10.25, 0.749),
        ({"lifetime": 100.75}, -5.0, 0.749),
    ],
)
def test_a_second_is_the_longest_that_nothing_changes(
    changes: dict[str, Any], now: float, seconds: float
) -> None:
    assert seconds_alike(entry(**changes), now=NOW + now) == pytest.approx(seconds, abs=1e-6)


@given(
    initial_age=st.floats(0, 50),
    lifetime=st.floats(0.01, 200),
    refresh_age=st.none() | st.floats(0, 200),
    now=st.floats(-10, 200),
    share=st.floats(0, 1, exclude_max=True),
)
def test_what_is_said_of_a_fresh_one_stays_true_for_so_long(
    initial_age: float, lifetime: float, refresh_age: float | None, now: float, share: float
) -> None:
    stored = entry(initial_age=initial_age, lifetime=lifetime, refresh_age=refresh_age)
    policy = route_of().policy
    age, left = seconds_fresh(stored, policy, now=NOW + now, roll=0.5)
    seconds = seconds_alike(stored, now=NOW + now)
    if left <= 0 or seconds <= 0:
        return
    later, left_later = seconds_fresh(stored, policy, now=NOW + now + seconds * share, roll=0.5)

    assert (int(later), int(left_later), left_later > 0) == (int(age), int(left), True)


def test_initial_age_counts() -> None:
    assert decided(entry(initial_age=60.0), now=NOW + 39).reuse is FRESH
    assert decided(entry(initial_age=60.0), now=NOW + 40).reuse is VALIDATE_FIRST


def test_clock_that_is_set_back_makes_nothing_younger() -> None:
    assert decided(entry(initial_age=60.0), now=NOW - 50).seconds_left == 40.0


@pytest.mark.parametrize(
    ("validity", "changes", "expected"),
    [
        (Validity.DEAD, ETAG, Decision(Reuse.MISS)),
        (Validity.UNSYNCED, ETAG, Decision(Reuse.MISS)),
        (Validity.DISTRUSTED, ETAG, Decision(VALIDATE_FIRST, True, None, 100.0)),
        (Validity.DISTRUSTED, {"last_modified": date(-9)}, Decision(VALIDATE_FIRST, True, None, 100.0)),
        (Validity.DISTRUSTED, {}, Decision(Reuse.MISS, True, None, 100.0)),
        (Validity.STALE, ETAG, Decision(VALIDATE_FIRST, True, None, 0.0)),
        (Validity.STALE, STALE_BY_5, Decision(VALIDATE_FIRST, True, None, -5.0)),
    ],
)
def test_validity_goes_first(validity: Validity, changes: dict[str, Any], expected: Decision) -> None:
    assert decided(entry(**changes), validity=validity) == expected


def test_soft_invalidation_still_serves_while_revalidating() -> None:
    decision = decided(entry(), validity=Validity.STALE, stale_while_revalidate=30)

    assert decision == Decision(REFRESH, True, None, 0.0)


HIS = Reason.AUTHORIZATION
PASSED: list[tuple[dict[str, Any], Request, dict[str, Any], Reason | None]] = [
    ({}, WITH_AUTHORIZATION, {}, HIS),
    ({"rules": Rule.MUST_REVALIDATE | Rule.SHARED_MAX_AGE}, WITH_AUTHORIZATION, {}, HIS),
    ({"rules": Rule.AUTHORIZATION_SHARED}, WITH_AUTHORIZATION, {}, None),
    ({}, WITH_AUTHORIZATION, {"identity": "shared"}, None),
    ({}, WITH_AUTHORIZATION, {"identity": {"header": "authorization"}}, None),
    ({}, WITH_AUTHORIZATION, {"identity": {"cookie": "a"}}, HIS),
    ({}, WITH_COOKIE, {}, None),
    ({"source": LifetimeSource.ROUTE}, WITH_COOKIE, {}, Reason.COOKIE),
    ({"source": LifetimeSource.HEURISTIC}, WITH_COOKIE, {}, Reason.COOKIE),
    ({"source": LifetimeSource.NEGATIVE}, WITH_COOKIE, {}, Reason.COOKIE),
    ({"source": LifetimeSource.ROUTE}, WITH_COOKIE, {"ignore_cookies": True}, None),
    ({"source": LifetimeSource.ROUTE}, get(), {}, None),
]


@pytest.mark.parametrize(("changes", "request_", "policy", "reason"), PASSED)
def test_response_that_is_not_for_this_request(
    changes: dict[str, Any], request_: Request, policy: dict[str, Any], reason: Reason | None
) -> None:
    expected = Decision(FRESH, seconds_left=100.0) if reason is None else Decision(Reuse.PASS, reason=reason)

    assert decided(entry(**changes), request_, **policy) == expected


@pytest.mark.parametrize("validity", [Validity.DISTRUSTED, Validity.STALE])
def test_another_users_response_is_not_validated_for_this_one(validity: Validity) -> None:
    assert decided(entry(**ETAG), WITH_AUTHORIZATION, validity=validity).reuse is Reuse.PASS


ASKED_OF_FRESH: list[tuple[bytes, float, Reuse]] = [
    (b"no-cache", 0.0, VALIDATE_FIRST),  # ccreq-no-cache
    (b"no-store", 0.0, FRESH),
    (b"only-if-cached", 0.0, FRESH),
    (b"max-age=0", 0.0, FRESH),
    (b"max-age=0", 0.5, VALIDATE_FIRST),  # ccreq-ma0
    (b"max-age=20", 20.0, FRESH),
    (b"max-age=20", 20.5, VALIDATE_FIRST),  # ccreq-magreaterage
    (b"max-age=20, max-stale", 20.5, VALIDATE_FIRST),
    (b"max-age=x", 50.0, FRESH),
    (b"min-fresh=30", 70.0, FRESH),
    (b"min-fresh=30", 70.5, VALIDATE_FIRST),  # ccreq-min-fresh
    (b"min-fresh=2000", 0.0, VALIDATE_FIRST),
    (b"max-stale=5", 50.0, FRESH),
]


@pytest.mark.parametrize(("value", "age", "use"), ASKED_OF_FRESH)
def test_client_asks_more_than_fresh(value: bytes, age: float, use: Reuse) -> None:
    decision = decided(entry(), wanting(value), now=NOW + age)

    assert decision == Decision(use, False, None, 100.0 - age)


@pytest.mark.parametrize("value", [b"no-cache", b"max-age=0", b"min-fresh=2000", b"max-stale"])
def test_client_is_ignored_where_the_route_says_so(value: bytes) -> None:
    ignoring = {"client_cache_control": "ignore"}

    assert decided(entry(), wanting(value), now=NOW + 1, **ignoring).reuse is FRESH
    assert decided(entry(), wanting(value), now=NOW + 100, **ignoring).reuse is VALIDATE_FIRST


SHARED = Rule.SHARED_MAX_AGE
ASKED_OF_STALE: list[tuple[bytes, dict[str, Any], Reuse]] = [
    (b"max-stale", {}, REFRESH),
    (b"max-stale=5", {}, REFRESH),  # ccreq-max-stale
    (b"max-stale=4", {}, VALIDATE_FIRST),
    (b"max-stale", {"rules": Rule.MUST_REVALIDATE}, VALIDATE_FIRST),
    (b"max-stale", {"rules": SHARED}, VALIDATE_FIRST),
    (b"max-stale", {"rules": Rule.NO_CACHE}, VALIDATE_FIRST),
    (b"max-stale, no-cache", {}, VALIDATE_FIRST),
    (b"max-stale, min-fresh=1", {}, VALIDATE_FIRST),
    (b"max-stale, max-age=105", {}, REFRESH),
    (b"max-stale, max-age=104", {}, VALIDATE_FIRST),
    (b"max-age=1000", {"stale_while_revalidate": 60.0}, VALIDATE_FIRST),
    (b"max-age=1000, max-stale=1", {"stale_while_revalidate": 60.0}, VALIDATE_FIRST),
    (b"max-stale=1", {"stale_while_revalidate": 60.0}, REFRESH),
    (b"no-cache", {"stale_while_revalidate": 60.0}, VALIDATE_FIRST),
    (b"min-fresh=0", {"stale_while_revalidate": 60.0}, VALIDATE_FIRST),
]


@pytest.mark.parametrize(("value", "changes", "use"), ASKED_OF_STALE)
def test_client_speaks_of_stale_answers(value: bytes, changes: dict[str, Any], use: Reuse) -> None:
    assert decided(entry(**STALE_BY_5, **changes), wanting(value)) == Decision(use, True, None, -5.0)


def test_no_cache_is_validated_although_it_is_fresh() -> None:  # cc-resp-no-cache-revalidate-fresh
    stored = entry(rules=Rule.NO_CACHE, **ETAG)

    assert decided(stored, stale_while_revalidate=30) == Decision(VALIDATE_FIRST, True, None, 100.0)


def test_must_revalidate_binds_only_once_stale() -> None:
    stored = entry(rules=Rule.MUST_REVALIDATE, stale_while_revalidate=60.0, **ETAG)

    assert decided(stored, now=NOW + 99).reuse is FRESH  # cc-resp-must-revalidate-fresh
    assert decided(stored, now=NOW + 100, stale_while_revalidate=30).reuse is VALIDATE_FIRST
    assert decided(stored, validity=Validity.STALE, stale_while_revalidate=30).reuse is VALIDATE_FIRST


WHILE_REVALIDATE: list[tuple[dict[str, Any], float, float, Reuse]] = [
    ({}, 30, 0.0, REFRESH),
    ({}, 30, 29.5, REFRESH),
    ({}, 30, 30.0, VALIDATE_FIRST),
    ({}, 0, 0.0, VALIDATE_FIRST),
    ({"stale_while_revalidate": 4.0}, 30, 3.5, REFRESH),
    ({"stale_while_revalidate": 4.0}, 30, 4.0, VALIDATE_FIRST),  # stale-while-revalidate-window
    ({"stale_while_revalidate": 0.0}, 30, 0.0, VALIDATE_FIRST),
    ({"rules": SHARED}, 30, 0.0, VALIDATE_FIRST),
    ({"rules": SHARED, "stale_while_revalidate": 4.0}, 0, 3.5, REFRESH),
]


@pytest.mark.parametrize(("changes", "of_the_route", "overdue", "use"), WHILE_REVALIDATE)
def test_stale_while_revalidate(
    changes: dict[str, Any], of_the_route: float, overdue: float, use: Reuse
) -> None:
    decision = decided(entry(**changes), now=NOW + 100 + overdue, stale_while_revalidate=of_the_route)

    assert decision == Decision(use, True, None, -overdue)


@pytest.mark.parametrize(("age", "use"), [(79.5, FRESH), (80.0, REFRESH), (99.5, REFRESH)])
def test_refresh_begins_before_the_end(age: float, use: Reuse) -> None:
    assert decided(entry(refresh_age=80.0), now=NOW + age) == Decision(use, False, None, 100 - age)


@pytest.mark.parametrize(
    ("changes", "roll", "use"),
    [
        ({"fetch_seconds": 10.0}, 1 - exp(-0.99), FRESH),
        ({"fetch_seconds": 10.0}, 1 - exp(-1.01), REFRESH),
        ({"fetch_seconds": 20.0}, 1 - exp(-0.51), REFRESH),
        ({"fetch_seconds": 10.0}, 0.0, FRESH),
        ({"fetch_seconds": 10.0}, nextafter(1.0, 0.0), REFRESH),
        ({"fetch_seconds": 0.0}, nextafter(1.0, 0.0), FRESH),
        ({"fetch_seconds": 10.0, "rules": Rule.IMMUTABLE}, nextafter(1.0, 0.0), FRESH),
    ],
)
def test_early_refresh_is_rolled(changes: dict[str, Any], roll: float, use: Reuse) -> None:
    stored = entry(**changes)

    assert decided(stored, now=NOW + 90, roll=roll, early_refresh=True).reuse is use
    assert decided(stored, now=NOW + 90, roll=roll).reuse is FRESH


@pytest.mark.parametrize(("changes", "has"), [({}, False), (ETAG, True), ({"last_modified": date()}, True)])
def test_validator(changes: dict[str, Any], has: bool) -> None:
    assert has_validator(entry(**changes)) is has


def answers_error(
    changes: dict[str, Any],
    *,
    overdue: float = 5.0,
    request: Request | None = None,
    validity: Validity = ALIVE,
    **policy: Any,
) -> bool:
    now, rules = NOW + 100 + overdue, route_of(**policy).policy
    return may_answer_error(entry(**changes), validity, asked_by(request or get(), rules), rules, now=now)


ERRORS: list[tuple[dict[str, Any], float, bool]] = [
    ({}, 299.5, True),  # stale-close, stale-503
    ({}, 300.0, False),
    ({"stale_if_error": 60.0}, 59.5, True),  # stale-sie-close
    ({"stale_if_error": 60.0}, 60.0, False),  # stale-if-error-cc-response-expired
    ({"stale_if_error": 0.0}, 0.0, False),
    ({"rules": Rule.MUST_REVALIDATE}, 0.0, False),  # stale-close-must-revalidate
    ({"rules": Rule.NO_CACHE}, 0.0, False),  # stale-close-no-cache
    ({"rules": Rule.NO_CACHE}, -50.0, False),
    ({"rules": SHARED}, 0.0, False),  # stale-close-s-maxage=2
    ({"rules": SHARED, "stale_if_error": 60.0}, 59.5, True),
    ({"rules": SHARED}, -0.5, True),
    ({"rules": Rule.MUST_REVALIDATE}, -0.5, True),
    ({"stale_if_error": 0.0}, -0.5, True),
    ({"status": 404}, 5.0, True),
    ({"status": 503}, -50.0, False),
    ({"status": 500, "stale_if_error": 60.0}, 5.0, False),
]


@pytest.mark.parametrize(("changes", "overdue", "may"), ERRORS)
def test_stale_if_error(changes: dict[str, Any], overdue: float, may: bool) -> None:
    assert answers_error(changes, overdue=overdue) is may


@pytest.mark.parametrize(
    ("value", "policy", "overdue", "may"),
    [
        (b"stale-if-error=600", {}, 599.5, True),  # stale-if-error-cc-request
        (b"stale-if-error=1", {}, 1.0, False),  # stale-if-error-cc-request-expired
        (b"stale-if-error=600", {"client_cache_control": "ignore"}, 599.5, False),
        (b"stale-if-error=1", {"client_cache_control": "ignore"}, 1.0, True),
        (b"no-cache", {}, -5.0, True),
    ],
)
def test_client_says_what_it_takes(value: bytes, policy: dict[str, Any], overdue: float, may: bool) -> None:
    assert answers_error({}, overdue=overdue, request=wanting(value), **policy) is may


@pytest.mark.parametrize(
    ("validity", "overdue", "window", "may"),
    [
        (Validity.DEAD, -50.0, 300, False),
        (Validity.DISTRUSTED, -50.0, 300, False),
        (Validity.UNSYNCED, 5.0, 300, True),
        (Validity.STALE, -50.0, 300, True),
        (Validity.STALE, -50.0, 0, False),
        (Validity.STALE, 300.0, 300, False),
    ],
)
def test_what_was_taken_back_answers_no_error(
    validity: Validity, overdue: float, window: float, may: bool
) -> None:
    assert answers_error({}, validity=validity, overdue=overdue, stale_if_error=window) is may


def test_error_is_not_answered_with_another_users_response() -> None:
    assert not answers_error({}, request=WITH_AUTHORIZATION)
    assert not answers_error({"source": LifetimeSource.ROUTE}, request=WITH_COOKIE)


RESPONSE_LINES = st.lists(
    st.sampled_from(
        [
            (b"Cache-Control", b"max-age=20"),
            (b"Cache-Control", b"max-age=300, stale-while-revalidate=60, stale-if-error=60"),
            (b"Cache-Control", b"s-maxage=50"),
            (b"Cache-Control", b"must-revalidate"),
            (b"Cache-Control", b"no-cache"),
            (b"Cache-Control", b"public, immutable"),
            (b"Expires", date(100)),
            (b"Last-Modified", date(-5000)),
            (b"ETag", b'"a"'),
            (b"Age", b"30"),
            (b"Date", date(-10)),
        ]
    ),
    max_size=5,
)
REQUEST_VALUES = st.sampled_from(
    [
        b"",
        b"no-cache",
        b"max-age=0",
        b"max-age=70",
        b"max-stale",
        b"max-stale=9",
        b"min-fresh=9",
        b"stale-if-error=5",
    ]
)
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.sampled_from([0, 45]),
        "respect_origin": st.booleans(),
        "stale_while_revalidate": st.sampled_from([0, 30]),
        "early_refresh": st.booleans(),
        "negative": st.just({404: 9, "errors": {503: 3}}),
    },
)
ROLLS = st.floats(0, 1, exclude_max=True)


@given(
    lines=RESPONSE_LINES,
    status=st.sampled_from([200, 203, 301, 302, 404, 503]),
    policy=POLICIES,
    value=REQUEST_VALUES,
    validity=st.sampled_from(Validity),
    elapsed=st.floats(-100, 1000),
    rolls=st.tuples(ROLLS, ROLLS),
)
def test_promises_hold_for_any_response_request_and_time(
    *,
    lines: list[FieldLine],
    status: int,
    policy: dict[str, Any],
    value: bytes,
    validity: Validity,
    elapsed: float,
    rolls: tuple[float, float],
) -> None:
    planned = plan_of(head(*lines, status=status), roll=rolls[0], **policy)
    if not isinstance(planned, StorePlan):
        return
    stored, request, now = as_planned(planned), wanting(value), NOW + elapsed
    decision = decided(stored, request, validity=validity, now=now, roll=rolls[1], **policy)

    is_served = decision.reuse in {FRESH, REFRESH}
    age = stored.age(now)
    assert not is_served or validity in {ALIVE, Validity.STALE}
    assert decision.reuse is not FRESH or (age < stored.lifetime and not decision.stale and validity is ALIVE)
    assert not is_served or decision.stale == (age >= stored.lifetime or validity is Validity.STALE)
    if is_served and stored.rules & (Rule.MUST_REVALIDATE | Rule.NO_CACHE):
        assert not decision.stale
    if stored.rules & Rule.NO_CACHE:
        assert not is_served
    # No store needs to keep an entry that nobody may use any more, a client's wish apart.
    if now >= stored.expires_at and not value:
        assert decision.reuse not in {FRESH, REFRESH} or validity is Validity.STALE
        assert not answers_error_at(stored, request, now, policy)


def answers_error_at(stored: StoredResponse, request: Request, now: float, policy: dict[str, Any]) -> bool:
    rules = route_of(**policy).policy
    return may_answer_error(stored, ALIVE, asked_by(request, rules), rules, now=now)


@given(age=st.floats(0, 500), max_stale=st.sampled_from([0, 5, inf]))
def test_more_age_never_makes_an_answer_usable(age: float, max_stale: float) -> None:
    value = b"max-stale" if max_stale == inf else b"max-stale=%d" % max_stale
    stored = entry().but(refresh_age=90.0)
    order = [FRESH, REFRESH, VALIDATE_FIRST]

    earlier = decided(stored, wanting(value), now=NOW + age)
    later = decided(stored, wanting(value), now=NOW + age + 1)

    assert order.index(earlier.reuse) <= order.index(later.reuse)


EARLY, LATE = Position(1, 5, 0, 7), Position(1, 6, 0, 7)


@pytest.mark.parametrize(
    ("received", "born", "expected"),
    [
        ((1.0, 0.0), (EARLY, EARLY), True),
        ((1.0, 0.0), (LATE, EARLY), True),
        ((1.0, 0.0), (EARLY, None), True),
        ((1.0, 0.0), (None, None), True),
        ((1.0, 0.0), (EARLY, LATE), False),  # slow: a purge between the two reaches only this one
        ((1.0, 0.0), (None, EARLY), False),
        ((0.0, 0.0), (LATE, EARLY), False),
        ((0.0, 1.0), (LATE, EARLY), False),
    ],
)
def test_newer_is_what_came_later_and_began_no_earlier(
    received: tuple[float, float], born: tuple[Position | None, Position | None], expected: bool
) -> None:
    one, other = (
        entry().but(received_at=NOW + at, born=place) for at, place in zip(received, born, strict=True)
    )

    assert is_newer(one, other) is expected
