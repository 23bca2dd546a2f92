"""The servers and event loops of the stores' tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.support.valkey import Valkey, running_valkey

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


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Valkey]:
    """One server for all tests that do it no harm."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def server(shared_server: Valkey) -> Valkey:
    """That server, empty and with its counts at zero."""
    shared_server.ask("FLUSHALL")
    shared_server.ask("CONFIG", "RESETSTAT")
    return shared_server


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A server that the test may kill."""
    with running_valkey() as server:
        yield server
