"""The private ports between a supervisor and its workers. Who may open their folder is their only guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import orjson
from aiohttp import web

from proxy.admin import bodies
from proxy.admin.operations import Operations, admin_application
from proxy.admin.problems import errors_as_problems
from proxy.policy.invalidation import Selector
from proxy.policy.selector_encoding import decode_selectors

LARGEST_BODY = 64 * 1024 * 1024
"""A configuration of a thousand routes fits, and so does any batch of selectors."""

Apply = Callable[[bytes, int], Awaitable[object]]
"""Selectors as they travel, and the worker that has applied them already."""


class Worker(Protocol):
    """What a worker does for its supervisor, beside its part of the admin port."""

    def snapshot(self) -> Mapping[str, object]:
        """All metrics now."""

    async def apply(self, selectors: Sequence[Selector], *, soft: bool) -> object:
        """What another worker has purged, in this one's L1."""

    def use(self, encoded: bytes) -> None:
        """Put a reloaded configuration in force."""

    def drain(self) -> None:
        """Every answer is its connection's last."""

    def undo_drain(self) -> None:
        """Serve on as if nothing had been."""


def worker_application(operations: Operations, worker: Worker) -> web.Application:
    """A worker's control port: its admin API, and what only the supervisor may ask."""
    application = admin_application(operations, token=None, largest_body=LARGEST_BODY)
    pages = _WorkerPages(worker)
    application.add_routes(
        [
            web.get("/-/snapshot", pages.snapshot),
            web.post("/-/apply", pages.apply),
            web.post("/-/config", pages.use),
            web.post("/-/drain", pages.drain),
            web.post("/-/undo-drain", pages.undo_drain),
        ]
    )
    return application


def supervisor_application(apply: Apply) -> web.Application:
    """The supervisor's private port: where a worker tells what it has purged."""

    async def applied(request: web.Request) -> web.Response:
        besides = bodies.count(request, "besides", default=0, least=0, most=10_000)
        await apply(await request.read(), besides)
        return web.Response()

    application = web.Application(middlewares=[errors_as_problems], client_max_size=LARGEST_BODY)
    application.add_routes([web.post("/-/apply", applied)])
    return application


class _WorkerPages:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def snapshot(self, _request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self._worker.snapshot()), content_type="application/json")

    async def apply(self, request: web.Request) -> web.Response:
        selectors, soft = decode_selectors(await request.read())
        await self._worker.apply(selectors, soft=soft)
        return web.Response()

    async def use(self, request: web.Request) -> web.Response:
        self._worker.use(await request.read())
        return web.Response()

    async def drain(self, _request: web.Request) -> web.Response:
        self._worker.drain()
        return web.Response()

    async def undo_drain(self, _request: web.Request) -> web.Response:
        self._worker.undo_drain()
        return web.Response()
