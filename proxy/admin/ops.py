"""The ops port: probes, metrics and /-/drain, for the kubelet and Prometheus.

It needs no token and changes nothing but whether the process drains.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.admin.problems import errors_as_problems
from proxy.admin.protocols import Lifecycle

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def ops_application(lifecycle: Lifecycle, exposition: Callable[[], Awaitable[bytes]]) -> web.Application:
    """The port's whole surface; `exposition` gives the metrics in Prometheus' text format."""
    application = web.Application(middlewares=[errors_as_problems])
    pages = _OpsPages(lifecycle, exposition)
    application.add_routes(
        [
            web.get("/startupz", pages.startup),
            web.get("/livez", pages.liveness),
            web.get("/readyz", pages.readiness),
            web.get("/metrics", pages.metrics),
            # No HEAD: it must never change anything.
            web.get("/-/drain", pages.drain, allow_head=False),
            web.post("/-/drain", pages.drain),
        ]
    )
    return application


class _OpsPages:
    def __init__(self, lifecycle: Lifecycle, exposition: Callable[[], Awaitable[bytes]]) -> None:
        self._lifecycle = lifecycle
        self._exposition = exposition

    async def startup(self, _request: web.Request) -> web.Response:
        return _verdict(self._lifecycle.is_started, "started", "starting")

    async def liveness(self, _request: web.Request) -> web.Response:
        return _verdict(self._lifecycle.is_live, "live", "stuck")

    async def readiness(self, _request: web.Request) -> web.Response:
        return _verdict(self._lifecycle.is_ready, "ready", self._why_not_ready())

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=await self._exposition(), headers={"Content-Type": METRICS_TYPE})

    async def drain(self, _request: web.Request) -> web.Response:
        self._lifecycle.drain()
        return web.Response(text="draining\n")

    def _why_not_ready(self) -> str:
        if self._lifecycle.is_draining:
            return "draining"
        if not self._lifecycle.is_started:
            return "starting"
        return "warming" if self._lifecycle.is_warming else "no worker serves"


def _verdict(is_well: bool, good: str, bad: str) -> web.Response:
    return web.Response(status=200 if is_well else 503, text=f"{good if is_well else bad}\n")
