"""The admin port over real HTTP, with fakes of what it works on."""

from __future__ import annotations

import asyncio
import io

import orjson
import pytest

from proxy.admin.protocols import PurgeReport
from proxy.config.faults import Fault
from proxy.config.reloading import Rejected, Reloaded
from proxy.model import Held, VaryRecord
from proxy.policy.invalidation import Selector, SelectorKind
from tests.support.configs import config
from tests.support.operators import NOW, FakeConfiguration, FakeInspection, FakeOperator, opened, stored

URL = Selector(SelectorKind.URL, "/a")
TAG = Selector(SelectorKind.TAG, "product:7")
MUCH = {"urls": ["/a"], "tags": ["product:7"], "everything": False}


@pytest.mark.parametrize(("path", "soft"), [("/purge", False), ("/invalidate", True)])
async def test_both_calls_take_the_same_selectors(path, soft):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        said = await call("POST", path, json=MUCH)

    assert said.status == 200
    ((selectors, was_soft, wait_seconds),) = operator.invalidation.calls
    assert set(selectors) == {URL, TAG}
    assert (was_soft, wait_seconds) == (soft, None)


@pytest.mark.parametrize(
    ("report", "status", "content"),
    [
        (
            PurgeReport(id="7-1", published=True, known=4, acknowledged=4, complete=True),
            200,
            {
                "id": "7-1",
                "published": True,
                "complete": True,
                "replicas": {"known": 4, "acknowledged": 4, "missing": []},
            },
        ),
        (
            PurgeReport(id="7-1", published=True, known=4, acknowledged=3, missing=("shop-2",)),
            200,
            {
                "id": "7-1",
                "published": True,
                "complete": False,
                "replicas": {"known": 4, "acknowledged": 3, "missing": ["shop-2"]},
            },
        ),
        (
            PurgeReport(id="u-1", published=False, known=1, acknowledged=1),
            202,
            {
                "id": "u-1",
                "published": False,
                "complete": False,
                "replicas": {"known": 1, "acknowledged": 1, "missing": []},
            },
        ),
    ],
)
async def test_the_answer_says_how_far_it_came(report, status, content):
    operator = FakeOperator()
    operator.invalidation.report = report

    async with opened(operator.application()) as call:
        said = await call("POST", "/purge", json={"urls": ["/a"]})

    assert (said.status, said.content) == (status, content)


@pytest.mark.parametrize("path", ["/purge", "/invalidate"])
async def test_refresh_is_asked_for_and_counted(path):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        with_it = await call("POST", path, json={"urls": ["/a"], "refresh": True})
        without = await call("POST", path, json={"urls": ["/a"], "refresh": False})

    assert with_it.content["refreshing"] == 12
    assert "refreshing" not in without.content
    assert [selectors for selectors, _, _ in operator.invalidation.calls] == [(URL,)] * 2


async def test_a_dry_run_counts_and_changes_nothing():
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        said = await call("POST", "/purge?dry_run=true", json={"urls": ["/a"]})

    assert said.content == {"dry_run": True, "matched": 3}
    assert operator.invalidation.counted == [(URL,)]
    assert operator.invalidation.calls == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1.0), ("250ms", 0.25), ("2", 2.0), ("0s", 0.0), ("60s", 60.0)]
)
async def test_wait_is_a_duration(text, seconds):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        await call("POST", f"/purge?wait={text}", json={"urls": ["/a"]})

    assert operator.invalidation.calls[0][2] == seconds


@pytest.mark.parametrize(
    "target",
    ["/a", "/a?b=c&d", "/a%2Fb/../c", "/purge", "/stats?wait=1s", "/", "/x/?", "//y"],
)
async def test_purge_as_a_method_takes_the_target_byte_for_byte(target):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        answer = await raw(call.url, b"PURGE %b HTTP/1.1\r\nHost: localhost\r\n" % target.encode())

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert operator.invalidation.calls == [((Selector(SelectorKind.URL, target),), False, None)]


async def raw(url: str, head: bytes, body: bytes = b"") -> bytes:
    """What a connection of its own answers to these bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head + b"Connection: close\r\n\r\n" + body)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", ""),
        (b'"x"', ""),
        (b"null", ""),
        (b"{}", ""),
        (b"{", ""),
        (b"", ""),
        (b"\xff", ""),
        (b'{"urls": "/a"}', "urls"),
        (b'{"urls": [7]}', "urls"),
        (b'{"urls": ["a"]}', "urls"),
        (b'{"urls": [""]}', "urls"),
        (b'{"url": ["/a"]}', "url"),
        (b'{"prefixes": [null]}', "prefixes"),
        (b'{"patterns": [{}]}', "patterns"),
        (b'{"tags": [""]}', "tags"),
        (b'{"everything": "yes"}', "everything"),
        (b'{"everything": 1}', "everything"),
        (b'{"urls": ["/a"], "refresh": 1}', "refresh"),
        (b'{"urls": ["/a"], "refresh": "yes"}', "refresh"),
        (b'{"refresh": true}', ""),
    ],
)
async def test_a_bad_body_is_422_naming_the_field(body, field):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        said = await call("POST", "/purge", data=body, headers={"Content-Type": "application/json"})

    assert said.status == 422
    assert said.fields["Content-Type"] == "application/problem+json"
    assert said.content["errors"][0]["field"].startswith(field)
    assert said.content["errors"][0]["message"]
    assert operator.invalidation.calls == []


async def test_every_fault_of_a_body_is_listed():
    async with opened(FakeOperator().application()) as call:
        said = await call("POST", "/purge", json={"urls": 7, "tag": ["x"]})

    assert {error["field"] for error in said.content["errors"]} == {"urls", "tag"}


async def test_more_selectors_than_the_limit_are_refused():
    operator = FakeOperator(configuration=FakeConfiguration(config(limits={"purge_selectors": 2})))

    async with opened(operator.application()) as call:
        most = await call("POST", "/purge", json={"urls": ["/1", "/2"]})
        more = await call("POST", "/purge", json={"urls": ["/1", "/2", "/3"]})

    assert (most.status, more.status) == (200, 422)


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_another_type_than_json_is_415(fields):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        said = await call("POST", "/purge", data=b'{"everything": true}', headers=fields)

    assert (said.status, said.content["status"]) == (415, 415)
    assert operator.invalidation.calls == []


@pytest.mark.parametrize(("padding", "status"), [(-1, 200), (1, 413)])
async def test_a_body_of_more_than_a_mebibyte_is_413(padding, status):
    body = b'{"urls": ["/a"]}'
    body += b" " * (1024 * 1024 + padding - len(body))

    async with opened(FakeOperator().application()) as call:
        said = await call(
            "POST", "/purge", data=io.BytesIO(body), headers={"Content-Type": "application/json"}
        )

    assert said.status == status


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("dry-run=true", "dry-run"),
        ("dryrun=true", "dryrun"),
        ("dry_run=yes", "dry_run"),
        ("dry_run=", "dry_run"),
        ("dry_run=true&dry_run=false", "dry_run"),
        ("wait=soon", "wait"),
        ("wait=-1s", "wait"),
        ("wait=61s", "wait"),
        ("wait=", "wait"),
    ],
)
async def test_a_misspelt_parameter_purges_nothing(query, field):
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        said = await call("POST", f"/purge?{query}", json={"everything": True})

    assert said.status == 422
    assert [error["field"] for error in said.content["errors"]] == [field]
    assert operator.invalidation.calls == []


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/nothing", 404, None),
        ("POST", "/entries/1", 404, None),
        ("DELETE", "/purge", 405, "POST"),
        ("GET", "/purge", 405, "POST"),
        ("PUT", "/invalidate", 405, "POST"),
        ("GET", "/reload", 405, "POST"),
        ("POST", "/stats", 405, "GET, HEAD"),
    ],
)
async def test_unknown_paths_and_methods_are_problems(method, path, status, allow):
    async with opened(FakeOperator().application()) as call:
        said = await call(method, path)

    assert said.status == status
    assert said.fields["Content-Type"] == "application/problem+json"
    assert said.fields.get("Allow") == allow


async def test_entries_are_listed_by_prefix_and_tag():
    inspection = FakeInspection(
        [
            (b"\x01" * 16, Held(stored(b"/products/1", tags=(b"a",)), 900, NOW - 2)),
            (b"\x02" * 16, Held(stored(b"/products/2", tags=(b"b",)), 900, NOW)),
            (b"\x03" * 16, Held(stored(b"/carts/1", tags=(b"a",)), 900, NOW)),
            (b"\x04" * 16, Held(VaryRecord((b"accept",), (), NOW), 90, NOW)),
        ]
    )

    async with opened(FakeOperator(inspection=inspection).application()) as call:
        said = await call("GET", "/entries?prefix=/products&tag=a&limit=5")

    assert said.content == {
        "entries": [
            {
                "key": "01" * 16,
                "route": "product",
                "host": "shop",
                "target": "/products/1",
                "status": 200,
                "bytes": 900,
                "age": 10.0,
                "ttl": 50.0,
                "used": 2.0,
                "tags": ["a"],
            }
        ]
    }


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("limit=1", 200),
        ("limit=10000", 200),
        ("limit=0", 422),
        ("limit=10001", 422),
        ("limit=-1", 422),
        ("limit=many", 422),
        ("limit=%D9%A3", 422),
        ("tags=a", 422),
        ("limit=1&limit=2", 422),
    ],
)
async def test_entries_check_their_parameters(query, status):
    async with opened(FakeOperator().application()) as call:
        said = await call("GET", f"/entries?{query}")

    assert said.status == status


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/stats", {"l1": {"entries": 2}, "fleet": {"known": 3}}),
        ("/routes", {"routes": [{"name": "product"}]}),
        ("/pool", {"idle": 4}),
        ("/entries", {"entries": []}),
    ],
)
async def test_what_is_inside_is_json(path, content):
    async with opened(FakeOperator().application()) as call:
        said = await call("GET", path)

    assert said.fields["Content-Type"] == "application/json"
    assert said.content == content


async def test_the_configuration_is_shown_without_its_secrets():
    secret = "hunter2hunter2hunter2"
    secretive = config(
        admin={"token": secret}, l2={"url": f"redis://me:{secret}@cache:6379/0"}, secret=secret
    )
    operator = FakeOperator(configuration=FakeConfiguration(secretive))

    async with opened(operator.application()) as call:
        said = await call("GET", "/config")

    assert secret.encode() not in said.body
    assert said.content["admin"]["token"] == "***"
    assert said.content["secret"] == "***"
    assert said.content["l2"]["url"] == "redis://me:***@cache:6379/0"


@pytest.mark.parametrize(
    ("result", "content"),
    [
        (
            Reloaded(("routes", "workers"), ("workers",)),
            {"changed": ["routes", "workers"], "needs_restart": ["workers"]},
        ),
        (None, {"changed": [], "needs_restart": []}),
    ],
)
async def test_a_reload_says_what_changed(result, content):
    configuration = FakeConfiguration()
    configuration.result = result or configuration.result

    async with opened(FakeOperator(configuration=configuration).application()) as call:
        said = await call("POST", "/reload")

    assert (said.status, said.content) == (200, content)


async def test_a_rejected_reload_is_422_with_every_fault():
    faults = (Fault("s.yaml", 3, 5, "found x, expected y"), Fault("s.yaml", 9, 1, "unknown key"))
    configuration = FakeConfiguration(result=Rejected(faults))

    async with opened(FakeOperator(configuration=configuration).application()) as call:
        said = await call("POST", "/reload")

    assert said.status == 422
    assert said.content["errors"] == [
        {"field": "s.yaml:3:5", "message": "found x, expected y"},
        {"field": "s.yaml:9:1", "message": "unknown key"},
    ]


async def test_a_page_of_another_origin_purges_nothing():
    operator = FakeOperator()

    async with opened(operator.application()) as call:
        said = await call(
            "POST",
            "/purge",
            data=orjson.dumps({"everything": True}),
            headers={"Content-Type": "text/plain", "Origin": "http://evil.example"},
        )

    assert said.status == 403
    assert operator.invalidation.calls == []
