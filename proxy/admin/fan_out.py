"""The admin port of a supervisor: what concerns every L1 is asked of every worker, and answered as one.

Checks only who asks. Workers check what is asked, by the same code as when one process serves alone; a fault
that one of them finds is the answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
from aiohttp import web

from proxy.admin import bodies
from proxy.admin.access import guard
from proxy.admin.entries import DEFAULT_LIMIT, LARGEST_LIMIT
from proxy.admin.operations import InspectionPages
from proxy.admin.problems import errors_as_problems, problem
from proxy.admin.protocols import Configuration
from proxy.admin.warming import Asked as WarmAsked
from proxy.admin.warming import Line, asked_for, told

APPLY_SECONDS = 5.0
"""For a worker to apply and publish a purge, beside the time that it is told to wait for others."""

COUNT_SECONDS = 30.0
"""For a worker to count what a dry run names: a million entries take five, or more beside other work."""

WARM_TOGETHER = 50
"""URLs told to the workers in one call: its answer is told on before the next one."""


class Asked(NamedTuple):
    """A request of the operator's, as it goes to the workers."""

    method: str
    target: str
    body: bytes
    content_type: str


class Told(NamedTuple):
    """What a worker answered."""

    status: int
    body: bytes
    content_type: str


class Workers(Protocol):
    """All workers that live, as one to talk to."""

    async def ask(self, asked: Asked, *, seconds: float, must_reach: bool) -> Sequence[tuple[int, Told]]:
        """The answers, by worker. With `must_reach` who is silent has ended when this returns."""

    async def refresh(self) -> None:
        """Have what is shown be of now."""


class Pages:
    """`is_shared`: the workers share an invalidation log, in which each of them is a replica."""

    def __init__(self, workers: Workers, *, is_shared: bool) -> None:
        self._workers = workers
        self._is_shared = is_shared

    async def purge(self, request: web.Request) -> web.Response:
        """POST /purge and /invalidate."""
        wait_seconds = bodies.wait_seconds(request, "wait") or 0.0
        if bodies.flag(request, "dry_run"):
            # A worker that counts slowly is not out of step: nothing ends it.
            return await self._counted(request)
        return await self._invalidate(request, APPLY_SECONDS + wait_seconds)

    async def purge_target(self, request: web.Request) -> web.Response:
        """PURGE /path."""
        return await self._invalidate(request, APPLY_SECONDS)

    async def entries(self, request: web.Request) -> web.Response:
        """GET /entries: each with the worker that holds it."""
        limit = bodies.count(request, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT)
        told = await self._ask(request, APPLY_SECONDS, must_reach=False)
        refused = _refusal(told)
        if refused is not None:
            return refused
        listed = [
            {**entry, "worker": index}
            for index, answer in told
            for entry in orjson.loads(answer.body)["entries"]
        ]
        return _json({"entries": listed[:limit]})

    async def _counted(self, request: web.Request) -> web.Response:
        told = await self._ask(request, COUNT_SECONDS, must_reach=False)
        refused = _refusal(told)
        if refused is not None:
            return refused
        matched = sum(orjson.loads(answer.body)["matched"] for _, answer in told)
        return _json({"dry_run": True, "matched": matched})

    async def _invalidate(self, request: web.Request, seconds: float) -> web.Response:
        told = await self._ask(request, seconds, must_reach=True)
        refused = _refusal(told)
        if refused is not None:
            return refused
        contents = [orjson.loads(answer.body) for _, answer in told]
        merged = _as_one_replica_each(contents) if self._is_shared else _added(contents)
        if "refreshing" in contents[0]:
            merged["refreshing"] = sum(content["refreshing"] for content in contents)
        return _json(merged, status=200 if merged["published"] else 202)

    async def _ask(
        self, request: web.Request, seconds: float, *, must_reach: bool
    ) -> Sequence[tuple[int, Told]]:
        content_type = request.headers.get("Content-Type", "application/octet-stream")
        asked = Asked(request.method, request.raw_path, await request.read(), content_type)
        return await self._workers.ask(asked, seconds=seconds, must_reach=must_reach)


class WarmPages:
    """POST /warm: so many URLs at a time are told to all workers, each of which has an L1 of its own."""

    def __init__(self, workers: Workers, configuration: Configuration) -> None:
        self._workers = workers
        self._configuration = configuration

    async def warm(self, request: web.Request) -> web.StreamResponse:
        """As of one process, but each line names the worker."""
        asked = await asked_for(request, self._configuration)
        return await told(request, self._lines(asked))

    async def _lines(self, asked: WarmAsked) -> AsyncGenerator[Line, None]:
        until = time.monotonic() + asked.seconds
        urls = [wanted.url for wanted in asked.wanted]
        for start in range(0, len(urls), WARM_TOGETHER):
            together = urls[start : start + WARM_TOGETHER]
            left = max(0.0, until - time.monotonic())
            answers = await self._ask({**asked.body, "urls": together}, asked.at_once, left)
            for index, answer in answers:
                for line in answer.body.splitlines()[:-1]:
                    yield {**orjson.loads(line), "worker": index}
            if not answers:
                for url in together:
                    yield {"url": url, "result": "skipped", "reason": "no-worker"}

    async def _ask(self, body: object, at_once: int, seconds: float) -> Sequence[tuple[int, Told]]:
        target = f"/warm?concurrency={at_once}&timeout={seconds:.3f}s"
        asked = Asked("POST", target, orjson.dumps(body), "application/json")
        answers = await self._workers.ask(asked, seconds=seconds + APPLY_SECONDS, must_reach=False)
        return [(index, answer) for index, answer in answers if answer.status == 200]


def fan_out_application(
    workers: Workers,
    shown: InspectionPages,
    configuration: Configuration,
    *,
    token: str | None,
    is_shared: bool,
) -> web.Application:
    """The port's whole surface, with the paths and answers of one process."""
    application = web.Application(
        middlewares=[errors_as_problems, guard(token)], client_max_size=bodies.LARGEST_BODY
    )
    pages = Pages(workers, is_shared=is_shared)
    application.add_routes(
        [
            web.post("/purge", pages.purge),
            web.post("/invalidate", pages.purge),
            web.post("/warm", WarmPages(workers, configuration).warm),
            web.get("/entries", pages.entries),
            web.get("/stats", _of_now(workers, shown.stats)),
            web.get("/routes", shown.routes),
            web.get("/config", shown.config),
            web.get("/pool", _of_now(workers, shown.pool)),
            web.post("/reload", shown.reload),
            web.route("PURGE", "/{target:.*}", pages.purge_target),
        ]
    )
    return application


Page = Callable[[web.Request], Awaitable[web.Response]]


def _of_now(workers: Workers, page: Page) -> Page:
    async def refreshed(request: web.Request) -> web.Response:
        await workers.refresh()
        return await page(request)

    return refreshed


def _refusal(told: Sequence[tuple[int, Told]]) -> web.Response | None:
    """What a worker found wrong, or that there is none."""
    if not told:
        return problem(503, "no worker serves now; try again", fields={"Retry-After": "1"})
    _, worst = max(told, key=lambda answered: answered[1].status)
    if worst.status < 300:
        return None
    return web.Response(status=worst.status, body=worst.body, content_type=worst.content_type)


def _added(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each worker is a log of its own, with itself as the only replica."""
    replicas = [content["replicas"] for content in contents]
    counts = {name: sum(each[name] for each in replicas) for name in ("known", "acknowledged")}
    complete = all(content["complete"] for content in contents)
    return {**contents[0], "complete": complete, "replicas": {**counts, "missing": []}}


def _as_one_replica_each(contents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each has published it, counts the same fleet, and has applied it whatever a poll has told so far."""
    replicas = [content["replicas"] for content in contents]
    missing = sorted({name for each in replicas for name in each["missing"]})
    acknowledged = max(len(contents), min(each["acknowledged"] for each in replicas))
    known = max(each["known"] for each in replicas)
    return {
        "id": max(contents, key=lambda content: bool(content["published"]))["id"],
        "published": any(content["published"] for content in contents),
        "complete": all(content["complete"] for content in contents),
        "replicas": {"known": max(known, acknowledged), "acknowledged": acknowledged, "missing": missing},
    }


def _json(content: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")
