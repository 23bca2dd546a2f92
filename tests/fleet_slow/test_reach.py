"""A purge reaches eight replicas under load: after `?wait` none of them has the old content, ever."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path
from time import monotonic

import pytest
import pytest_asyncio

from proxy.observe.tasks import spawn
from tests.support import bare_poller
from tests.support.fleet import Fleet, name_of
from tests.support.valkey import Valkey

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

REPLICAS = 8
LANES = 10
ROUNDS = 500
"""Of all lanes together."""
SOON_SECONDS = 0.1
SOON_ROUNDS = 60
PACE_SECONDS = 0.09
"""The longest pause between two polls, as docs/fleet.md says."""
LATE_SHARE = 0.01
L2 = '{{url: "{url}", timeout: 2s, namespace: shop, max_unsynced: 5s}}'
ROUTES = """
routes:
- {name: near, match: {path: "/near/{lane}/**"}, ttl: 1h, tags: ["lane:{lane}"]}
- {name: far, match: {path: "/far/{lane}/**"}, ttl: 1h, l1_ttl: 0s, tags: ["lane:{lane}"]}
"""
"""The first is answered from L1, the second from L2 each time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(fleet_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    l2s = [L2.format(url=fleet_server.url)] * REPLICAS
    async with Fleet.started(tmp_path_factory.mktemp("reach"), l2s, ROUTES) as started:
        await started.settle()
        yield started


class Obedience:
    """What the operator was promised for each path, and what the replicas answer."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._promised: Counter[str] = Counter()
        self.answers = 0
        self.faults: list[tuple[object, ...]] = []

    def promise(self, path: str) -> None:
        """From now on nobody may have anything older than this."""
        self._promised[path] = self._fleet.origin.version(path)

    async def ask(self, path: str, number: int) -> None:
        """Of one replica; bound by what was promised before."""
        promised = self._promised[path]
        answer = await self._fleet.get(self._fleet.replicas[number], path)
        self.answers += 1
        if answer.status != 200 or answer.version < promised:
            self.faults.append((path, number, promised, answer))

    async def ask_all(self, path: str) -> None:
        await asyncio.gather(*(self.ask(path, number) for number in range(len(self._fleet.replicas))))


@asynccontextmanager
async def load(obedience: Obedience, paths: list[str], *, clients: int, pause: float) -> AsyncIterator[None]:
    """Clients who ask any replica for anything, on and on."""

    async def ask_on(dice: random.Random) -> None:
        while True:
            await obedience.ask(dice.choice(paths), dice.randrange(REPLICAS))
            await asyncio.sleep(pause)

    tasks = [spawn("client", ask_on(random.Random(number))) for number in range(clients)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def paths_of(lane: int) -> list[str]:
    return [f"/near/{lane}/x", f"/far/{lane}/x"]


def selectors_of(lane: int, dice: random.Random) -> dict[str, object]:
    near, far = paths_of(lane)
    return dice.choice(
        [
            {"urls": [near, far]},
            {"tags": [f"lane:{lane}"]},
            {"prefixes": [f"/near/{lane}/", f"/far/{lane}/"]},
            {"patterns": [f"/*/{lane}/**"]},
        ]
    )


async def purge_round(fleet: Fleet, obedience: Obedience, lane: int, dice: random.Random) -> float:
    """New content, purged at any replica; seconds until that one knew that all have applied it."""
    for path in paths_of(lane):
        fleet.origin.change(path)
    while True:
        began_at = monotonic()
        answer = await fleet.purge(dice.choice(fleet.replicas), selectors_of(lane, dice), wait="1s")
        seconds = monotonic() - began_at
        counted = answer["replicas"]
        assert counted["known"] == REPLICAS, answer
        if not answer["published"]:
            continue  # Redis did not answer in time: nothing was promised
        missing = set(counted["missing"])
        assert counted["acknowledged"] + len(missing) == REPLICAS, answer
        assert missing <= {name_of(replica) for replica in fleet.replicas}
        if not missing:
            break  # a busy machine may need longer than a second; then these were named
    for path in paths_of(lane):
        obedience.promise(path)
    await asyncio.gather(*(obedience.ask_all(path) for path in paths_of(lane)))
    return seconds


async def test_after_the_wait_nobody_serves_the_old_content_ever(fleet: Fleet, fleet_server: Valkey) -> None:
    obedience = Obedience(fleet)
    paths = [path for lane in range(LANES) for path in paths_of(lane)]

    async def rounds(lane: int) -> list[float]:
        dice = random.Random(lane)
        return [await purge_round(fleet, obedience, lane, dice) for _ in range(ROUNDS // LANES)]

    async with load(obedience, paths, clients=4, pause=0.002):
        seconds = sorted(chain.from_iterable(await asyncio.gather(*map(rounds, range(LANES)))))
    (late,) = await fleet.join(L2.format(url=fleet_server.url))
    for path in paths:
        await obedience.ask_all(path)
    await fleet.leave(late)

    assert obedience.faults == []
    assert len(seconds) == ROUNDS
    assert obedience.answers > ROUNDS * REPLICAS
    # It is answered when all have applied it, not when the second is over.
    assert seconds[ROUNDS // 2] < 0.9


async def test_without_a_wait_all_but_a_hundredth_have_it_within_100_ms(
    fleet: Fleet, fleet_server: Valkey
) -> None:
    """Beside as many bare processes that poll at the same pace: what makes those late is the machine."""
    obedience = Obedience(fleet)
    dice = random.Random(0)
    path = "/near/soon/x"
    late, asked_at = 0, []
    with bare_pollers(fleet_server, "mark") as pollers:
        async with load(obedience, ["/near/other/x", "/far/other/x"], clients=4, pause=0.02):
            for number in range(SOON_ROUNDS):
                await obedience.ask_all(path)
                fleet.origin.change(path)
                await fleet.purge(dice.choice(fleet.replicas), {"urls": [path]})
                answered_at = monotonic()
                await asyncio.to_thread(fleet_server.ask, "SET", "mark", number)
                await asyncio.sleep(answered_at + SOON_SECONDS - monotonic())
                asked_at.append(monotonic())
                answers = await fleet.get_all([path])
                late += sum(answer.version <= number for answer in answers)
        assert (await fleet.versions(path)) == {SOON_ROUNDS}
        bare_late = sum(is_late(line, asked_at) for line in lines_of(pollers))

    observed = SOON_ROUNDS * REPLICAS
    assert late <= LATE_SHARE * observed + bare_late, f"{late} of {observed}, bare processes {bare_late}"
    assert obedience.faults == []


def is_late(line: str, asked_at: list[float]) -> bool:
    value, seen_at = line.split()
    return float(seen_at) > asked_at[int(value)]


@contextmanager
def bare_pollers(server: Valkey, key: str) -> Iterator[list[subprocess.Popen[str]]]:
    server.ask("SET", key, 0)
    command = [sys.executable, str(Path(bare_poller.__file__)), str(server.port), key, str(PACE_SECONDS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pollers = [subprocess.Popen(command, **pipes) for _ in range(REPLICAS)]
    try:
        yield pollers
    finally:
        for poller in pollers:
            poller.kill()
            poller.communicate()


def lines_of(pollers: list[subprocess.Popen[str]]) -> list[str]:
    """What they have seen; they end."""
    texts = [poller.communicate(timeout=10)[0] for poller in pollers]
    # The first mark is seen whenever the poller begins.
    return [line for text in texts for line in text.splitlines() if not line.startswith("0 ")]
