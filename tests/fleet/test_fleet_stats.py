"""What operators see of a fleet: real sidecar processes on one real Valkey, one of them stopped or killed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.observe.tasks import spawn
from tests.support.fleet import CUT_OFF, Answer, Fleet, name_of, until
from tests.support.sidecar import Sidecar, ask, running_sidecar
from tests.support.valkey import Valkey

REPLICAS = 3
CLIENTS = 25
"""Of each replica."""
L2 = '{{url: "{url}", timeout: 2s, namespace: shop}}'
ROUTES = """
routes: [{name: all, match: {path: "/**"}, ttl: 1h, coalesce: {wait: 10s}}]
"""


@pytest.fixture
async def fleet(server: Valkey, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet.started(tmp_path, [L2.format(url=server.url)] * REPLICAS, ROUTES) as made:
        await until(lambda: everybody_has_read(made))
        yield made


def burst(fleet: Fleet, path: str, replicas: list[Sidecar]) -> asyncio.Task[list[Answer]]:
    """All clients of these replicas ask at once."""
    return spawn("burst", fleet.get_all([path], [replica for replica in replicas for _ in range(CLIENTS)]))


async def everybody_has_read(fleet: Fleet) -> bool:
    """And has said so: with its second poll."""
    replicas = (await stats(fleet.replicas[0]))["fleet"]["replicas"] or []
    return [each["behind_records"] for each in replicas] == [0] * REPLICAS


async def stats(replica: Sidecar) -> dict[str, Any]:
    answer = await asyncio.to_thread(ask, replica.admin, "/stats")
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def told(fleet: Fleet, name: str, label: str | None = None) -> int:
    """A number of /stats, of all replicas that live together."""
    shown = [(await stats(replica))[name] for replica in fleet.replicas]
    return sum(value.get(label, 0) if label is not None else value for value in shown)


@contextmanager
def stopped(replica: Sidecar) -> Iterator[None]:
    replica.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        replica.process.send_signal(signal.SIGCONT)


async def test_a_stopped_replica_is_seen_to_lag_and_is_named_missing(fleet: Fleet) -> None:
    one, two, third = fleet.replicas
    with stopped(third):
        answer = await asyncio.to_thread(one.post_admin, "/purge?wait=1s", {"urls": ["/a"]})
        seen = (await stats(one))["fleet"]
        arguments = ["purge", "--url", "/b", "--wait", "200ms", "--admin", f"http://{two.admin}"]
        command = await asyncio.to_thread(CliRunner().invoke, main, arguments)

    purged = json.loads(answer.body)
    replicas = {"known": 3, "acknowledged": 2, "missing": [name_of(third)]}
    assert (purged["published"], purged["complete"], purged["replicas"]) == (True, False, replicas)

    behind = {each["name"]: each["behind_records"] for each in seen["replicas"]}
    longest_silent = seen["replicas"][0]
    assert behind == {name_of(one): 0, name_of(two): 0, name_of(third): 1}
    assert longest_silent["name"] == name_of(third)
    assert longest_silent["silent_seconds"] >= 0.9
    assert [each["name"] for each in seen["here"]] == [name_of(one)]
    assert (seen["here"][0]["state"], seen["here"][0]["position"]) == ("trusted", purged["id"])

    assert command.exit_code == 1
    assert name_of(third) in command.stderr
    assert "What to do: " in command.stderr

    async def has_caught_up() -> bool:
        after = (await stats(third))["fleet"]
        return after["here"][0]["state"] == "trusted" and not any(
            r["behind_records"] for r in after["replicas"]
        )

    await until(has_caught_up)


async def test_the_leases_of_a_burst_are_counted(fleet: Fleet) -> None:
    async def others_wait() -> bool:
        return await told(fleet, "lease_waits", "all") == REPLICAS - 1

    async def nobody_holds() -> bool:
        return await told(fleet, "leases_held") == 0

    hold = fleet.origin.hold("/cold", holds_all=True)
    clients = burst(fleet, "/cold", fleet.replicas)
    await until(others_wait)
    held = await told(fleet, "leases_held")
    hold.let_go()

    assert [answer[:2] for answer in await clients] == [(200, 0)] * (REPLICAS * CLIENTS)
    assert held == 1
    assert [await told(fleet, "leases", f"all {result}") for result in ("held", "shared", "takeover")] == [
        1,
        2,
        0,
    ]
    assert await told(fleet, "lease_waits", "all") == 2
    await until(nobody_holds)


async def test_a_takeover_from_a_killed_leader_is_counted_and_the_dead_is_seen(fleet: Fleet) -> None:
    async def others_wait() -> bool:
        return await told(fleet, "lease_waits", "all") == REPLICAS - 1

    hold = fleet.origin.hold("/slow", holds_all=True)
    leader = fleet.replicas[0]
    doomed = burst(fleet, "/slow", [leader])
    await fleet.origin.was_asked("/slow")
    others = burst(fleet, "/slow", fleet.replicas[1:])
    await until(others_wait)
    await fleet.kill(leader)
    await fleet.origin.was_asked("/slow", 2)
    hold.let_go()

    assert [answer[:2] for answer in await others] == [(200, 0)] * ((REPLICAS - 1) * CLIENTS)
    assert [await told(fleet, "leases", f"all {result}") for result in ("held", "shared", "takeover")] == [
        0,
        1,
        1,
    ]
    seen = (await stats(fleet.replicas[0]))["fleet"]
    assert seen["replicas"][0]["name"] == name_of(leader)
    assert seen["known"] == REPLICAS
    assert set(await doomed) == {CUT_OFF}


def test_workers_are_shown_as_replicas_of_one_fleet(server: Valkey, tmp_path: Path) -> None:
    policies = f"workers: 2\nl2: {L2.format(url=server.url)}\n{ROUTES}"
    with running_sidecar(tmp_path, "http://127.0.0.1:1", policies) as sidecar:
        purged = json.loads(sidecar.post_admin("/purge?wait=1s", {"urls": ["/a"]}).body)
        shown = json.loads(ask(sidecar.admin, "/stats").body)
        metrics = ask(sidecar.ops, "/metrics").body.decode()

    names = [f"{name_of(sidecar)}-{index}" for index in range(2)]
    assert purged["replicas"] == {"known": 2, "acknowledged": 2, "missing": []}
    assert [each["name"] for each in shown["fleet"]["here"]] == names
    assert sorted(each["name"] for each in shown["fleet"]["replicas"]) == names
    assert shown["fleet"]["known"] == shown["replicas_known"] == 2
    assert "\nsidecache_replicas_known 2.0" in metrics
