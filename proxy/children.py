"""Child processes that the kernel kills when this process ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_LAUNCHER = """
import os, sys
parent, program = int(sys.argv[1]), sys.argv[2]
if sys.platform == "linux":
    import ctypes
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0:
        sys.exit("prctl failed")
if os.getppid() != parent:
    sys.exit("the parent is gone")
try:
    os.execv(program, sys.argv[2:])
except OSError as error:
    sys.exit(f"{program}: {error.strerror}")
"""
"""Asks the kernel to kill the child when its parent ends, and becomes the child's program.

A `preexec_fn` would do it between fork and exec of a process with threads, where Python may deadlock. The
check of the parent closes the gap before the call. Elsewhere than on Linux a child has to be ended.
"""


def ending_with_us(command: Sequence[str]) -> list[str]:
    """The command, to be started on the main thread: the kernel takes that thread's end for the parent's."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
