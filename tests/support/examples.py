"""Runs the scripts of examples/ as the processes that they are made to be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
DEADLINE_SECONDS = 50


@contextmanager
def running(script: str, *arguments: str) -> Iterator[str]:
    """The URL that the script's first line names; the script must end with our end of its input."""
    command = [sys.executable, str(EXAMPLES / script), "--until-stdin-closes", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.stdin.close()
        assert process.wait(DEADLINE_SECONDS) == 0


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, run to its end."""
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
