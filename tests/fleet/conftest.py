"""The servers of the log's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.valkey import Valkey, running_valkey


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Valkey]:
    """One server for all tests that do it no harm."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def server(shared_server: Valkey) -> Valkey:
    """That server, empty."""
    shared_server.ask("FLUSHALL")
    return shared_server


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A server that the test may stop and kill."""
    with running_valkey() as server:
        yield server
