"""The check at start finds an aiohttp that reads plain heads otherwise, and is content with this one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import StreamReader
from structlog.testing import capture_logs

from proxy.net import lane_check
from proxy.net.lane_check import HEADS, disagreement
from tests.support.canned_flow import CannedFlow, plain_hit, serving
from tests.support.raw_client import connected, request

ON_BOTH_LOOPS = True

Fed = tuple[Any, bool, bytes]


def otherwise(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Any], Fed], head: bytes) -> None:
    """An aiohttp that reads this head so."""

    class Parser:
        def __init__(self, *given: Any, **options: Any) -> None:
            self._parser = HttpRequestParser(*given, **options)

        def feed_data(self, data: bytes) -> Any:
            fed: Any = self._parser.feed_data(data)
            ((message, payload),), _, _ = fed
            return change(message, payload) if data == head else fed

    monkeypatch.setattr(lane_check, "HttpRequestParser", Parser)


def crash(message: Any, payload: Any) -> Fed:
    raise TypeError


CHANGES: dict[str, Callable[[Any, Any], Fed]] = {
    "it crashes": crash,
    "no message": lambda _m, _p: ((), False, b""),
    "two messages": lambda m, p: (((m, p), (m, p)), False, b""),
    "a body": lambda m, _p: (((m, object.__new__(StreamReader)),), False, b""),
    "an upgrade": lambda m, p: (((m, p),), True, b""),
    "a rest": lambda m, p: (((m, p),), False, b"x"),
    "the last request": lambda m, p: (((m._replace(should_close=True), p),), False, b""),
    "asks for an upgrade": lambda m, p: (((m._replace(upgrade=True), p),), False, b""),
    "another target": lambda m, p: (((m._replace(path="/other"), p),), False, b""),
    "another method": lambda m, p: (((m._replace(method="POST"), p),), False, b""),
    "other fields": lambda m, p: (((m._replace(raw_headers=()), p),), False, b""),
    "a refusal": lambda m, p: (((m._replace(path="a"), p),), False, b""),
}


async def test_this_aiohttp_reads_as_the_plain_lane_does() -> None:
    assert disagreement(asyncio.get_running_loop()) is None


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("head", HEADS)
async def test_another_reading_is_found(
    change: Callable[[Any, Any], Fed], head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    otherwise(monkeypatch, change, head)

    assert disagreement(asyncio.get_running_loop()) == head


@pytest.mark.parametrize("head", HEADS)
async def test_a_head_that_the_patterns_do_not_take_is_found(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape_of = lane_check.shape_of
    names = lane_check.names_in(head)

    def taken(given: Any, telling: Any) -> Any:
        return None if given == names else shape_of(given, telling)

    monkeypatch.setattr(lane_check, "shape_of", taken)

    assert disagreement(asyncio.get_running_loop()) == head


async def test_an_aiohttp_that_reads_otherwise_switches_the_lane_off(monkeypatch: pytest.MonkeyPatch) -> None:
    otherwise(monkeypatch, CHANGES["the last request"], HEADS[1])
    flow = CannedFlow()
    flow.plain_hits = {b"/a": plain_hit()}
    with capture_logs() as lines:
        async with serving(flow) as served, connected(served.where) as client:
            assert served.listener._lane is None
            await client.send(request("/a"))
            assert (await client.answer()).body == b"/a|"

    (line,) = lines
    assert (line["event"], line["log_level"]) == ("plain lane off: aiohttp reads a head otherwise", "warning")
    assert line["head"] == HEADS[1].decode()
