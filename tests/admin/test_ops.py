"""The ops port over real HTTP."""

from __future__ import annotations

import pytest

from proxy.admin.ops import ops_application
from proxy.observe.metrics import Metrics
from tests.support.operators import FakeLifecycle, opened


def application(lifecycle: FakeLifecycle | None = None):
    async def exposition() -> bytes:
        return Metrics().exposition()

    return ops_application(lifecycle or FakeLifecycle(), exposition)


@pytest.mark.parametrize(
    ("path", "lifecycle", "status", "word"),
    [
        ("/startupz", FakeLifecycle(), 200, b"started\n"),
        ("/startupz", FakeLifecycle(is_started=False), 503, b"starting\n"),
        ("/livez", FakeLifecycle(), 200, b"live\n"),
        ("/livez", FakeLifecycle(is_live=False), 503, b"stuck\n"),
        ("/livez", FakeLifecycle(is_ready=False, is_draining=True), 200, b"live\n"),
        ("/readyz", FakeLifecycle(), 200, b"ready\n"),
        ("/readyz", FakeLifecycle(is_started=False, is_ready=False), 503, b"starting\n"),
        ("/readyz", FakeLifecycle(is_ready=False, is_draining=True), 503, b"draining\n"),
        ("/readyz", FakeLifecycle(is_ready=False, is_warming=True), 503, b"warming\n"),
        ("/startupz", FakeLifecycle(is_ready=False, is_warming=True), 200, b"started\n"),
        ("/readyz", FakeLifecycle(is_ready=False), 503, b"no worker serves\n"),
    ],
)
async def test_each_probe_tells_its_state(path, lifecycle, status, word):
    async with opened(application(lifecycle)) as call:
        said = await call("GET", path)

    assert (said.status, said.body) == (status, word)


@pytest.mark.parametrize("path", ["/startupz", "/livez", "/readyz", "/metrics"])
async def test_head_works_and_has_no_body(path):
    async with opened(application()) as call:
        said = await call("HEAD", path)

    assert (said.status, said.body) == (200, b"")


async def test_metrics_are_prometheus_text():
    async with opened(application()) as call:
        said = await call("GET", "/metrics")

    assert said.fields["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE sidecache_requests_total counter" in said.body


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_drain_turns_readiness_off_at_once(method):
    lifecycle = FakeLifecycle()

    async with opened(application(lifecycle)) as call:
        said = await call(method, "/-/drain")
        ready = await call("GET", "/readyz")

    assert (said.status, said.body) == (200, b"draining\n")
    assert ready.status == 503


async def test_head_never_drains():
    lifecycle = FakeLifecycle()

    async with opened(application(lifecycle)) as call:
        said = await call("HEAD", "/-/drain")

    assert said.status == 405
    assert not lifecycle.is_draining


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/stats", 404),
        ("POST", "/purge", 404),
        ("PURGE", "/a", 404),
        ("POST", "/readyz", 405),
        ("DELETE", "/-/drain", 405),
    ],
)
async def test_there_is_nothing_else(method, path, status):
    async with opened(application()) as call:
        said = await call(method, path)

    assert said.status == status
    assert said.fields["Content-Type"] == "application/problem+json"
    assert said.content["status"] == status
