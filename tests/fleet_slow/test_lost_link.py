"""Replicas that are cut off from Redis, while others purge and while Redis is replaced: what they serve then.

Five real processes: four that the tests cut off, one for each way to go on without the log and one that is
never out of step for long enough, and one that purges meanwhile.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from time import monotonic

import pytest
import pytest_asyncio

from proxy.observe.tasks import spawn
from tests.support.cut_link import CutLink
from tests.support.fleet import Answer, Fleet, has_applied, name_of, selectors_in, tail_of, until
from tests.support.sidecar import Sidecar
from tests.support.valkey import Valkey, running_valkey

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

MAX_UNSYNCED = 2.0
ATTEMPT_SECONDS = 0.5
APPLIED_SECONDS = 1.0
NOTICED_SECONDS = 1.0
"""A poll each 0.09 s, each with a deadline of 0.25 s; the rest is for what the test asks meanwhile."""
KEYS, TAGS, KEYS_OF_TAG = 1_000, 10, 5
L2 = '{{url: "{url}", timeout: 1s, namespace: shop, max_unsynced: {seconds}, when_unsynced: {when}}}'
ROUTES = """
routes:
- {name: tagged, match: {path: "/tagged/{tag}/*"}, ttl: 1h, tags: ["tag:{tag}"]}
- {name: all, match: {path: "/**"}, ttl: 1h}
"""
POLL_ERRORS = 'sidecache_log_errors_total{operation="poll"} '


class Site:
    """The fleet, its links and its servers."""

    def __init__(self, fleet: Fleet, links: Sequence[CutLink], server: Valkey, spare: Valkey) -> None:
        self.fleet = fleet
        self.origin = fleet.origin
        self.patient_link, self.link, self.home = links
        self.server = server
        """Where all links lead."""
        self.spare = spare
        self.patient, self.short, self.serve, self.bypass, self.well = fleet.replicas
        self.impatient = [self.short, self.serve, self.bypass]
        self.lost = [self.patient, *self.impatient]

    def cut(self) -> None:
        self.patient_link.cut()
        self.link.cut()

    def restore(self) -> None:
        self.patient_link.restore()
        self.link.restore()

    def move(self) -> None:
        """All links lead to the other server."""
        self.server, self.spare = self.spare, self.server
        for link in (self.patient_link, self.link, self.home):
            link.move(self.server.port)

    async def purge(self, *paths: str) -> None:
        """By the one that is not cut off."""
        assert (await self.fleet.purge(self.well, {"urls": list(paths)}))["published"]

    async def until_in_step(self, replicas: Sequence[Sidecar] = ()) -> float:
        """Until each has applied all that stands in the log, by what it registers; seconds."""

        def are_there() -> bool:
            tail = tail_of(self.server)
            return tail is not None and all(
                has_applied(self.server, replica, tail) for replica in replicas or self.fleet.replicas
            )

        return await until(are_there)

    async def until_out_of_step(self) -> None:
        """Until the impatient ones trust the log no more."""
        await until(lambda: self.fleet.are_trusting(self.impatient, are=False))


@pytest.fixture(scope="module")
def spare_server() -> Iterator[Valkey]:
    with running_valkey(repl_diskless_sync_delay="0") as server:
        yield server


@pytest.fixture(scope="module")
def first_server() -> Iterator[Valkey]:
    with running_valkey(repl_diskless_sync_delay="0") as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(
    first_server: Valkey, spare_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(CutLink(first_server.port)) for _ in range(3)]
        patient, link, home = (each.url for each in links)
        l2s = [L2.format(url=patient, seconds="60s", when="short")]
        seconds = f"{MAX_UNSYNCED}s"
        l2s += [L2.format(url=link, seconds=seconds, when=when) for when in ("short", "serve", "bypass")]
        l2s.append(L2.format(url=home, seconds=seconds, when="short"))
        fleet = Fleet.started(tmp_path_factory.mktemp("lost"), l2s, ROUTES)
        yield Site(await stack.enter_async_context(fleet), links, first_server, spare_server)


@pytest_asyncio.fixture(loop_scope="module")
async def site(started: Site) -> Site:
    """All are in step, whatever a test before has left."""
    started.restore()
    await started.until_in_step()
    await until(lambda: started.fleet.are_trusting(started.fleet.replicas))
    await until(lambda: l2_is_asked(started))
    return started


async def l2_is_asked(site: Site) -> bool:
    return await site.fleet.sum_of("sidecache_l2_breaker_open ") == 0


async def fill(site: Site, replica: Sidecar, paths: Sequence[str]) -> list[Answer]:
    """Ask for all, some at a time."""
    answers: list[Answer] = []
    for first in range(0, len(paths), 50):
        answers += await site.fleet.get_all(paths[first : first + 50], [replica])
    assert {answer.status for answer in answers} == {200}
    return answers


async def test_a_thousand_keys_and_ten_tags_that_were_purged_meanwhile(site: Site) -> None:
    keys = [f"/keys/{number}" for number in range(KEYS)]
    tagged = [f"/tagged/{tag}/{number}" for tag in range(TAGS) for number in range(KEYS_OF_TAG)]
    purged, kept = [*keys, *tagged], "/kept"
    await fill(site, site.patient, [*purged, kept])
    assert all("detail=l1" in answer.cache_status for answer in await fill(site, site.patient, purged))

    site.cut()
    cut_at = monotonic()
    answer = await site.fleet.purge(site.well, {"urls": ["/none"]}, wait="200ms")
    for path in purged:
        site.origin.change(path)
    for first in range(0, KEYS, 50):
        await asyncio.gather(*(site.purge(key) for key in keys[first : first + 50]))
    for tag in range(TAGS):
        await site.fleet.purge(site.well, {"tags": [f"tag:{tag}"]})
    await asyncio.sleep(max(0.0, cut_at + 2.0 - monotonic()))
    restored_at = monotonic()
    site.restore()
    await site.until_in_step([site.patient])
    applied_at = monotonic()
    late = await site.fleet.late_seconds(site.patient)

    assert sorted(answer["replicas"]["missing"]) == sorted(map(name_of, site.lost))
    attempts = [at for at in site.patient_link.accepted_at if at >= cut_at]
    reconnected_at = next(at for at in attempts if at >= restored_at)
    assert max(after - before for before, after in pairwise([cut_at, *attempts])) <= ATTEMPT_SECONDS + late
    assert applied_at - reconnected_at <= APPLIED_SECONDS + late
    assert {answer.version for answer in await fill(site, site.patient, purged)} == {1}
    assert "detail=l1" in (await site.fleet.get(site.patient, kept)).cache_status


async def test_what_is_served_while_the_log_is_out_of_reach_for_too_long(site: Site) -> None:
    fleet, origin = site.fleet, site.origin
    own, shared = "/unsynced/{}/own", "/unsynced/{}/shared"
    ways = {"short": site.short, "serve": site.serve, "bypass": site.bypass}
    paths = [path.format(way) for way in ways for path in (own, shared)]
    await fleet.get_all([shared.format(way) for way in ways], [site.well])
    for way, replica in ways.items():
        answers = [await fleet.get(replica, path.format(way)) for path in (own, shared, own, shared)]
        assert [way_of(answer) for answer in answers] == ["uri-miss", "l2", "l1", "l1"], answers
    refused = {way: await fleet.metric(replica, "sidecache_unsynced_total ") for way, replica in ways.items()}

    async def ask(way: str, path: str = own) -> tuple[str, int]:
        answer = await fleet.get(ways[way], path.format(way))
        assert answer.status == 200, answer
        return way_of(answer), answer.version

    site.cut()
    for path in paths:
        origin.change(path)
    await site.purge(*paths)
    assert [await ask(way) for way in ways] == [("l1", 0)] * 3
    await site.until_out_of_step()
    await asyncio.sleep(0.2)  # what was fetched between the last poll and the cut is older, too, by then

    # Only what it fetched itself just now.
    assert [await ask("short") for _ in range(2)] == [("uri-miss", 1), ("unsynced", 1)]
    assert [await ask("short", shared) for _ in range(2)] == [("uri-miss", 1), ("unsynced", 1)]
    # All that it holds: purges may be missed.
    assert [await ask("serve", path) for path in (own, shared)] == [("unsynced", 0)] * 2
    # Nothing.
    assert [await ask("bypass", path) for path in (own, own, shared)] == [("uri-miss", 1)] * 3
    await asyncio.sleep(MAX_UNSYNCED)
    origin.change(own.format("short"))
    assert await ask("short") == ("uri-miss", 2)
    grown = {way: await fleet.metric(each, "sidecache_unsynced_total ") for way, each in ways.items()}
    assert {way for way in ways if grown[way] > refused[way]} == {"short", "bypass"}

    site.restore()
    await site.until_in_step()
    # Also what was fetched meanwhile is older than the purge by all that its replica could know.
    for way, version in (("short", 2), ("serve", 1), ("bypass", 1)):
        assert [await ask(way) for _ in range(2)] == [("uri-miss", version), ("l1", version)]
    assert await ask("serve", shared) == ("uri-miss", 1)


async def test_what_stands_in_for_an_origin_that_fails_meanwhile(site: Site) -> None:
    path = "/unsynced/failing"
    for replica in site.impatient:
        await site.fleet.get(replica, path)
    site.cut()
    await site.until_out_of_step()
    site.origin.failing.add(path)
    answers = [await site.fleet.get(replica, path) for replica in (site.short, site.bypass)]
    site.restore()

    assert [(answer.status, way_of(answer), answer.version) for answer in answers] == [
        (200, "unsynced", 0)
    ] * 2


def way_of(answer: Answer) -> str:
    """`detail` of a hit or a stand-in; else why the origin was asked."""
    words = dict(word.strip().partition("=")[::2] for word in answer.cache_status.split(";"))
    return words.get("detail") or words.get("fwd", "")


async def nothing(_site: Site) -> None:
    pass


async def promote_a_replica(site: Site) -> None:
    """The spare has all that was written until now, and nothing of what comes."""
    site.spare.ask("FLUSHALL")
    site.spare.ask("REPLICAOF", "127.0.0.1", site.server.port)
    await until(lambda: tail_of(site.spare) == tail_of(site.server) is not None)
    await until(lambda: site.spare.ask("DBSIZE") == site.server.ask("DBSIZE"))
    site.spare.ask("REPLICAOF", "NO", "ONE")


async def trim(site: Site) -> None:
    site.server.ask("XTRIM", "shop:log", "MAXLEN", 1)


async def delete(site: Site) -> None:
    """As an eviction does: L2 is still there."""
    site.server.ask("DEL", "shop:log")


async def flush(site: Site) -> None:
    site.server.ask("FLUSHALL")


async def replace(site: Site) -> None:
    site.spare.ask("FLUSHALL")
    site.move()


async def fail_over(site: Site) -> None:
    site.move()


Step = Callable[[Site], Awaitable[None]]
TROUBLES = [
    (nothing, trim),
    (nothing, delete),
    (nothing, flush),
    (nothing, replace),
    (promote_a_replica, fail_over),
]


@pytest.mark.parametrize(("before", "trouble"), TROUBLES, ids=[step.__name__ for _, step in TROUBLES])
async def test_a_log_that_is_another_one_when_the_link_is_back(
    site: Site, before: Step, trouble: Step
) -> None:
    fleet, origin, name = site.fleet, site.origin, trouble.__name__
    purged = [f"/{name}/purged/{number}" for number in range(3)]
    held = {replica.data: f"/{name}/held/{number}" for number, replica in enumerate(site.lost)}
    in_l2 = {replica.data: f"/{name}/in-l2/{number}" for number, replica in enumerate(site.lost)}
    only_l2 = f"/{name}/purged/only-l2"
    await fleet.get_all([*purged, *in_l2.values(), only_l2], [site.well])
    for replica in site.lost:
        await fleet.get_all([*purged, held[replica.data]], [replica])
    await until(lambda: has_no_writes(site))
    await before(site)

    site.cut()
    for path in (*purged, only_l2):
        origin.change(path)
        await site.purge(path)
    await site.until_out_of_step()
    await trouble(site)
    site.restore()
    if trouble is not trim:  # what was trimmed is below the floor; whatever else is lost comes back
        await until(lambda: {only_l2, *purged} <= urls_in_log(site))
    await site.until_in_step()

    for replica in fleet.replicas:
        assert {answer.version for answer in await fleet.get_all(purged, [replica])} == {1}
    if trouble is not fail_over:  # there the log is the same, but for its end
        for replica in site.lost:
            for path in (held[replica.data], in_l2[replica.data]):
                assert (await fleet.get(replica, path)).version == 0
                assert origin.asked[path] == 2, path
    (late,) = await fleet.join(L2.format(url=site.home.url, seconds="60s", when="short"))
    assert {answer.version for answer in await fleet.get_all([*purged, only_l2], [late])} == {1}
    await fleet.leave(late)


async def has_no_writes(site: Site) -> bool:
    return await site.fleet.sum_of("sidecache_l2_queue_entries ") == 0


def urls_in_log(site: Site) -> set[str]:
    return {url for selectors in selectors_in(site.server) for url in selectors.get("urls", [])}


async def test_a_replica_that_stood_still_obeys_what_was_purged_meanwhile(site: Site) -> None:
    """Although it cannot read the log yet: trust is compared at use, no timer ends it."""
    fleet, path = site.fleet, "/stopped"
    for _ in range(2):  # a copy that was never asked for since is looked at closely anyway
        await fleet.get_all([path])
    site.short.process.send_signal(signal.SIGSTOP)
    try:
        site.origin.change(path)
        answer = await fleet.purge(site.well, {"urls": [path]}, wait="200ms")
        waiting = [spawn("client", fleet.get(site.short, path)) for _ in range(20)]
        await asyncio.sleep(MAX_UNSYNCED)
        site.link.stall()
    finally:
        site.short.process.send_signal(signal.SIGCONT)
    versions = {(await client).version for client in waiting}
    site.link.flow()

    assert name_of(site.short) in answer["replicas"]["missing"]
    assert versions == {1}
    await site.until_in_step()
    assert await fleet.versions(path) == {1}


async def test_a_server_that_falls_silent_is_noticed_by_the_polls(site: Site) -> None:
    path = "/silent/server"
    await site.fleet.get_all([path])
    errors = {replica.data: await site.fleet.metric(replica, POLL_ERRORS) for replica in site.fleet.replicas}
    site.server.pause()
    try:
        noticed = [await until_more(site, replica, errors[replica.data]) for replica in site.fleet.replicas]
        answers = await site.fleet.get_all([path])
        site.origin.change(path)
        purge = await site.fleet.purge(site.well, {"urls": [path]})
        await site.until_out_of_step()
    finally:
        site.server.resume()
    recovered = await until(lambda: is_new_everywhere(site, path))
    late = max([await site.fleet.late_seconds(replica) for replica in site.fleet.replicas])

    assert max(noticed) <= NOTICED_SECONDS + late
    assert all(answer.is_hit for answer in answers)
    assert not purge["published"]  # it was applied there, and is appended when the server answers (R21)
    assert recovered <= ATTEMPT_SECONDS + APPLIED_SECONDS + late
    await until(lambda: site.fleet.are_trusting(site.fleet.replicas))


async def is_new_everywhere(site: Site, path: str) -> bool:
    return await site.fleet.versions(path) == {site.origin.version(path)}


async def until_more(site: Site, replica: Sidecar, errors: float) -> float:
    async def are_more() -> bool:
        return await site.fleet.metric(replica, POLL_ERRORS) > errors

    return await until(are_more)


async def test_a_link_that_loses_every_byte_is_noticed_and_nothing_is_missed(site: Site) -> None:
    path = "/silent/link"
    await site.fleet.get_all([path])
    errors = await site.fleet.metric(site.patient, POLL_ERRORS)
    site.patient_link.drop()
    noticed = await until_more(site, site.patient, errors)
    site.origin.change(path)
    await site.purge(path)
    site.patient_link.restore()
    applied = await site.until_in_step([site.patient])
    late = await site.fleet.late_seconds(site.patient)

    assert noticed <= NOTICED_SECONDS + late
    assert applied <= ATTEMPT_SECONDS + APPLIED_SECONDS + late
    assert await site.fleet.versions(path) == {1}
