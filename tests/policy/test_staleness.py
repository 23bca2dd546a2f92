import pytest

from proxy.model import Rule
from proxy.policy.staleness import error_window, may_be_stale, revalidation_window
from tests.support.routing import route_of

POLICY = route_of(stale_while_revalidate=30, stale_if_error=300).policy

FORBIDDEN = [Rule.NO_CACHE, Rule.MUST_REVALIDATE, Rule.MUST_REVALIDATE | Rule.SHARED_MAX_AGE]


@pytest.mark.parametrize("own", [None, 0.0, 60.0])
@pytest.mark.parametrize("rules", FORBIDDEN)
def test_what_forbids_stale_answers_goes_before_every_window(rules: Rule, own: float | None) -> None:
    assert revalidation_window(rules, own, POLICY) == 0
    assert error_window(rules, own, POLICY, asked=60) == 0
    assert not may_be_stale(rules)


@pytest.mark.parametrize(
    ("rules", "own", "revalidation", "error"),
    [
        (Rule.NONE, None, 30, 300),
        (Rule.NONE, 60.0, 60, 60),
        (Rule.NONE, 0.0, 0, 0),
        (Rule.AUTHORIZATION_SHARED | Rule.IMMUTABLE, None, 30, 300),
        (Rule.SHARED_MAX_AGE, None, 0, 0),
        (Rule.SHARED_MAX_AGE, 60.0, 60, 60),
    ],
)
def test_own_window_goes_before_the_routes(
    rules: Rule, own: float | None, revalidation: float, error: float
) -> None:
    assert revalidation_window(rules, own, POLICY) == revalidation
    assert error_window(rules, own, POLICY) == error


@pytest.mark.parametrize(
    ("rules", "own", "asked", "seconds"),
    [
        (Rule.NONE, None, 3600, 3600),  # stale-if-error-cc-request
        (Rule.NONE, None, 1, 1),  # stale-if-error-cc-request-expired
        (Rule.NONE, None, 0, 0),
        (Rule.NONE, 60.0, 3600, 60),
        (Rule.NONE, 60.0, 1, 1),
        (Rule.SHARED_MAX_AGE, None, 3600, 0),
        (Rule.SHARED_MAX_AGE, 60.0, 3600, 60),
    ],
)
def test_client_may_shorten_what_the_response_allows(
    rules: Rule, own: float | None, asked: float, seconds: float
) -> None:
    assert error_window(rules, own, POLICY, asked=asked) == seconds


@pytest.mark.parametrize(
    ("rules", "may"),
    [(Rule.NONE, True), (Rule.AUTHORIZATION_SHARED | Rule.IMMUTABLE, True), (Rule.SHARED_MAX_AGE, False)],
)
def test_max_stale_is_for_what_may_be_stale(rules: Rule, may: bool) -> None:
    assert may_be_stale(rules) is may
