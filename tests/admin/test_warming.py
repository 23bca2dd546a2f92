"""POST /warm over real HTTP: a line for each URL as it ends, then the totals."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from structlog.testing import capture_logs

from proxy.model import Fields, Request
from tests.support.configs import config
from tests.support.operators import FakeConfiguration, FakeOperator, FakePrefetching, opened

URLS = ["http://shop/a", "http://shop/b", "http://shop/c"]


def requests(*targets: bytes) -> list[Request]:
    return [Request("GET", target, Fields([(b"Host", b"shop")]), host=b"shop") for target in targets]


async def test_each_url_is_told_and_then_the_totals():
    prefetching = FakePrefetching({b"/b": ("not-stored", "no-store"), b"/c": ("failed", "refused")})
    operator = FakeOperator(prefetching=prefetching)

    async with opened(operator.application()) as call:
        said = await call("POST", "/warm?concurrency=3&timeout=2s", json={"urls": URLS})

    *lines, last = (orjson.loads(line) for line in said.body.splitlines())
    assert (said.status, said.fields["Content-Type"]) == (200, "application/x-ndjson")
    assert lines == [
        {"url": URLS[0], "result": "stored"},
        {"url": URLS[1], "result": "not-stored", "reason": "no-store"},
        {"url": URLS[2], "result": "failed", "reason": "refused"},
    ]
    seconds = last.pop("seconds")
    assert last == {"total": 3, "stored": 1, "fresh": 0, "not-stored": 1, "failed": 1, "skipped": 0}
    assert 0 <= seconds < 2
    assert prefetching.calls == [(requests(b"/a", b"/b", b"/c"), "warm", 3, 2.0)]
    assert prefetching.is_closed


async def test_what_is_not_said_is_modest():
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        await call("POST", "/warm", json={"urls": ["/a"], "headers": {"Host": "shop"}})

    assert operator.prefetching.calls == [(requests(b"/a"), "warm", 4, 60.0)]


@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        ("?concurrency=0", {"urls": URLS}, "concurrency"),
        ("?concurrency=65", {"urls": URLS}, "concurrency"),
        ("?timeout=3601s", {"urls": URLS}, "timeout"),
        ("?wait=1s", {"urls": URLS}, "wait"),
        ("", {"urls": ["/a"]}, "urls[0]"),
        ("", {"urls": URLS, "headers": {"Range": "bytes=0-1"}}, "headers.Range"),
        ("", {"urls": [*URLS, "http://shop/d"]}, ""),
        ("", [], ""),
    ],
)
async def test_what_is_wrong_is_422_naming_the_field(query, body, field):
    operator = FakeOperator(configuration=FakeConfiguration(config(limits={"purge_selectors": 3})))

    async with opened(operator.application()) as call:
        said = await call("POST", f"/warm{query}", json=body)

    assert said.status == 422
    assert [error["field"] for error in said.content["errors"]] == [field]
    assert operator.prefetching.calls == []


class Endless(FakePrefetching):
    """Goes on until nobody reads any more."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def fetch_all(self, requests, *, cause, at_once, seconds):
        try:
            while True:
                yield 0, ("stored", None)
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def test_when_nobody_reads_any_more_nothing_further_is_fetched():
    prefetching = Endless()

    async with opened(FakeOperator(prefetching=prefetching).application()) as call:
        host, _, port = call.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = orjson.dumps({"urls": URLS[:1]})
        head = "POST /warm HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += "Content-Length: %d\r\n\r\n"
        writer.write((head % len(body)).encode() + body)
        await reader.readuntil(b"stored")
        writer.transport.abort()
        async with asyncio.timeout(10):
            await prefetching.closed.wait()


class Crashing(FakePrefetching):
    """Breaks after the first."""

    async def fetch_all(self, requests, *, cause, at_once, seconds):
        yield 0, ("stored", None)
        raise ZeroDivisionError


async def test_a_fault_of_ours_shows_as_missing_totals():
    operator = FakeOperator(prefetching=Crashing())

    async with opened(operator.application()) as call:
        with capture_logs() as logs:
            said = await call("POST", "/warm", json={"urls": URLS})
        after = await call("GET", "/stats")

    assert said.body == b'{"url":"http://shop/a","result":"stored"}\n'
    assert [line["event"] for line in logs] == ["warm call crashed"]
    assert after.status == 200
