"""Tools from `scripts/deploy_tools.py` and from the system; a test without its tool is skipped, loudly."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from scripts.deploy_tools import TOOLS

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 60
NOT_PROVED = "NOT PROVED: "


def tool(name: str) -> Path:
    """The program, from .venv/deploy or the system; without it the test is skipped."""
    folders = [str(TOOLS), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        pytest.skip(f"{NOT_PROVED}{name} could not be had on this machine")
    return Path(found)


def module(name: str) -> ModuleType:
    """A library that only these tests use; without it the test is skipped."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{NOT_PROVED}the library {name} could not be had on this machine")


def run(*command: str | Path, seconds: float = SECONDS, **given: object) -> subprocess.CompletedProcess[str]:
    """The command's output, whatever its exit code."""
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=seconds, check=False, **given
    )


def output(*command: str | Path, seconds: float = SECONDS, **given: object) -> str:
    """What the command printed; it must succeed."""
    done = run(*command, seconds=seconds, **given)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
