"""How long a server that refuses writes is left alone with them."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from proxy.store.redis_link import Failure, Fault
from proxy.store.write_pause import WritePause
from tests.support.clocks import SteppedClock

FULL = Failure(Fault.OOM, "command not allowed")
FOREVER_READ_ONLY = Failure(Fault.READ_ONLY, "You can't write")


def test_writes_are_welcome_at_first() -> None:
    pause = WritePause(SteppedClock())

    assert pause.failure is None
    assert repr(pause) == "<WritePause none>"


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(Fault.OOM, 1.0), (Fault.NO_REPLICAS, 1.0), (Fault.READ_ONLY, 15.0), (Fault.REFUSED, 15.0)],
)
def test_a_refusal_holds_for_a_while(fault: Fault, seconds: float) -> None:
    clock = SteppedClock()
    pause = WritePause(clock)
    refusal = Failure(fault, "no")

    pause.refused(refusal)
    clock.step(seconds - 0.01)
    assert pause.failure is refusal
    clock.step(0.01)

    assert pause.failure is None


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.UNREACHABLE, Fault.BREAKER])
def test_other_faults_are_the_breakers(fault: Fault) -> None:
    pause = WritePause(SteppedClock())

    pause.refused(Failure(fault, ""))

    assert pause.failure is None


def test_only_changes_are_logged() -> None:
    clock = SteppedClock()
    pause = WritePause(clock)
    with capture_logs() as lines:
        pause.accepted()
        for _ in range(3):
            pause.refused(FULL)
            clock.step(1.0)
        for _ in range(3):
            pause.accepted()

    assert [(line["event"], line.get("fault")) for line in lines] == [
        ("L2 refuses writes", "oom"),
        ("L2 takes writes again", None),
    ]


def test_the_state_can_be_read() -> None:
    pause = WritePause(SteppedClock())

    pause.refused(FOREVER_READ_ONLY)

    assert repr(pause) == "<WritePause read-only>"
