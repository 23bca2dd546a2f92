"""Several replicas on one L2 and one set of leases: one asks the origin, nobody waits in vain for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.engine.fleet_fetching import FAILED_SECONDS, UNSHARED_SECONDS
from proxy.model import Answer, CacheStatus, Forward, Outcome, Part, StoredResponse, Validity, VaryRecord
from proxy.observe.tasks import running
from proxy.policy.cache_key import variant_key
from tests.support.engine_fakes import REFUSED, Engine, FakeL2, FakeLeases, body_of, reply, turns
from tests.support.responses import NOW
from tests.support.routing import SECRET, get

NO_CACHE = b"no-cache, max-age=100"
ETAG = (b"ETag", b'"1"')


class Fleet:
    """Replicas with one L2, one set of leases, and an origin each, so that it is seen who was asked."""

    looks_along = False
    """A claim brings along what L2 has."""

    def __init__(self, replicas: int = 2, **policy: Any) -> None:
        self.l2 = FakeL2()
        self.leases = FakeLeases(self.l2 if self.looks_along else None)
        self.replicas = [Engine(l2=self.l2, leases=self.leases, **policy) for _ in range(replicas)]
        self.key = self.replicas[0].lookup(get()).flight_key()

    @property
    def asked(self) -> list[int]:
        """Requests to the origin, by replica."""
        return [len(replica.origin.requests) for replica in self.replicas]

    def turns(self, index: int) -> dict[str, int]:
        """How the fetches of a replica got their turn."""
        return {result: count for (_, result), count in self.replicas[index].metrics.leases.values.items()}

    def waits(self, index: int) -> int:
        """How many fetches of a replica have waited for another's."""
        return sum(self.replicas[index].metrics.lease_waits.values.values())

    async def filled(self) -> StoredResponse:
        """The first replica fetches the root; what is then in L2."""
        await self.replicas[0].ask()
        await self.replicas[0].settle()
        entry = self.l2.entries[self.key]
        assert isinstance(entry, StoredResponse)
        return entry

    def step(self, seconds: float) -> None:
        for replica in self.replicas:
            replica.step(seconds)


@pytest.fixture(autouse=True, params=[False, True], ids=["looks-after", "looks-along"])
def looks_along(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "looks_along", request.param)


async def waiting(engine: Engine, group: asyncio.TaskGroup, *lines: Any) -> asyncio.Task[Answer]:
    """A request that waits for another replica."""
    task = group.create_task(engine.ask(b"/", *lines))
    await engine.pause.begun()
    return task


async def test_who_finds_another_fetching_waits_and_shares_its_answer() -> None:
    fleet = Fleet()
    first, second = fleet.replicas
    first.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(first.ask())
        await first.origin.asked(1)
        waiter = await waiting(second, group)
        follower = group.create_task(second.ask())
        await turns(5)
        first.origin.gate.set()
        await leader
        await turns(20)
        second.pause.end()

    status = CacheStatus(forward=Forward.URI_MISS, collapsed=True, ttl=100)
    for task in (waiter, follower):
        answer = task.result()
        assert (answer.body, answer.outcome, answer.cache_status) == (b"body", Outcome.COLLAPSED, status)
    assert fleet.asked == [1, 0]
    assert (fleet.turns(0), fleet.turns(1)) == ({"held": 1}, {"shared": 1})
    assert (fleet.waits(0), fleet.waits(1)) == (0, 1)
    assert (await second.ask()).outcome is Outcome.HIT
    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {})


async def test_what_was_filled_before_the_lease_was_ours_is_found() -> None:
    fleet = Fleet(1)
    entry = await Fleet(1).filled()
    fleet.l2.on_look_up = lambda: (
        fleet.l2.entries.update({fleet.key: entry}) if len(fleet.l2.asked) > 1 else None
    )
    answer = await fleet.replicas[0].ask()
    await fleet.replicas[0].settle()

    assert (answer.outcome, fleet.asked, fleet.turns(0)) == (Outcome.COLLAPSED, [0], {"shared": 1})
    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {})
    assert fleet.l2.asked == [fleet.key] * 2


async def test_a_variant_is_looked_for_under_its_own_key() -> None:
    fleet = Fleet(1)
    entry = await Fleet(1).filled()
    language = (b"Accept-Language", b"de")
    variant = variant_key(fleet.key, (b"accept-language",), get(b"/", language).fields, secret=SECRET)
    fleet.l2.entries[fleet.key] = VaryRecord((b"accept-language",), (variant,), NOW + 100)
    fleet.l2.on_look_up = lambda: (
        fleet.l2.entries.update({variant: entry}) if len(fleet.l2.asked) > 2 else None
    )
    answer = await fleet.replicas[0].ask(b"/", language)
    await fleet.replicas[0].settle()

    assert (answer.outcome, fleet.asked) == (Outcome.COLLAPSED, [0])
    assert fleet.l2.asked == [fleet.key, variant, variant]


async def test_another_takes_over_when_the_lease_ends_without_an_answer() -> None:
    fleet = Fleet(1)
    engine = fleet.replicas[0]
    fleet.leases.holders.add(fleet.key)
    async with asyncio.TaskGroup() as group:
        answer = await waiting(engine, group)
        fleet.leases.holders.clear()
        engine.pause.end()

    assert (answer.result().outcome, fleet.asked, fleet.turns(0)) == (Outcome.MISS, [1], {"takeover": 1})
    assert fleet.waits(0) == 1


@pytest.mark.parametrize(
    ("wait", "pauses"),
    [("0s", []), ("12ms", [0.005, 0.005, 0.002]), ("10s", [0.005, 0.005, 0.005, 0.005, 0.005, 0.00625])],
)
async def test_nobody_waits_longer_than_the_route_says(wait: str, pauses: list[float]) -> None:
    fleet = Fleet(1, coalesce={"wait": wait})
    engine = fleet.replicas[0]
    fleet.leases.holders.add(fleet.key)
    engine.monotonic.now = 0.0  # so that the pauses add up to the last bit
    taken: list[float] = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(engine.ask())
        while not task.done():
            await turns(20)
            if not task.done():
                taken.append(await engine.pause.end_next())

    assert taken[: len(pauses)] == pytest.approx(pauses)
    assert engine.monotonic() == pytest.approx(engine.lookup(get()).policy.coalesce.wait)
    assert max(taken, default=0.0) <= 0.1
    assert (fleet.asked, fleet.turns(0)) == ([1], {"timeout": 1})
    assert fleet.waits(0) == min(len(pauses), 1)
    assert fleet.leases.holders == {fleet.key}


def _lone(fleet: Fleet) -> None:
    fleet.leases.lone[fleet.key] = 1.0


def _down(fleet: Fleet) -> None:
    fleet.leases.is_down = True


def _unsynced(fleet: Fleet) -> None:
    fleet.replicas[0].log.is_synced = False
    fleet.leases.holders.add(fleet.key)


@pytest.mark.parametrize(
    ("trouble", "turn"), [(_lone, "lone"), (_down, "unavailable"), (_unsynced, "unavailable")]
)
async def test_where_waiting_makes_no_sense_each_goes_on_alone(
    trouble: Callable[[Fleet], None], turn: str
) -> None:
    fleet = Fleet(1)
    trouble(fleet)
    answer = await fleet.replicas[0].ask()

    assert (answer.outcome, fleet.asked, fleet.turns(0)) == (Outcome.MISS, [1], {turn: 1})


@pytest.mark.parametrize(
    ("policy", "turns_taken"),
    [({"coalesce": {"scope": "process"}}, {}), ({"coalesce": False}, {}), ({}, {"held": 1})],
)
async def test_the_route_says_whether_replicas_wait_for_each_other(
    policy: dict[str, Any], turns_taken: dict[str, int]
) -> None:
    fleet = Fleet(1, **policy)
    await fleet.replicas[0].ask()

    assert fleet.turns(0) == turns_taken


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (reply(b"no-store"), UNSHARED_SECONDS),
        (reply(NO_CACHE, ETAG), UNSHARED_SECONDS),
        (REFUSED, FAILED_SECONDS),
        (reply(b"", status=500), FAILED_SECONDS),
    ],
)
async def test_after_an_answer_that_is_not_for_others_nobody_waits(said: Any, seconds: float) -> None:
    fleet = Fleet(1)
    fleet.replicas[0].origin.will(said)
    answer = await fleet.replicas[0].ask()
    await body_of(answer)
    await fleet.replicas[0].settle()

    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {fleet.key: seconds})


async def test_a_fetch_that_crashes_releases_the_lease() -> None:
    fleet = Fleet(1)
    fleet.replicas[0].origin.will(RuntimeError("a bug"))
    await fleet.replicas[0].ask()
    await fleet.replicas[0].settle()

    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {fleet.key: FAILED_SECONDS})


async def test_a_fetch_that_is_cut_off_releases_the_lease() -> None:
    fleet = Fleet(1)
    engine = fleet.replicas[0]
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.ask())
        await engine.origin.asked(1)
        assert fleet.leases.holders == {fleet.key}
        (fetch,) = [task for task in running() if task.get_name().startswith("fetch ")]
        fetch.cancel()

    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {fleet.key: FAILED_SECONDS})


@pytest.mark.parametrize(("is_written", "lone"), [(True, None), (False, FAILED_SECONDS)])
async def test_the_lease_is_held_until_l2_has_the_answer(is_written: bool, lone: float | None) -> None:
    fleet = Fleet(1)
    fleet.l2.unwritten = []
    await fleet.replicas[0].ask()
    await fleet.replicas[0].settle()

    assert (fleet.leases.holders, fleet.leases.lone) == ({fleet.key}, {})
    (then,) = fleet.l2.unwritten
    then(is_written)
    assert fleet.leases.holders == set()
    assert fleet.leases.lone.get(fleet.key) == lone


@pytest.mark.parametrize("what", ["judging", "asking L2"])
async def test_a_fault_at_the_end_of_a_fetch_releases_the_lease(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*given: Any, **named: Any) -> Any:
        raise RuntimeError("a bug")

    fleet = Fleet(1)
    if what == "judging":
        monkeypatch.setattr(fleet.replicas[0].fleet_fetcher, "_decide", crash)
    else:
        monkeypatch.setattr(fleet.l2, "when_written", crash)
    with capture_logs() as lines:
        answer = await fleet.replicas[0].ask()

    assert answer.outcome is Outcome.MISS
    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {fleet.key: FAILED_SECONDS})
    assert [line["event"] for line in lines] == ["who waited for the end of a fetch crashed"]


async def test_what_is_too_large_to_keep_releases_the_lease_before_it_was_read() -> None:
    fleet = Fleet(1, max_entry_bytes=10)
    engine = fleet.replicas[0]
    engine.origin.will(reply(pieces=(b"x" * 20, b"y" * 20)))
    answer = await engine.ask()

    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {fleet.key: UNSHARED_SECONDS})
    await body_of(answer)
    await engine.settle()
    assert fleet.leases.lone == {fleet.key: UNSHARED_SECONDS}


async def test_what_l2_did_not_take_nobody_waits_for() -> None:
    fleet = Fleet(1)
    fleet.l2.takes_writes = False
    await fleet.replicas[0].ask()
    await fleet.replicas[0].settle()

    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {fleet.key: FAILED_SECONDS})


async def test_after_a_fetch_that_a_purge_overtook_the_next_one_takes_the_lease() -> None:
    fleet = Fleet(1)
    engine = fleet.replicas[0]
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.ask())
        await engine.origin.asked(1)
        engine.log.purge()
        engine.origin.gate.set()
    await engine.settle()

    assert (fleet.leases.holders, fleet.leases.lone) == (set(), {})


async def test_what_must_be_validated_each_time_is_not_queued_for() -> None:
    fleet = Fleet()
    first, second = fleet.replicas
    first.origin.will(reply(NO_CACHE, ETAG))
    entry = await fleet.filled()
    fleet.l2.entries.clear()
    fleet.leases.lone.clear()
    fleet.leases.holders.add(fleet.key)
    async with asyncio.TaskGroup() as group:
        await waiting(second, group)
        fleet.l2.entries[fleet.key] = entry
        second.pause.end()

    assert fleet.turns(1) == {"lone": 1}
    assert second.origin.requests[0].fields.combined(b"if-none-match") == b'"1"'


async def test_what_is_for_somebody_else_is_not_queued_for() -> None:
    fleet = Fleet()
    second = fleet.replicas[1]
    entry = await fleet.filled()
    fleet.l2.entries.clear()
    asked = (b"Authorization", b"Bearer a")
    fleet.leases.holders.add(second.lookup(get(b"/", asked)).flight_key())
    async with asyncio.TaskGroup() as group:
        await waiting(second, group, asked)
        fleet.l2.entries[fleet.key] = entry
        second.pause.end()

    assert (fleet.asked, fleet.turns(1)) == ([1, 1], {"lone": 1})


async def test_users_do_not_wait_for_each_other() -> None:
    fleet = Fleet(1)
    users = [(b"Authorization", b"Bearer a"), (b"Authorization", b"Bearer b")]
    engine = fleet.replicas[0]
    engine.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        for user in users:
            group.create_task(engine.ask(b"/", user))
        await engine.origin.asked(2)
        engine.origin.gate.set()

    assert fleet.turns(0) == {"held": 2}


@pytest.mark.parametrize("what", ["purged", "stale", "part"])
async def test_what_l2_has_and_cannot_answer_is_waited_out(what: str) -> None:
    fleet = Fleet()
    first, second = fleet.replicas
    first.origin.will(reply(b"max-age=100", ETAG))
    entry = await fleet.filled()
    fleet.l2.entries.clear()
    if what == "stale":  # both know it
        second.memory.put(fleet.key, entry, second.clock(), None)
        fleet.step(150)
    fleet.leases.holders.add(fleet.key)
    async with asyncio.TaskGroup() as group:
        await waiting(second, group)
        if what == "purged":
            second.log.forced = Validity.DEAD
        fleet.l2.entries[fleet.key] = entry.but(part=Part(0, 3, 9)) if what == "part" else entry
        second.pause.end()
        await second.pause.begun()
        second.log.forced = None
        fleet.l2.entries[fleet.key] = entry.but(received_at=second.clock(), body=b"new")
        second.pause.end()

    assert (fleet.asked, fleet.turns(1)) == ([1, 0], {"shared": 1})
    assert (await second.ask()).body == b"new"


async def test_a_purge_while_waiting_does_not_spoil_the_fetch_that_follows() -> None:
    fleet = Fleet(1)
    engine = fleet.replicas[0]
    fleet.leases.holders.add(fleet.key)
    async with asyncio.TaskGroup() as group:
        await waiting(engine, group)
        engine.log.purge()
        fleet.leases.holders.clear()
        engine.pause.end()

    assert (await engine.ask()).outcome is Outcome.HIT


async def test_what_is_purged_between_its_find_and_its_delivery_is_fetched() -> None:
    fleet = Fleet()
    second = fleet.replicas[1]
    entry = await fleet.filled()
    fleet.l2.entries.clear()
    fleet.leases.holders.add(fleet.key)
    back_fill = second.tiers.back_fill

    def purge_after(*given: Any, **named: Any) -> Any:
        held = back_fill(*given, **named)
        second.log.purge()
        return held

    second.tiers.back_fill = purge_after  # type: ignore[method-assign]
    second.origin.will(reply(pieces=(b"new",)))
    async with asyncio.TaskGroup() as group:
        asked = [await waiting(second, group), group.create_task(second.ask())]
        await turns(5)
        fleet.l2.entries[fleet.key] = entry
        second.pause.end()

    assert [task.result().body for task in asked] == [b"new", b"new"]


async def test_another_variant_than_the_one_found_is_fetched() -> None:
    fleet = Fleet()
    first, second = fleet.replicas
    said = reply(b"max-age=100", (b"Vary", b"Accept-Language"))
    english, german = (b"Accept-Language", b"en"), (b"Accept-Language", b"de")
    first.origin.will(said)
    second.origin.will(said)
    first.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(first.ask(b"/", english))
        await first.origin.asked(1)
        same = await waiting(second, group, english)
        other = group.create_task(second.ask(b"/", german))
        await turns(5)
        first.origin.gate.set()
        await leader
        await turns(20)
        second.pause.end()

    assert (same.result().outcome, other.result().outcome) == (Outcome.COLLAPSED, Outcome.MISS)
    assert fleet.asked == [1, 1]
    assert fleet.turns(1) == {"shared": 1, "held": 1}


async def test_who_waits_for_another_variant_turns_to_its_own_lease() -> None:
    fleet = Fleet()
    first, second = fleet.replicas
    said = reply(b"max-age=100", (b"Vary", b"Accept-Language"))
    first.origin.will(said)
    second.origin.will(said)
    first.origin.gate.clear()
    async with asyncio.TaskGroup() as group:
        leader = group.create_task(first.ask(b"/", (b"Accept-Language", b"en")))
        await first.origin.asked(1)
        await waiting(second, group, (b"Accept-Language", b"de"))
        first.origin.gate.set()
        await leader
        await turns(20)
        fleet.leases.holders.add(fleet.key)  # a third one, for a third language
        second.pause.end()
        await second.pause.begun()
        second.pause.end()

    assert (fleet.asked, fleet.turns(1)) == ([1, 1], {"takeover": 1})


async def test_a_refresh_waits_for_another_replicas_too() -> None:
    fleet = Fleet(stale_while_revalidate="50s")
    first, second = fleet.replicas
    await fleet.filled()
    await second.ask()
    fleet.step(101)
    first.origin.gate.clear()
    stale = await first.ask()
    await first.origin.asked(2)
    also_stale = await second.ask()
    await second.pause.begun()
    first.origin.gate.set()
    await turns(20)
    second.pause.end()
    await second.settle()

    assert {stale.outcome, also_stale.outcome} == {Outcome.UPDATING}
    assert (await second.ask()).outcome is Outcome.HIT
    assert fleet.asked == [2, 0]
    assert second.metrics.refreshes.get("all", "shared") == 1


async def test_what_is_purged_while_waiting_is_no_base_any_more() -> None:
    fleet = Fleet()
    first, second = fleet.replicas
    first.origin.will(reply(b"max-age=100", ETAG))
    second.memory.put(fleet.key, await fleet.filled(), second.clock(), None)
    fleet.l2.entries.clear()
    fleet.step(150)
    second.origin.will(reply(pieces=(b"new",)))
    fleet.leases.holders.add(fleet.key)
    async with asyncio.TaskGroup() as group:
        asked = await waiting(second, group, (b"Range", b"bytes=0-1"))
        second.log.purge()
        fleet.leases.holders.clear()
        second.pause.end()

    (sent,) = second.origin.requests
    assert (sent.fields.combined(b"if-none-match"), sent.fields.combined(b"range")) == (None, None)
    assert (asked.result().status, asked.result().body) == (200, b"new")
    assert (await second.ask()).outcome is Outcome.HIT
