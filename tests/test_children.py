"""A child does not outlive its parent, and one whose parent is gone already starts nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.children import ending_with_us

PARENT = """
import subprocess, sys, time
from proxy.children import ending_with_us

CHILD = "import time; print(1, flush=True); time.sleep(60)"
child = subprocess.Popen(ending_with_us([sys.executable, "-c", CHILD]))
print(child.pid, flush=True)
time.sleep(60)
"""


linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="THE END WITH THE PARENT IS NOT TESTED: needs prctl"
)


@linux_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent_however_that_ends(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = parent.stdout.readline().strip()
        is_running = parent.stdout.readline().strip() == "1"
        parent.send_signal(number)
        parent.wait(timeout=5)
        # The pipe ends with the last process that holds it.
        parent.stdout.read()

    assert is_running
    assert not Path(f"/proc/{pid}/exe").exists()


def test_what_is_started_gets_its_arguments() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "--port", "0"]

    assert (
        subprocess.run(ending_with_us(command), capture_output=True, text=True, check=True, timeout=10).stdout
        == "['--port', '0']\n"
    )


def test_a_child_whose_parent_is_gone_starts_nothing() -> None:
    command = ending_with_us([sys.executable, "-c", "print('started')"])
    at = command.index("-c") + 2
    command[at] = "1"

    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "the parent is gone\n")


def test_a_program_that_is_not_there_is_named() -> None:
    ended = subprocess.run(
        ending_with_us(["/nowhere/program"]), capture_output=True, text=True, check=False, timeout=10
    )

    assert (ended.returncode, ended.stderr) == (1, "/nowhere/program: No such file or directory\n")
