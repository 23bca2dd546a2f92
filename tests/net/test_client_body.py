from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError

from proxy.model import BodyBroken, FailureKind
from proxy.net.client_body import ClientBody
from tests.support.aiohttp_readers import ReadableProtocol


def make_reader() -> StreamReader:
    loop = asyncio.get_running_loop()
    return StreamReader(ReadableProtocol(loop), 65536, loop=loop)


async def test_reads_what_has_come_and_then_the_end() -> None:
    reader = make_reader()
    body = ClientBody(reader, length=6, idle_seconds=1)
    reader.feed_data(b"abc")
    reader.feed_data(b"def")
    reader.feed_eof()

    assert body.length == 6
    assert [await body.read() for _ in range(3)] == [b"abcdef", b"", b""]


async def test_nothing_in_time_is_a_broken_body_and_says_so() -> None:
    body = ClientBody(make_reader(), length=None, idle_seconds=0.01)

    with pytest.raises(BodyBroken) as broken:
        await body.read()

    assert broken.value.failure.kind is FailureKind.CLIENT_BODY
    assert broken.value.failure.detail == "no byte of the body for 0.01 s"
    assert body.is_overdue


@pytest.mark.parametrize(
    "error",
    [
        RequestPayloadError("bad chunk"),
        PayloadAccessError(),
        ConnectionResetError("reset"),
        TimeoutError("ETIMEDOUT"),
    ],
)
async def test_what_the_reader_raises_is_a_broken_body(error: Exception) -> None:
    reader = make_reader()
    reader.set_exception(error)

    with pytest.raises(BodyBroken) as broken:
        await ClientBody(reader, length=None, idle_seconds=1).read()

    assert broken.value.failure.kind is FailureKind.CLIENT_BODY
    assert broken.value.failure.detail


async def test_a_reader_without_connection_is_a_broken_body() -> None:
    loop = asyncio.get_running_loop()
    reader = StreamReader(BaseProtocol(loop), 65536, loop=loop)

    with pytest.raises(BodyBroken):
        await ClientBody(reader, length=None, idle_seconds=1).read()


async def test_asks_for_the_body_on_the_first_read_only() -> None:
    asked: list[int] = []
    reader = make_reader()

    def ask() -> None:
        asked.append(1)
        reader.feed_data(b"abc")

    body = ClientBody(reader, length=None, idle_seconds=1, on_first_read=ask)
    assert not asked
    assert await body.read() == b"abc"
    reader.feed_data(b"def")
    assert await body.read() == b"def"
    assert asked == [1]


async def test_does_not_ask_for_what_has_begun_to_come() -> None:
    asked: list[int] = []
    reader = make_reader()
    reader.feed_data(b"abc")

    await ClientBody(reader, length=None, idle_seconds=1, on_first_read=lambda: asked.append(1)).read()

    assert not asked


async def test_asking_a_client_that_has_left_breaks_the_body() -> None:
    def ask() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(BodyBroken):
        await ClientBody(make_reader(), length=None, idle_seconds=1, on_first_read=ask).read()


async def test_abandoning_leaves_the_rest_to_the_connection() -> None:
    reader = make_reader()
    reader.feed_data(b"abc")

    ClientBody(reader, length=3, idle_seconds=1).abandon()

    assert not reader.is_eof()


async def test_a_body_that_is_all_there_is_taken_without_being_asked_for() -> None:
    asked: list[None] = []
    reader = make_reader()
    body = ClientBody(reader, length=3, idle_seconds=1, on_first_read=lambda: asked.append(None))
    reader.feed_data(b"abc")

    assert body.take_rest() is None
    reader.feed_eof()
    assert body.take_rest() == b"abc"
    assert await body.read() == b""
    assert not asked


async def test_of_a_body_that_broke_nothing_is_taken() -> None:
    reader = make_reader()
    reader.feed_data(b"abc")
    reader.feed_eof()
    reader.set_exception(RequestPayloadError("bad chunk"))

    assert ClientBody(reader, length=3, idle_seconds=1).take_rest() is None
