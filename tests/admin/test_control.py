"""What a worker and its supervisor ask of each other, over real HTTP."""

from __future__ import annotations

import io

import pytest

from proxy.admin.control import supervisor_application, worker_application
from proxy.admin.operations import Operations
from proxy.policy.invalidation import Selector, SelectorKind
from proxy.policy.selector_encoding import encode_selectors
from tests.support.operators import (
    FakeConfiguration,
    FakeInspection,
    FakeInvalidation,
    FakePrefetching,
    opened,
)

URL = Selector(SelectorKind.URL, "/a")


class FakeProcess:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def snapshot(self):
        return {"counters": {}}

    async def apply(self, selectors, *, soft):
        self.calls.append((tuple(selectors), soft))

    def use(self, encoded):
        self.calls.append(encoded)

    def drain(self):
        self.calls.append("drain")

    def undo_drain(self):
        self.calls.append("undo")


def application(process: FakeProcess):
    operations = Operations(FakeInvalidation(), FakeInspection(), FakeConfiguration(), FakePrefetching())
    return worker_application(operations, process)


@pytest.mark.parametrize(
    ("path", "body", "done"),
    [
        ("/-/apply", encode_selectors([URL], soft=True), ((URL,), True)),
        ("/-/apply", encode_selectors([URL], soft=False), ((URL,), False)),
        ("/-/config", b"x" * 2_000_000, b"x" * 2_000_000),
        ("/-/drain", b"", "drain"),
        ("/-/undo-drain", b"", "undo"),
    ],
)
async def test_each_call_does_one_thing(path, body, done):
    process = FakeProcess()

    async with opened(application(process)) as call:
        said = await call("POST", path, data=io.BytesIO(body))

    assert said.status == 200
    assert process.calls == [done]


async def test_a_snapshot_and_the_admin_api_are_there():
    async with opened(application(FakeProcess())) as call:
        taken = await call("GET", "/-/snapshot")
        purged = await call("POST", "/purge", json={"urls": ["/a"]})

    assert taken.content == {"counters": {}}
    assert purged.status == 200


async def test_the_supervisor_is_told_what_and_by_whom():
    told = []

    async def apply(selectors, besides):
        told.append((selectors, besides))

    async with opened(supervisor_application(apply)) as call:
        said = await call("POST", "/-/apply?besides=0", data=b"{}")

    assert (said.status, told) == (200, [(b"{}", 0)])
