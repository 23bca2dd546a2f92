"""Who may use the admin port: the rules as tables, then through a real port."""

from __future__ import annotations

import pytest

from proxy.admin.access import is_authorised, is_of_this_machine
from tests.support.operators import FakeOperator, opened


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (b"Bearer s3cret", True),
        (b"bearer s3cret", True),
        (b"BEARER s3cret", True),
        (b"Bearer  s3cret ", True),
        (b"Bearer s3cre", False),
        (b"Bearer s3crett", False),
        (b"Bearer S3CRET", False),
        (b"Bearer ", False),
        (b"Bearer", False),
        (b"Basic  s3cret", False),
        (b"s3cret", False),
        (b"Bearers3cret", False),
        (b"", False),
        (b"Bearer \xff", False),
    ],
)
def test_only_the_exact_bearer_token_authorises(authorization, expected):
    assert is_authorised(authorization, "s3cret") is expected


def test_a_token_beyond_ascii_can_be_given():
    assert is_authorised("Bearer sécret".encode(), "sécret")


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("localhost", None, True),
        ("localhost:9902", None, True),
        ("LOCALHOST:1", None, True),
        ("127.0.0.1:9902", None, True),
        ("[::1]", None, True),
        ("[::1]:9902", None, True),
        ("rebound.evil.example:9902", None, False),
        ("localhost.evil.example", None, False),
        ("10.0.0.1:9902", None, False),
        ("127.0.0.1.evil.example", None, False),
        ("", None, False),
        (None, None, False),
        ("localhost:9902", "http://evil.example", False),
        ("localhost:9902", "http://localhost:9902", False),
        ("localhost:9902", "null", False),
    ],
)
def test_without_a_token_neither_rebound_names_nor_web_pages_pass(host, origin, expected):
    assert is_of_this_machine(host, origin) is expected


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
    ],
)
async def test_a_port_without_token_serves_only_this_machine(fields, status):
    async with opened(FakeOperator().application()) as call:
        said = await call("GET", "/stats", headers=fields)

    assert said.status == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer s3cret"}, 200),
        ({"Authorization": "Bearer s3cret", "Host": "sidecache.prod:9902"}, 200),
    ],
)
async def test_a_port_with_token_serves_whoever_knows_it(fields, status):
    async with opened(FakeOperator().application("s3cret")) as call:
        said = await call("GET", "/stats", headers=fields)

    assert said.status == status


@pytest.mark.parametrize("path", ["/stats", "/nothing/here", "/purge"])
async def test_without_the_token_every_path_looks_alike(path):
    async with opened(FakeOperator().application("s3cret")) as call:
        said = await call("GET", path)

    assert said.status == 401
    assert said.fields["WWW-Authenticate"] == 'Bearer realm="sidecache admin"'
    assert said.fields["Content-Type"] == "application/problem+json"
    assert b"s3cret" not in said.body


async def test_an_unauthorised_purge_purges_nothing():
    operator = FakeOperator()
    async with opened(operator.application("s3cret")) as call:
        said = await call("POST", "/purge", json={"everything": True})

    assert said.status == 401
    assert operator.invalidation.calls == []
