"""The admin port: purge, invalidate, look inside, reload. JSON in, JSON or problem+json out.

Checks what it is told and shapes the answers; what happens is behind the Protocols.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import orjson
from aiohttp import web

from proxy.admin import bodies
from proxy.admin.access import guard
from proxy.admin.entries import DEFAULT_LIMIT, LARGEST_LIMIT, EntryFilter, described
from proxy.admin.masking import masked_config
from proxy.admin.problems import errors_as_problems, problem, refuse
from proxy.admin.protocols import Configuration, Inspection, Invalidation, Prefetching, PurgeReport
from proxy.admin.warming import WarmPage
from proxy.config.reloading import Rejected, Reloaded, Unchanged
from proxy.policy.invalidation import Selector, parse_selectors

_PURGE_PARAMETERS = frozenset({"dry_run", "wait"})
_ENTRY_PARAMETERS = frozenset({"prefix", "tag", "limit"})


@dataclass(frozen=True, slots=True)
class Operations:
    """What the admin port works on."""

    invalidation: Invalidation
    inspection: Inspection
    configuration: Configuration
    prefetching: Prefetching
    clock: Callable[[], float] = time.time


def admin_application(
    operations: Operations, *, token: str | None, largest_body: int = bodies.LARGEST_BODY
) -> web.Application:
    """The port's whole surface. Whether it may be opened without a token is `access.refusal`'s to say."""
    application = web.Application(
        middlewares=[errors_as_problems, guard(token)], client_max_size=largest_body
    )
    purging = _PurgePages(operations)
    pages = InspectionPages(operations.inspection, operations.configuration, operations.clock)
    application.add_routes(
        [
            web.post("/purge", purging.purge),
            web.post("/invalidate", purging.invalidate),
            web.post("/warm", WarmPage(operations.prefetching, operations.configuration).warm),
            web.get("/entries", pages.entries),
            web.get("/stats", pages.stats),
            web.get("/routes", pages.routes),
            web.get("/config", pages.config),
            web.get("/pool", pages.pool),
            web.post("/reload", pages.reload),
            web.route("PURGE", "/{target:.*}", purging.purge_target),
        ]
    )
    return application


class _PurgePages:
    def __init__(self, operations: Operations) -> None:
        self._invalidation = operations.invalidation
        self._configuration = operations.configuration

    async def purge(self, request: web.Request) -> web.Response:
        return await self._apply_body(request, soft=False)

    async def invalidate(self, request: web.Request) -> web.Response:
        return await self._apply_body(request, soft=True)

    async def purge_target(self, request: web.Request) -> web.Response:
        """PURGE /path: that URL with all its variants. The query is the URL's, so there are no parameters."""
        selectors = self._selectors({"urls": [request.raw_path]})
        return _reached(await self._invalidation.purge(selectors, soft=False, wait_seconds=None))

    async def _apply_body(self, request: web.Request, *, soft: bool) -> web.Response:
        bodies.check_names(request, _PURGE_PARAMETERS)
        is_dry_run = bodies.flag(request, "dry_run")
        wait_seconds = bodies.wait_seconds(request, "wait")
        body, refresh = bodies.taken_flag(await bodies.json_body(request), "refresh")
        selectors = self._selectors(body)
        if is_dry_run:
            return _json({"dry_run": True, "matched": await self._invalidation.count(selectors)})
        report = await self._invalidation.purge(
            selectors, soft=soft, wait_seconds=wait_seconds, refresh=refresh
        )
        return _reached(report)

    def _selectors(self, body: object) -> tuple[Selector, ...]:
        parsed = parse_selectors(body, limit=self._configuration.config.limits.purge_selectors)
        if isinstance(parsed, list):
            raise refuse(422, "the selectors have faults", faults=parsed)
        return parsed


class InspectionPages:
    """What is read, and the reload."""

    def __init__(
        self, inspection: Inspection, configuration: Configuration, clock: Callable[[], float] = time.time
    ) -> None:
        self._inspection = inspection
        self._configuration = configuration
        self._clock = clock

    async def entries(self, request: web.Request) -> web.Response:
        """GET /entries."""
        bodies.check_names(request, _ENTRY_PARAMETERS)
        wanted = EntryFilter(
            prefix=request.query.get("prefix", "").encode(),
            tag=request.query.get("tag", "").encode(),
            limit=bodies.count(request, "limit", default=DEFAULT_LIMIT, most=LARGEST_LIMIT),
        )
        return _json({"entries": await described(self._inspection.entries(), wanted, now=self._clock())})

    async def stats(self, _request: web.Request) -> web.Response:
        """GET /stats."""
        return _json({**self._inspection.stats(), "fleet": await self._inspection.fleet()})

    async def routes(self, _request: web.Request) -> web.Response:
        """GET /routes."""
        return _json({"routes": list(self._inspection.routes())})

    async def config(self, _request: web.Request) -> web.Response:
        """GET /config."""
        return _json(masked_config(self._configuration.config))

    async def pool(self, _request: web.Request) -> web.Response:
        """GET /pool."""
        return _json(self._inspection.pool())

    async def reload(self, _request: web.Request) -> web.Response:
        """POST /reload."""
        match await self._configuration.reload():
            case Rejected(faults):
                named = [(f"{fault.file}:{fault.line}:{fault.column}", fault.message) for fault in faults]
                return problem(422, "the file has faults; the policy in force stays", faults=named)
            case Reloaded(changed, needs_restart):
                return _json({"changed": changed, "needs_restart": needs_restart})
            case Unchanged():
                return _json({"changed": [], "needs_restart": []})
            case unknown:
                assert_never(unknown)


def _reached(report: PurgeReport) -> web.Response:
    """202 says: applied here, and kept to be published once Redis answers."""
    content: dict[str, object] = {
        "id": report.id,
        "published": report.published,
        "complete": report.complete,
        "replicas": {
            "known": report.known,
            "acknowledged": report.acknowledged,
            "missing": list(report.missing),
        },
    }
    if report.refreshing is not None:
        content["refreshing"] = report.refreshing
    return _json(content, status=200 if report.published else 202)


def _json(content: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(content), content_type="application/json")
