"""aiohttp's own loop is the judge: it must find in these what it touches, and no more must be there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.net.aiohttp_shapes import Finished, Incoming
from proxy.net.refusals import Refusal
from tests.support.canned_flow import serving
from tests.support.raw_client import connected, request


class SomeConnection:
    is_spent = False


@pytest.mark.parametrize(
    ("may_go_on", "is_spent", "expected"),
    [(True, False, True), (True, True, False), (False, False, False), (False, True, False)],
)
def test_the_connection_goes_on_if_both_want_it(may_go_on: bool, is_spent: bool, expected: bool) -> None:
    connection: Any = SomeConnection()
    finished = Finished(connection, may_go_on=may_go_on)
    connection.is_spent = is_spent

    assert finished.keep_alive is expected


async def test_a_lost_connection_breaks_the_body() -> None:
    loop = asyncio.get_running_loop()
    payload = StreamReader(BaseProtocol(loop), 65536, loop=loop)
    connection: Any = SomeConnection()
    incoming = Incoming(Refusal.HOST, payload, connection, None, None)

    incoming._cancel(ConnectionResetError("gone"))

    assert isinstance(payload.exception(), ConnectionResetError)
    assert incoming.connection is connection


async def test_a_refusal_has_no_body_to_break() -> None:
    connection: Any = SomeConnection()

    Incoming(Refusal.HOST, EMPTY_PAYLOAD, connection, None, None)._cancel(ConnectionResetError("gone"))


async def test_aiohttps_loop_runs_on_them(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a") + request("/b", method="POST", body=b"abc") + b"GARBAGE\r\n\r\n")

        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 400]
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]
