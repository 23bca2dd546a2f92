from __future__ import annotations

import asyncio

import pytest
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from proxy.net.arriving_body import ArrivingBody
from proxy.net.intake import Intake
from tests.support.aiohttp_readers import ReadableProtocol
from tests.support.raw_client import chunked, request

HEADS = {
    "length": request("/", "Content-Length: 6", method="POST"),
    "chunked": request("/", "Transfer-Encoding: chunked", method="POST"),
}


def arriving(kind: str) -> tuple[ArrivingBody, StreamReader]:
    loop = asyncio.get_running_loop()
    messages, _, _ = HttpRequestParser(ReadableProtocol(loop), loop, 65536).feed_data(HEADS[kind])
    message, payload = messages[0]
    assert isinstance(message, RawRequestMessage)
    return ArrivingBody(message, payload, max_framing=10), payload


@pytest.mark.parametrize(("kind", "body"), [("length", b"abcdef"), ("chunked", chunked(b"abc", b"def"))])
async def test_takes_its_own_bytes_and_no_more(kind: str, body: bytes) -> None:
    arriving_body, _ = arriving(kind)
    intake = Intake(1024)
    intake.add(body + b"next")

    assert arriving_body.is_chunked is (kind == "chunked")
    assert arriving_body.take_from(intake) == body
    assert intake.take_all() == b"next"


async def test_ends_with_its_reader() -> None:
    arriving_body, payload = arriving("length")
    assert not arriving_body.has_ended
    payload.feed_eof()

    assert arriving_body.has_ended


async def test_too_much_without_content_is_excessive() -> None:
    arriving_body, payload = arriving("chunked")
    assert not arriving_body.is_excessive(10)
    assert arriving_body.is_excessive(1)
    payload.feed_data(b"x")
    assert not arriving_body.is_excessive(1000)
    assert not arriving_body.is_excessive(10)

    assert arriving_body.is_excessive(1)


async def test_a_failed_body_fails_its_reader() -> None:
    arriving_body, payload = arriving("chunked")
    reading = asyncio.ensure_future(payload.readany())  # noqa: TID251
    await asyncio.sleep(0)
    arriving_body.fail("why")

    with pytest.raises(RequestPayloadError, match="why"):
        await reading
    assert not arriving_body.has_ended
