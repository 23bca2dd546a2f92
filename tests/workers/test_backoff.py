"""A worker that ends at each start does not spin; one that ran for long starts at once."""

from __future__ import annotations

import pytest

from proxy.workers.backoff import STEADY_SECONDS, Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def pauses(backoff: Backoff, count: int) -> list[float]:
    found = []
    for _ in range(count):
        backoff.started()
        found.append(backoff.ended())
    return found


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(clock=Clock(), dice=lambda: 1.0)

    assert pauses(backoff, 9) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert backoff.ends == 9


def test_dice_take_up_to_half_of_a_pause() -> None:
    assert pauses(Backoff(clock=Clock(), dice=lambda: 0.0), 2) == pytest.approx([0.05, 0.1])


def test_an_end_after_a_steady_run_is_the_first_again() -> None:
    clock = Clock()
    backoff = Backoff(clock=clock, dice=lambda: 1.0)
    pauses(backoff, 5)
    backoff.started()
    clock.now += STEADY_SECONDS

    assert backoff.ended() == pytest.approx(0.1)
    assert backoff.ends == 1


def test_many_ends_do_not_overflow() -> None:
    assert pauses(Backoff(clock=Clock(), dice=lambda: 1.0), 5_000)[-1] == 10.0
