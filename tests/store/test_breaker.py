"""When L2 is asked, with a stepped clock."""

from __future__ import annotations

import pytest

from proxy.store.breaker import CALM_SECONDS, PROBE_SECONDS, Breaker
from tests.support.clocks import SteppedClock


def make_breaker() -> tuple[Breaker, SteppedClock]:
    clock = SteppedClock()
    return Breaker(clock), clock


def test_it_is_closed_at_first() -> None:
    breaker, _ = make_breaker()

    assert not breaker.is_open
    assert repr(breaker) == "<Breaker closed>"


def test_one_failure_opens_it() -> None:
    breaker, _ = make_breaker()

    assert breaker.failed()
    assert breaker.is_open
    assert repr(breaker) == "<Breaker open>"


def test_further_failures_change_nothing() -> None:
    breaker, clock = make_breaker()
    breaker.failed()
    clock.step(5.0)

    assert not breaker.failed()
    assert breaker.is_open


def test_a_probe_closes_it() -> None:
    breaker, _ = make_breaker()
    breaker.failed()

    breaker.recovered()

    assert not breaker.is_open
    assert breaker.failed()


def test_the_first_failure_of_all_is_probed_at_once() -> None:
    breaker, _ = make_breaker()

    breaker.failed()

    assert breaker.seconds_to_first_probe() == 0.0


@pytest.mark.parametrize(
    ("calm_for", "wait"), [(0.0, PROBE_SECONDS), (CALM_SECONDS - 0.01, PROBE_SECONDS), (CALM_SECONDS, 0.0)]
)
def test_only_a_server_that_was_calm_is_probed_at_once(calm_for: float, wait: float) -> None:
    breaker, clock = make_breaker()
    breaker.failed()
    breaker.recovered()
    clock.step(calm_for)

    breaker.failed()

    assert breaker.seconds_to_first_probe() == wait


def test_a_closed_breaker_needs_no_probe() -> None:
    breaker, _ = make_breaker()

    assert breaker.seconds_to_first_probe() == 0.0
