"""What a worker applies is told to the others before an answer depends on it."""

from __future__ import annotations

import asyncio

import pytest

from proxy.fleet.local_log import LocalLog
from proxy.fleet.siblings_log import SiblingsLog
from proxy.model import Validity
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from tests.support.purging import entry, keyed, url

A = url("/a")


class FakeOthers:
    def __init__(self) -> None:
        self.told: list[tuple[object, bool]] = []
        self.may_answer = asyncio.Event()

    async def tell(self, selectors, *, soft):
        self.told.append((tuple(selectors), soft))
        await self.may_answer.wait()
        return True


@pytest.fixture
async def others():
    return FakeOthers()


@pytest.fixture
async def log(others):
    return SiblingsLog(LocalLog(keyed=keyed, nonce=7, metrics=Metrics()), others)


@pytest.mark.parametrize("soft", [False, True])
async def test_an_append_is_applied_here_at_once_and_ends_with_the_others(log, others, soft):
    before = entry(born=log.capture().born)
    append = spawn("append", log.append([A], soft=soft))
    await asyncio.sleep(0)
    is_early = append.done()
    others.may_answer.set()
    appended = await append

    assert not is_early
    assert log.judge(before) is (Validity.STALE if soft else Validity.DEAD)
    assert others.told == [((A,), soft)]
    assert appended.published


async def test_after_an_unsafe_request_the_others_are_waited_for(log, others):
    before = entry(born=log.capture().born)
    told = log.purge_soon([A])
    is_dead_here = log.judge(before) is Validity.DEAD
    others.may_answer.set()
    await told

    assert is_dead_here
    assert others.told == [((A,), False)]


async def test_an_heir_lives_here_and_what_it_replaces_dies_everywhere(log, others):
    since = log.capture()
    succession = log.supersede([A], heir=entry(born=None), since=since)
    others.may_answer.set()
    born = await succession

    assert others.told == [((A,), False)]
    assert born is not None
    assert log.judge(entry(born=born.born)) is Validity.ALIVE
    assert log.is_synced
