"""PURGE on the data port: for whom, and what it purges."""

from __future__ import annotations

import json

import pytest

from proxy.engine.data_purge import DataPurge
from proxy.model import Outcome
from proxy.policy.invalidation import Selector, SelectorKind
from tests.support.clocks import SteppedClock
from tests.support.configs import config
from tests.support.engine_fakes import FakeLog
from tests.support.responses import NOW, date
from tests.support.routing import get


def purging(log: FakeLog, *networks: str) -> DataPurge:
    """PURGE for these networks."""
    given = config(data_purge={"from": list(networks)}).data_purge
    return DataPurge(given, log, clock=SteppedClock(NOW))


def log() -> FakeLog:
    return FakeLog(SteppedClock())


@pytest.mark.parametrize(
    ("method", "networks", "expected"),
    [("PURGE", ["10.0.0.0/8"], True), ("PURGE", [], False), ("GET", ["10.0.0.0/8"], False)],
)
def test_purge_is_ours_only_where_networks_are_named(
    method: str, networks: list[str], expected: bool
) -> None:
    assert purging(log(), *networks).is_for(get(method=method)) is expected


@pytest.mark.parametrize("peer", ["10.0.0.1", "10.255.255.255", "fe80::1%eth0"])
async def test_a_named_network_purges_the_url_on_its_host(peer: str) -> None:
    written = log()
    purge = purging(written, "10.0.0.0/8", "fe80::/10")
    answer = await purge.answer(get(b"/a?b=1", method="PURGE", peer=peer))
    assert written.purged == [((Selector(SelectorKind.URL, "http://shop/a?b=1"),), False)]
    assert (answer.status, answer.outcome, answer.route) == (200, Outcome.BYPASS, "purge")
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"purged": "http://shop/a?b=1"}
    assert answer.length == len(answer.body)
    assert b"Date: " + date() in answer.lines
    assert answer.cache_status is not None
    assert answer.cache_status.detail == "purge"


@pytest.mark.parametrize("peer", ["11.0.0.1", "9.255.255.255", "", "no address", "::1"])
async def test_other_networks_are_refused(peer: str) -> None:
    written = log()
    answer = await purging(written, "10.0.0.0/8").answer(get(method="PURGE", peer=peer))
    assert (answer.status, written.purged) == (403, [])
    assert answer.cache_status is not None
    assert answer.cache_status.detail == "purge-refused"
