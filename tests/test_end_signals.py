"""What the signals to end do while a process runs, and once it has ended."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from proxy.end_signals import EndSignals

LATE = """
import asyncio, os, signal
from proxy.end_signals import EndSignals

async def main():
    signals = EndSignals()
    signals.heed()
    signals.ignore()

asyncio.run(main())
for number in (signal.SIGTERM, signal.SIGINT):
    os.kill(os.getpid(), number)
print("ended well")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_to_end_and_the_second_to_end_at_once(number: int) -> None:
    signals = EndSignals()
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    signals.heed()
    try:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(signals.first.wait(), 5)
        was_second = signals.second.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(signals.second.wait(), 5)
    finally:
        signals.ignore()
        for each, handler in before.items():
            signal.signal(each, handler)

    assert not was_second


def test_a_signal_that_comes_too_late_changes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], check=False, capture_output=True, timeout=30)

    assert (done.returncode, done.stdout) == (0, b"ended well\n"), done.stderr
