"""What every worker is asked, and what their answers make together, over real HTTP."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from proxy.admin.fan_out import Asked, Told, fan_out_application
from proxy.admin.operations import InspectionPages
from tests.support.operators import FakeConfiguration, FakeInspection, opened

JSON = "application/json"


def reached(number: int = 1, *, published: bool = True, complete: bool = False, **changes):
    replicas = {"known": 1, "acknowledged": 1, "missing": [], **changes}
    content = {"id": f"7-{number}", "published": published, "complete": complete, "replicas": replicas}
    return Told(200 if published else 202, orjson.dumps(content), JSON)


class FakeWorkers:
    def __init__(self, *told: Told) -> None:
        self.told = told
        self.asked: list[tuple[Asked, float, bool]] = []
        self.refreshed = 0

    async def ask(self, asked: Asked, *, seconds: float, must_reach: bool) -> Sequence[tuple[int, Told]]:
        self.asked.append((asked, seconds, must_reach))
        return list(enumerate(self.told))

    async def refresh(self) -> None:
        self.refreshed += 1

    def application(self, *, is_shared: bool = False, token: str | None = None):
        shown = InspectionPages(FakeInspection(), FakeConfiguration())
        return fan_out_application(self, shown, FakeConfiguration(), token=token, is_shared=is_shared)


@pytest.mark.parametrize(("path", "seconds"), [("/purge", 5.0), ("/invalidate?wait=2s", 7.0)])
async def test_a_purge_goes_to_all_as_it_came_and_must_reach_them(path, seconds):
    workers = FakeWorkers(reached(1), reached(2))

    async with opened(workers.application()) as call:
        said = await call("POST", path, json={"urls": ["/a"]})

    ((asked, given, must_reach),) = workers.asked
    assert (asked.method, asked.target, orjson.loads(asked.body)) == ("POST", path, {"urls": ["/a"]})
    assert (asked.content_type, given, must_reach) == (JSON, seconds, True)
    assert said.content["replicas"] == {"known": 2, "acknowledged": 2, "missing": []}


async def test_purge_of_a_target_takes_its_query_along():
    workers = FakeWorkers(reached())

    async with opened(workers.application()) as call:
        await call("PURGE", "/products/7?wait=soon")

    assert workers.asked[0][0].target == "/products/7?wait=soon"


@pytest.mark.parametrize(
    ("told", "status", "content"),
    [
        (
            (reached(1, known=3, acknowledged=1), reached(2, known=3, acknowledged=1)),
            200,
            {
                "id": "7-1",
                "published": True,
                "complete": False,
                "replicas": {"known": 3, "acknowledged": 2, "missing": []},
            },
        ),
        (
            (
                reached(1, known=3, acknowledged=3, complete=True),
                reached(2, known=3, acknowledged=2, missing=["far"]),
            ),
            200,
            {
                "id": "7-1",
                "published": True,
                "complete": False,
                "replicas": {"known": 3, "acknowledged": 2, "missing": ["far"]},
            },
        ),
        (
            (
                reached(1, known=3, acknowledged=3, complete=True),
                reached(2, known=3, acknowledged=3, complete=True),
            ),
            200,
            {
                "id": "7-1",
                "published": True,
                "complete": True,
                "replicas": {"known": 3, "acknowledged": 3, "missing": []},
            },
        ),
        (
            (reached(1, published=False), reached(2)),
            200,
            {
                "id": "7-2",
                "published": True,
                "complete": False,
                "replicas": {"known": 2, "acknowledged": 2, "missing": []},
            },
        ),
        (
            (reached(1, published=False), reached(2, published=False)),
            202,
            {
                "id": "7-1",
                "published": False,
                "complete": False,
                "replicas": {"known": 2, "acknowledged": 2, "missing": []},
            },
        ),
    ],
)
async def test_workers_that_share_a_log_are_replicas_of_one_fleet(told, status, content):
    async with opened(FakeWorkers(*told).application(is_shared=True)) as call:
        said = await call("POST", "/purge", json={"urls": ["/a"]})

    assert (said.status, said.content) == (status, content)


@pytest.mark.parametrize("both", [True, False])
async def test_what_workers_purge_each_for_itself_is_complete_when_all_are(both):
    told = (reached(1, complete=True), reached(2, complete=both))

    async with opened(FakeWorkers(*told).application()) as call:
        said = await call("POST", "/purge", json={"urls": ["/a"]})

    assert said.content["complete"] is both


async def test_a_dry_run_counts_every_l1():
    told = [Told(200, orjson.dumps({"dry_run": True, "matched": count}), JSON) for count in (2, 3)]

    workers = FakeWorkers(*told)
    async with opened(workers.application()) as call:
        said = await call("POST", "/purge?dry_run=true", json={"urls": ["/a"]})

    assert said.content == {"dry_run": True, "matched": 5}
    ((_, seconds, must_reach),) = workers.asked
    assert (seconds, must_reach) == (30.0, False)  # it ends no worker that counts slowly


@pytest.mark.parametrize(("told", "status"), [((), 503), ((Told(422, b"{}", JSON),), 422)])
async def test_a_dry_run_that_no_worker_answers_counts_nothing(told, status):
    async with opened(FakeWorkers(*told).application()) as call:
        said = await call("POST", "/purge?dry_run=true", json={"urls": ["/a"]})

    assert said.status == status


async def test_a_fault_that_a_worker_finds_is_the_answer():
    fault = Told(422, b'{"detail":"x"}', "application/problem+json")

    async with opened(FakeWorkers(fault, fault).application()) as call:
        said = await call("POST", "/purge", json={})

    assert (said.status, said.body) == (422, b'{"detail":"x"}')


async def test_without_any_worker_nothing_is_said_to_be_done():
    async with opened(FakeWorkers().application()) as call:
        said = await call("POST", "/purge", json={"urls": ["/a"]})

    assert said.status == 503


async def test_entries_say_which_worker_holds_them_and_keep_the_limit():
    told = [Told(200, orjson.dumps({"entries": [{"key": key}]}), JSON) for key in ("a", "b")]
    workers = FakeWorkers(*told)

    async with opened(workers.application()) as call:
        both = await call("GET", "/entries")
        one = await call("GET", "/entries?limit=1")

    assert both.content == {"entries": [{"key": "a", "worker": 0}, {"key": "b", "worker": 1}]}
    assert one.content == {"entries": [{"key": "a", "worker": 0}]}
    assert workers.asked[0][2] is False


@pytest.mark.parametrize("path", ["/stats", "/pool"])
async def test_what_is_counted_is_of_now(path):
    workers = FakeWorkers()

    async with opened(workers.application()) as call:
        said = await call("GET", path)

    assert (said.status, workers.refreshed) == (200, 1)


async def test_nobody_is_asked_without_the_token():
    workers = FakeWorkers(reached())

    async with opened(workers.application(token="t" * 16)) as call:
        said = await call("POST", "/purge", json={"urls": ["/a"]})

    assert (said.status, workers.asked) == (401, [])


def warmed(*lines: dict[str, object]) -> Told:
    total = {"total": len(lines)}
    return Told(
        200, b"\n".join(orjson.dumps(line) for line in (*lines, total)) + b"\n", "application/x-ndjson"
    )


async def test_urls_are_told_to_all_workers_so_many_at_a_time():
    line = {"url": "/a", "result": "stored"}
    workers = FakeWorkers(warmed(line), warmed({**line, "result": "fresh"}))
    urls = [f"http://shop/{number}" for number in range(60)]

    async with opened(workers.application()) as call:
        said = await call(
            "POST", "/warm?concurrency=2&timeout=9s", json={"urls": urls, "headers": {"A": "b"}}
        )

    lines = [orjson.loads(line) for line in said.body.splitlines()]
    asked = [orjson.loads(asked.body) for asked, _, _ in workers.asked]
    assert [body["urls"] for body in asked] == [urls[:50], urls[50:]]
    assert [body["headers"] for body in asked] == [{"A": "b"}] * 2
    assert all(asked.target.startswith("/warm?concurrency=2&timeout=") for asked, _, _ in workers.asked)
    assert all(13 < seconds <= 14 and not must_reach for _, seconds, must_reach in workers.asked)
    assert lines[:2] == [{**line, "worker": 0}, {"url": "/a", "result": "fresh", "worker": 1}]
    assert {name: lines[-1][name] for name in ("total", "stored", "fresh")} == {
        "total": 4,
        "stored": 2,
        "fresh": 2,
    }


async def test_faults_of_what_is_to_be_warmed_are_found_before_any_worker_is_asked():
    workers = FakeWorkers()

    async with opened(workers.application()) as call:
        said = await call("POST", "/warm", json={"urls": ["/a"]})

    assert (said.status, workers.asked) == (422, [])
    assert said.content["errors"][0]["field"] == "urls[0]"


@pytest.mark.parametrize("told", [(), (Told(503, b"{}", JSON),)])
async def test_where_no_worker_serves_nothing_is_warmed(told):
    async with opened(FakeWorkers(*told).application()) as call:
        said = await call("POST", "/warm", json={"urls": ["http://shop/a"]})

    first, last = (orjson.loads(line) for line in said.body.splitlines())
    assert first == {"url": "http://shop/a", "result": "skipped", "reason": "no-worker"}
    assert (last["total"], last["skipped"]) == (1, 1)


@pytest.mark.parametrize("is_shared", [True, False])
async def test_what_all_workers_fetch_again_is_added_up(is_shared):
    told = [
        Told(200, orjson.dumps({**orjson.loads(reached(number).body), "refreshing": number}), JSON)
        for number in (2, 3)
    ]

    async with opened(FakeWorkers(*told).application(is_shared=is_shared)) as call:
        said = await call("POST", "/purge", json={"everything": True, "refresh": True})

    assert said.content["refreshing"] == 5
