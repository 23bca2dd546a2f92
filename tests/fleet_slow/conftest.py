"""The server of a module's fleet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.valkey import Valkey, running_valkey


@pytest.fixture(scope="module")
def fleet_server() -> Iterator[Valkey]:
    """One server for all tests of a module."""
    with running_valkey() as server:
        yield server
