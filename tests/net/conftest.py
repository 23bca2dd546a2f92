"""Which event loops the tests of `net/` run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Modules that say `ON_BOTH_LOOPS = True` run on asyncio and on uvloop, all others on asyncio."""
    if getattr(item.module, "ON_BOTH_LOOPS", False):
        return _LOOPS
    return {"asyncio": _LOOPS["asyncio"]}
