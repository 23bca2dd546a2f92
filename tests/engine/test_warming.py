"""Filling L1 from L2 ahead of need: the same rule as a back-fill, in bounded steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.engine.warming import PAUSE_SECONDS, Warmer
from proxy.model import Entry, Outcome, Validity
from proxy.observe.tasks import spawn
from tests.support.engine_fakes import Engine, FakeL2, detail_of, reply
from tests.support.entries import key_of
from tests.support.responses import NOW, entry
from tests.support.routing import get

A = key_of("a")


@dataclass
class Listed:
    """What the fleet tells is hot; None: nobody can be asked, once for each."""

    keys: Sequence[bytes]
    failures: int = 0
    asked: list[int] = field(default_factory=list)

    async def hottest(self, most: int) -> Sequence[bytes] | None:
        self.asked.append(most)
        if self.failures:
            self.failures -= 1
            return None
        return self.keys[:most]


class FragileL2(FakeL2):
    """Answers nothing while it is open, as the real one; counts what travels together."""

    def __init__(self) -> None:
        super().__init__()
        self.unreachable: set[bytes] = set()
        self.together: list[int] = []
        self._waiting = 0

    async def look_up(self, key: bytes) -> Entry | None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting += 1
        found = await super().look_up(key)
        return None if self.is_open and (not self.unreachable or key in self.unreachable) else found

    def _send(self) -> None:
        self.together.append(self._waiting)
        self._waiting = 0


def warmer(engine: Engine, *keys: bytes, failures: int = 0, **options: Any) -> Warmer:
    return Warmer(
        tiers=engine.tiers,
        log=engine.log,
        hot_keys=Listed(keys, failures),
        policies=engine.routes.caching,
        metrics=engine.metrics,
        clock=engine.clock,
        pause=engine.pause,
        **options,
    )


def digest(engine: Engine, target: bytes) -> bytes:
    return engine.lookup(get(target)).key.digest


async def test_the_first_request_for_a_hot_key_is_a_hit_in_l1() -> None:
    l2 = FakeL2()
    first, second = Engine(l2=l2), Engine(l2=l2)
    await first.ask(b"/hot")
    await warmer(second, digest(second, b"/hot")).run(10)
    l2.asked.clear()

    answer = await second.ask(b"/hot")

    assert (answer.outcome, detail_of(answer), answer.body) == (Outcome.HIT, "l1", b"body")
    assert (l2.asked, second.origin.requests) == ([], [])


async def test_what_varies_is_filled_with_its_record() -> None:
    l2 = FakeL2()
    first, second = Engine(l2=l2), Engine(l2=l2)
    german = (b"Accept-Language", b"de")
    first.origin.will(reply(b"max-age=100", (b"Vary", b"Accept-Language")))
    await first.ask(b"/hot", german)
    await warmer(second, *l2.entries).run(10)
    l2.asked.clear()

    answer = await second.ask(b"/hot", german)

    assert (answer.outcome, detail_of(answer), l2.asked) == (Outcome.HIT, "l1", [])
    assert second.metrics.warmed.values == {("kept",): 2}


RESULTS: list[tuple[str, Entry | None, Validity | None]] = [
    ("kept", entry(route="all"), None),
    ("missing", None, None),
    ("no-route", entry(route="gone"), None),
    ("invalidated", entry(route="all"), Validity.DEAD),
    ("invalidated", entry(route="all"), Validity.STALE),
    ("distrusted", entry(route="all"), Validity.DISTRUSTED),
    ("unsynced", entry(route="all"), Validity.UNSYNCED),
]


@pytest.mark.parametrize(("result", "found", "validity"), RESULTS)
async def test_what_no_request_could_have_from_l2_is_not_kept(
    result: str, found: Entry | None, validity: Validity | None
) -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    engine.log.forced = validity
    if found is not None:
        l2.entries[A] = found
    filling = warmer(engine, A)
    await filling.run(10)

    assert (A in engine.memory) is (result == "kept")
    assert filling.progress() == {"listed": 1, result: 1}
    assert engine.metrics.warmed.values == {(result,): 1}


async def test_what_is_purged_while_it_is_looked_up_is_not_kept() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    l2.entries[A] = entry(route="all", born=engine.log.capture().born)
    l2.on_look_up = engine.log.purge
    await warmer(engine, A).run(10)

    assert A not in engine.memory


async def test_a_later_purge_finds_the_birth_of_what_was_kept() -> None:
    l2 = FakeL2()
    first, second = Engine(l2=l2), Engine(l2=l2)
    await first.ask(b"/hot")
    await warmer(second, digest(second, b"/hot")).run(10)
    second.log.purge()

    answer = await second.ask(b"/hot")

    assert (answer.outcome, len(second.origin.requests)) == (Outcome.MISS, 1)


async def test_what_is_in_l1_already_stays() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    l2.entries[A] = entry(route="all")
    held = engine.memory.put(A, entry(route="all", body=b"newer"), NOW)
    await warmer(engine, A).run(10)

    assert engine.memory.peek(A, NOW) is held
    assert engine.metrics.warmed.values == {("present",): 1}


async def test_the_routes_idle_time_holds() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2, idle="5s")
    l2.entries[A] = entry(route="all")
    await warmer(engine, A).run(10)

    assert engine.memory.peek(A, NOW + 4.9) is not None
    assert engine.memory.peek(A, NOW + 10) is None


async def test_it_ends_when_l1_is_nearly_full() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    engine.memory.resize(max_entries=20, max_bytes=10_000_000, max_entry_bytes=1000)
    keys = [key_of(str(number)) for number in range(100)]
    l2.entries |= dict.fromkeys(keys, entry(route="all"))
    await warmer(engine, *keys).run(100)

    assert [key for key in keys if key in engine.memory] == keys[6:24]
    assert l2.asked == keys[:24]


async def test_few_travel_together_until_their_sizes_are_known() -> None:
    l2 = FragileL2()
    engine = Engine(l2=l2)
    keys = [key_of(str(number)) for number in range(400)]
    filling = warmer(engine, *keys)
    await filling.run(390)

    assert l2.together == [8, 16, 32, 64, 128, 128, 14]
    assert l2.asked == keys[:390]
    assert filling.progress() == {"listed": 390, "missing": 390}


async def running(engine: Engine, filling: Warmer, repair: Callable[[], None]) -> None:
    task = spawn("warm", filling.run(10))
    assert await engine.pause.end_next() == PAUSE_SECONDS
    await engine.pause.begun()
    repair()
    engine.pause.end()
    async with asyncio.timeout(10):
        await task


async def test_what_l2_could_not_answer_is_asked_for_again() -> None:
    l2 = FragileL2()
    engine = Engine(l2=l2)
    l2.entries[A] = entry(route="all")
    l2.is_open = True
    filling = warmer(engine, A, key_of("b"))
    await running(engine, filling, lambda: setattr(l2, "is_open", False))

    assert A in engine.memory
    assert l2.asked == [A, key_of("b")] * 3
    assert filling.progress() == {"listed": 2, "kept": 1, "missing": 1}


async def test_where_one_server_is_out_of_reach_the_others_are_enough() -> None:
    l2 = FragileL2()
    engine = Engine(l2=l2)
    l2.entries |= dict.fromkeys((A, key_of("b")), entry(route="all"))
    l2.is_open, l2.unreachable = True, {key_of("b")}
    filling = warmer(engine, A, key_of("b"))
    await filling.run(10)

    assert filling.progress() == {"listed": 2, "kept": 1, "missing": 1}


async def test_the_lists_are_asked_for_until_somebody_answers() -> None:
    engine = Engine(l2=FakeL2())
    filling = warmer(engine, failures=2)
    await running(engine, filling, lambda: None)

    assert filling.progress() == {"listed": 0}
