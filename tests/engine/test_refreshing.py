"""Background refreshes: one per key, a few at a time, none where the origin just failed."""

from __future__ import annotations

import pytest

from proxy.engine.refreshing import replace_request
from proxy.model import Forward, Outcome, ResponseHead, VaryRecord
from tests.support.engine_fakes import REFUSED, Engine, Reply, reply
from tests.support.responses import NOW, entry
from tests.support.routing import get

STALE = entry(lifetime=0.0, etag=b'"1"')


def refreshes(engine: Engine) -> dict[tuple[str, ...], int]:
    return dict(engine.metrics.refreshes.values)


def refresh(engine: Engine, target: bytes = b"/") -> None:
    engine.refresher.refresh(engine.lookup(get(target)), STALE)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (reply(), "stored"),
        (reply(b"no-store"), "not-stored"),
        (reply(b"max-age=100", status=304, pieces=()), "validated"),
        (REFUSED, "failed"),
        (reply(b"", status=503), "failed"),
        (ZeroDivisionError(), "crashed"),
    ],
)
async def test_each_refresh_is_counted_by_its_end(said: Reply, word: str) -> None:
    engine = Engine()
    engine.origin.will(said)
    refresh(engine)
    await engine.settle()
    assert refreshes(engine) == {("all", word): 1}


async def test_a_refresh_asks_conditionally_and_for_no_client() -> None:
    engine = Engine()

    async def on_interim(head: ResponseHead) -> None:
        """Takes nothing: that it is not handed on is the point."""

    engine.refresher.refresh(engine.lookup(get(on_interim=on_interim)), STALE)
    await engine.settle()
    (asked,) = engine.origin.requests
    assert asked.method == "GET"
    assert (asked.on_interim, asked.fields.first(b"if-none-match")) == (None, b'"1"')


async def test_a_head_lets_what_is_stored_be_refreshed() -> None:
    engine = Engine(stale_while_revalidate="50s")
    engine.origin.will(reply(b"max-age=10"), reply(pieces=(b"new",)))
    await engine.ask()
    engine.step(10)
    assert (await engine.serve(get(method="HEAD"))).outcome is Outcome.UPDATING
    await engine.settle()
    assert (await engine.ask()).body == b"new"
    assert [request.method for request in engine.origin.requests] == ["GET", "GET"]


async def test_one_key_is_refreshed_once_at_a_time() -> None:
    engine = Engine()
    engine.origin.gate.clear()
    refresh(engine)
    refresh(engine)
    engine.origin.gate.set()
    await engine.settle()
    assert len(engine.origin.requests) == 1
    refresh(engine)
    await engine.settle()
    assert len(engine.origin.requests) == 2


async def test_only_so_many_refreshes_run_at_once() -> None:
    engine = Engine(at_once=2)
    engine.origin.gate.clear()
    for target in (b"/1", b"/2", b"/3"):
        refresh(engine, target)
    engine.origin.gate.set()
    await engine.settle()
    assert [request.target for request in engine.origin.requests] == [b"/1", b"/2"]
    refresh(engine, b"/3")
    await engine.settle()
    assert len(engine.origin.requests) == 3


async def test_a_crash_gives_its_place_back() -> None:
    engine = Engine(at_once=1)
    engine.origin.will(ZeroDivisionError(), reply())
    for target in (b"/1", b"/2"):
        refresh(engine, target)
        await engine.settle()
    assert len(engine.origin.requests) == 2


async def test_a_key_that_failed_is_left_alone_for_a_second() -> None:
    engine = Engine()
    engine.origin.will(REFUSED)
    refresh(engine)
    await engine.settle()
    engine.step(0.9)
    refresh(engine)
    await engine.settle()
    assert len(engine.origin.requests) == 1
    engine.step(0.1)
    refresh(engine)
    await engine.settle()
    assert len(engine.origin.requests) == 2


def test_the_background_question_keeps_what_was_found() -> None:
    lookup = Engine().lookup(get())
    lookup.narrow(VaryRecord((b"accept",), (b"v",), NOW), b"v")
    background = replace_request(lookup, STALE)
    assert (background.record, background.entry_key) == (lookup.record, b"v")
    assert (background.base, background.forward) == (STALE, Forward.STALE)
