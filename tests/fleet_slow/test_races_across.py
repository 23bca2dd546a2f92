"""A fill that is under way at the purge never wins, whichever of the real processes fills and which purges.

Fifty rounds of each kind of fill, ten keys at a time; the dice choose who purges, by which selector, and
whether the fill ends before or after all have applied it.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from proxy.observe.tasks import spawn
from proxy.store.batching import MOST_FETCHES
from tests.support.cut_link import CutLink
from tests.support.fleet import Answer, Fleet, Hold, until
from tests.support.sidecar import Sidecar
from tests.support.valkey import Valkey

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

BATCHES = 5
AT_ONCE = 10
REPLICAS = 3
_WRITE = re.compile(rb"\r\nSET\r\n\$[0-9]+\r\n[^\r]*:e3:")
"""Of an entry; a lease is set, too, and what it leads to looked for in one piece."""
ROUTES = """
routes:
- {name: all, match: {path: "/{kind}/{key}"}, ttl: 1h, stale_while_revalidate: 1h, tags: ["key:{key}"],
   coalesce: {wait: 500ms}}
"""


class Racers(Fleet):
    """The first replica reaches Redis over a link that can hold pieces back."""

    link: CutLink

    @property
    def near(self) -> Sidecar:
        return self.replicas[0]

    def others(self) -> list[Sidecar]:
        return self.replicas[1:]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(fleet_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Racers]:
    folder: Path = tmp_path_factory.mktemp("races")
    async with CutLink(fleet_server.port) as link:
        urls = [link.url, *[fleet_server.url] * (REPLICAS - 1)]
        # No deadline of L2 ends what the tests hold back.
        l2s = [f'{{url: "{url}", timeout: 20s, namespace: shop, max_unsynced: 3s}}' for url in urls]
        async with Racers.started(folder, l2s, ROUTES) as started:
            assert isinstance(started, Racers)
            started.link = link
            await started.settle()
            yield started


def batches(kind: str) -> list[tuple[random.Random, list[str]]]:
    """The dice and keys of each."""
    return [
        (random.Random(f"{kind} {batch}"), [f"/{kind}/{batch}-{number}" for number in range(AT_ONCE)])
        for batch in range(BATCHES)
    ]


def selectors_of(path: str, dice: random.Random) -> dict[str, object]:
    tag = f"key:{path.rpartition('/')[2]}"
    return dice.choice([{"urls": [path]}, {"tags": [tag]}, {"prefixes": [path]}, {"patterns": [f"{path}*"]}])


async def purge_and_let_go(
    fleet: Fleet, dice: random.Random, held: dict[str, Hold], purgers: Sequence[Sidecar]
) -> None:
    """Change and purge each path; what is held goes on before or after all replicas have applied that."""

    async def race(path: str, hold: Hold, purger: Sidecar, *, early: bool) -> None:
        fleet.origin.change(path)
        purge = spawn("purge", fleet.purge_everywhere(purger, selectors_of(path, dice)))
        if early:
            hold.let_go()
        await purge
        hold.let_go()

    await asyncio.gather(
        *(race(path, hold, dice.choice(purgers), early=dice.random() < 0.5) for path, hold in held.items())
    )


async def check_new(fleet: Fleet, paths: Sequence[str]) -> None:
    """No replica has anything but the present content, from neither tier, now or when asked again."""
    for _ in range(2):
        for path in paths:
            assert await fleet.versions(path) == {fleet.origin.version(path)}, path


async def race_fetches(fleet: Fleet, kind: str, purgers: Sequence[Sidecar]) -> None:
    for dice, paths in batches(kind):
        held = {path: fleet.origin.hold(path) for path in paths}
        clients = asyncio.gather(*(fleet.get(fleet.replicas[0], path) for path in paths))
        for hold in held.values():
            await hold.arrived()
        await purge_and_let_go(fleet, dice, held, purgers)
        answers = await clients

        assert {answer.status for answer in answers} == {200}
        await check_new(fleet, paths)


async def test_a_fetch_loses_against_a_purge_at_the_same_replica(fleet: Racers) -> None:
    await race_fetches(fleet, "same", [fleet.near])


async def test_a_fetch_loses_against_a_purge_at_another_replica(fleet: Racers) -> None:
    await race_fetches(fleet, "other", fleet.others())


async def test_a_write_that_arrives_in_l2_after_the_purge(fleet: Racers, fleet_server: Valkey) -> None:
    for dice, paths in batches("write"):
        fleet.link.hold(lambda piece, is_reply: not is_reply and _WRITE.search(piece) is not None)
        answers = [await fleet.get(fleet.near, path) for path in paths]
        await until(lambda: fleet.link.held)
        for path in paths:
            fleet.origin.change(path)
        purges = [
            fleet.purge_everywhere(dice.choice(fleet.replicas), selectors_of(path, dice)) for path in paths
        ]
        await asyncio.gather(*purges)
        arrived_early = has_any(fleet_server, paths)
        fleet.link.let_go()
        await until(partial(has_all, fleet_server, paths))

        assert {answer.version for answer in answers} == {0}
        assert not arrived_early
        await check_new(fleet, paths)


async def test_a_reply_of_l2_that_arrives_after_the_purge(fleet: Racers) -> None:
    for dice, paths in batches("reply"):
        for first in range(0, len(paths), MOST_FETCHES):  # each that is held is one of those under way
            some = paths[first : first + MOST_FETCHES]
            await fleet.get_all(some, fleet.others())
            await until_in_l2(fleet, some)
            await hold_replies(fleet, dice, some)
        await check_new(fleet, paths)


async def hold_replies(fleet: Racers, dice: random.Random, paths: list[str]) -> None:
    texts = [f"{path} 0".encode() for path in paths]
    fleet.link.hold(lambda piece, is_reply: is_reply and any(text in piece for text in texts))
    clients = asyncio.gather(*(fleet.get(fleet.near, path) for path in paths))
    await until(lambda: all(text in b"".join(fleet.link.held) for text in texts))
    for path in paths:
        fleet.origin.change(path)
    purges = [fleet.purge_everywhere(dice.choice(fleet.replicas), selectors_of(path, dice)) for path in paths]
    await asyncio.gather(*purges)
    fleet.link.let_go()
    assert {answer.version for answer in await clients} == {1}


async def test_a_304_that_was_decided_before_the_purge(fleet: Racers) -> None:
    for dice, paths in batches("validation"):
        await fleet.get_all(paths)
        held = {path: fleet.origin.hold(path, before=dice.random() < 0.2) for path in paths}
        asked = fleet.origin.asked.total()
        clients = asyncio.gather(*(fleet.get(fleet.near, path, Cache_Control="no-cache") for path in paths))
        for hold in held.values():
            await hold.arrived()
        await purge_and_let_go(fleet, dice, held, fleet.replicas)
        answers = await clients

        assert fleet.origin.asked.total() >= asked + AT_ONCE
        assert {answer.status for answer in answers} == {200}
        await check_new(fleet, paths)


async def test_a_background_refresh_that_has_read_before_the_purge(fleet: Racers) -> None:
    for dice, paths in batches("refresh"):
        await fleet.get_all(paths)
        soft = {"urls": paths}
        await fleet.purge_everywhere(dice.choice(fleet.replicas), soft, soft=True)
        held = {path: fleet.origin.hold(path) for path in paths}
        answers = [await fleet.get(fleet.near, path) for path in paths]
        for hold in held.values():
            await hold.arrived()
        await purge_and_let_go(fleet, dice, held, fleet.replicas)

        assert all(answer.is_hit and answer.version == 0 for answer in answers)
        await check_new(fleet, paths)


async def test_followers_that_come_after_the_purge_do_not_share_the_older_fetch(fleet: Racers) -> None:
    for dice, paths in batches("follower"):
        held = {path: fleet.origin.hold(path) for path in paths}
        early = asyncio.gather(*(fleet.get_all(paths) for _ in range(2)))
        for hold in held.values():
            await hold.arrived()
        for path in paths:
            fleet.origin.change(path)
        purges = [
            fleet.purge_everywhere(dice.choice(fleet.replicas), selectors_of(path, dice)) for path in paths
        ]
        await asyncio.gather(*purges)
        late = spawn("late followers", fleet.get_all(paths))
        await asyncio.wait({late}, timeout=0.3)  # until they are there: some may be answered already
        for hold in held.values():
            hold.let_go()

        assert {answer.status for answers in await early for answer in answers} == {200}
        assert set(map(version_of, await late)) == {1}
        await check_new(fleet, paths)


def version_of(answer: Answer) -> int:
    return answer.version


async def until_in_l2(fleet: Fleet, paths: Sequence[str]) -> None:
    """Until the other replicas wait for no write of theirs any more."""
    assert paths
    await until(lambda: has_no_writes(fleet))


async def has_no_writes(fleet: Fleet) -> bool:
    return await fleet.sum_of("sidecache_l2_queue_entries ") == 0


def has_any(server: Valkey, paths: Sequence[str]) -> bool:
    contents = contents_of_l2(server)
    return any(f"{path} 0".encode() in contents for path in paths)


def has_all(server: Valkey, paths: Sequence[str]) -> bool:
    contents = contents_of_l2(server)
    return all(f"{path} 0".encode() in contents for path in paths)


def contents_of_l2(server: Valkey) -> bytes:
    names = server.ask("KEYS", "shop:e3:*")
    return b"\n".join(value or b"" for value in server.ask("MGET", *names)) if names else b""
