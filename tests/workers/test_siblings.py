"""One call carries what waits, is repeated until it arrives, and nobody waits for it without end."""

from __future__ import annotations

import asyncio

import pytest

from proxy.policy.invalidation import EVERYTHING
from proxy.policy.selector_encoding import decode_selectors
from proxy.workers import siblings as module
from proxy.workers.channel import Reply, Silence
from proxy.workers.siblings import Siblings
from tests.support.purging import url

OK = Reply(200, b"", "text/plain")


class FakeSupervisor:
    def __init__(self, *replies) -> None:
        self.replies = list(replies)
        self.calls = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, call, *, seconds):
        self.calls.append((call.target, *decode_selectors(call.body)))
        await self.may_answer.wait()
        return self.replies.pop(0) if self.replies else OK


async def no_pause(_seconds):
    await asyncio.sleep(0)


async def told(supervisor, *selectors, soft=False):
    siblings = Siblings(supervisor, 1, pause=no_pause)
    try:
        return await siblings.tell(selectors, soft=soft)
    finally:
        await siblings.aclose()


async def test_the_supervisor_is_told_who_has_applied_it_already():
    supervisor = FakeSupervisor()

    assert await told(supervisor, url("/a"), soft=True)
    assert supervisor.calls == [("/-/apply?besides=1", (url("/a"),), True)]


async def test_what_comes_meanwhile_goes_with_the_next_call_each_once():
    supervisor = FakeSupervisor()
    supervisor.may_answer.clear()
    siblings = Siblings(supervisor, 1, pause=no_pause)
    first = asyncio.gather(siblings.tell([url("/a")], soft=False))
    await asyncio.sleep(0.01)
    rest = asyncio.gather(*(siblings.tell([url(path)], soft=False) for path in ("/a", "/b", "/a")))
    await asyncio.sleep(0.01)
    supervisor.may_answer.set()
    await first
    await rest
    await siblings.aclose()

    assert [selectors for _, selectors, _ in supervisor.calls] == [
        (url("/a"),),
        (url("/a"), url("/b")),
    ]


async def test_what_did_not_arrive_is_told_again():
    supervisor = FakeSupervisor(Silence("gone", is_unheard=True), Reply(500, b"", "text/plain"))

    assert await told(supervisor, url("/a"))
    assert len(supervisor.calls) == 3


async def test_an_answer_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    supervisor = FakeSupervisor()
    supervisor.may_answer.clear()

    assert not await told(supervisor, url("/a"))


async def test_too_many_become_one_purge_of_everything(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_SELECTORS", 2)
    supervisor = FakeSupervisor()

    await told(supervisor, url("/a"), url("/b"), url("/c"))

    assert supervisor.calls == [("/-/apply?besides=1", (EVERYTHING,), False)]
