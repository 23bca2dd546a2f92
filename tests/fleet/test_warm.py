"""Warm starts: real sidecar processes on one real Valkey; what is hot in one is in L1 of the next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web
from click.testing import CliRunner

from proxy.cli import main
from tests.support.served import served
from tests.support.sidecar import Sidecar, ask, running_sidecar
from tests.support.valkey import Valkey, free_port, running_valkey

HOT = [f"/hot/{number}" for number in range(30)]
LANGUAGE = {"Accept_Language": "de"}
"""The hot answers vary by it."""
PATIENCE_SECONDS = 30.0
POLICIES = """
l2: {{url: "{url}", timeout: 2s, namespace: shop}}
warm: {{from: l2, timeout: {timeout}}}
routes: [{{name: all, match: {{path: "/**"}}, ttl: 1h}}]
workers: {workers}
"""


@dataclass
class Origin:
    """Counts what it is asked for; a changed content has another version."""

    version: int = 1
    asked: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        return web.Response(text=f"{request.path} {self.version}", headers={"Vary": "Accept-Language"})

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/{path:.*}", self.answer)
        return application


@dataclass
class World:
    """One replica that is hot, has told so, and has purged something since."""

    origin: Origin
    url: str
    server: Valkey

    def policies(self, *, workers: int = 1) -> str:
        return POLICIES.format(url=self.server.url, timeout="5s", workers=workers)


def get(replica: Sidecar, path: str) -> tuple[str, str]:
    """Body and Cache-Status."""
    said = ask(replica.data, path, Host="shop", **LANGUAGE)
    assert said.status == 200
    return said.body.decode(), said.field("Cache-Status") or ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    origin = Origin()
    with running_valkey() as server, served(origin.application()) as url:
        made = World(origin, url, server)
        with running_sidecar(tmp_path_factory.mktemp("first"), url, made.policies()) as first:
            heat_up(first, server)
            origin.version = 2
            purged = first.post_admin("/purge", {"urls": [HOT[0]]})
            assert json.loads(purged.body)["published"]
            yield made


def heat_up(first: Sidecar, server: Valkey) -> None:
    """Ask for the hot ones until it has told."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not server.ask("KEYS", "shop:e3:hot:*"):
        assert monotonic() < deadline, "it never told"
        for path in HOT:
            get(first, path)


def line(replica: Sidecar, event: str) -> dict[str, object]:
    lines = (json.loads(line) for line in replica.lines if line.startswith("{"))
    return next(line for line in lines if line["event"] == event)


def test_hot_keys_are_hits_in_l1_of_a_new_replica_at_once(world: World, tmp_path: Path) -> None:
    with running_sidecar(tmp_path, world.url, world.policies()) as second:
        asked, looked_up = world.origin.asked.copy(), world.server.calls("mget")
        answers = [get(second, path) for path in HOT[1:]]

        assert [body for body, _ in answers] == [f"{path} 1" for path in HOT[1:]]
        assert all("; hit; " in status and status.endswith("; detail=l1") for _, status in answers)
        assert (world.origin.asked, world.server.calls("mget")) == (asked, looked_up)
        warmed = line(second, "warmed")
        assert (warmed["complete"], warmed["invalidated"]) == (True, 1)
        assert warmed["kept"] == 2 * len(HOT) - 1  # each with its Vary record


def test_what_was_purged_does_not_come_back(world: World, tmp_path: Path) -> None:
    with running_sidecar(tmp_path, world.url, world.policies()) as second:
        asked = world.origin.asked[HOT[0]]
        body, _ = get(second, HOT[0])

        assert body == f"{HOT[0]} 2"
        assert world.origin.asked[HOT[0]] == asked + 1


def test_each_worker_is_warm_when_all_are_ready(world: World, tmp_path: Path) -> None:
    with running_sidecar(tmp_path, world.url, world.policies(workers=2)) as second:
        # Connections of their own: the kernel spreads them over the workers.
        statuses = [get(second, HOT[1])[1] for _ in range(20)]
        stats = json.loads(ask(second.admin, "/stats").body)

        assert all(status.endswith("; detail=l1") for status in statuses)
        assert sum(stats["warmed"].values()) == 2 * 2 * len(HOT)
        assert stats["warming"] == 0.0


@pytest.mark.parametrize("workers", [1, 2])
def test_without_redis_it_is_ready_when_its_time_is_over(world: World, tmp_path: Path, workers: int) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    policies = POLICIES.format(url=nowhere, timeout="2s", workers=workers)
    with running_sidecar(tmp_path, world.url, policies) as second:
        events = [(line["event"], line) for line in map(json.loads, second.lines)]
        warmed = [line for event, line in events if event == "warmed"]
        body, _ = get(second, "/cold")

        assert [(line["complete"], line["listed"]) for line in warmed] == [(False, 0)] * workers
        assert all(0.8 < line["seconds"] < 3.0 for line in warmed)
        # Readiness waited for each of them, and ended with the last.
        told = [event for event, _ in events if event in {"warmed", "ready"}]
        assert told[: workers + 1] == ["warmed"] * workers + ["ready"]
        assert body == f"/cold {world.origin.version}"


@pytest.mark.parametrize("workers", [1, 2])
def test_urls_that_an_operator_warms_are_hits_in_each_l1(world: World, tmp_path: Path, workers: int) -> None:
    urls = [f"http://shop/new/{workers}/{number}" for number in range(3)]
    with running_sidecar(tmp_path, world.url, world.policies(workers=workers)) as second:
        arguments = ["warm", *urls, "--header", "Accept-Language: de", "--admin", f"http://{second.admin}"]
        told = CliRunner().invoke(main, arguments)
        asked = world.origin.asked.copy()
        statuses = [get(second, f"/new/{workers}/{number % 3}")[1] for number in range(20)]

        assert (told.exit_code, told.stdout.count("\n")) == (0, 3 * workers + 1)
        assert all(status.endswith("; detail=l1") for status in statuses)
        assert [asked[f"/new/{workers}/{number}"] for number in range(3)] == [1, 1, 1]
        assert world.origin.asked == asked


def test_a_purge_with_refresh_has_the_new_content_fetched(world: World, tmp_path: Path) -> None:
    paths = [f"/again/{number}" for number in range(5)]
    policies = world.policies() + "limits: {refresh_entries: 3}"
    with running_sidecar(tmp_path, world.url, policies) as second:
        for path in paths:
            ask(second.data, path, Host="shop")
        get(second, paths[0])  # another variant: no URL leads to it
        world.origin.version += 1
        said = second.post_admin("/purge", {"prefixes": ["/again/"], "refresh": True})
        until_fetched(second, 3)
        asked = world.origin.asked.copy()
        answers = [ask(second.data, path, Host="shop") for path in paths[2:]]

        assert json.loads(said.body)["refreshing"] == 3
        assert [asked[path] for path in paths] == [2, 1, 2, 2, 2]
        assert [answer.body.decode() for answer in answers] == [
            f"{path} {world.origin.version}" for path in paths[2:]
        ]
        assert all("; hit; " in str(answer.field("Cache-Status")) for answer in answers)
        assert world.origin.asked == asked


def until_fetched(replica: Sidecar, count: int) -> None:
    """Until so many were fetched again, which tells nobody."""
    deadline = monotonic() + PATIENCE_SECONDS
    while (done := json.loads(ask(replica.admin, "/stats").body)["prefetches"]) != {"refresh stored": count}:
        assert monotonic() < deadline, done
