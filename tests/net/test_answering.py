"""Which bytes leave for a body, whole or broken, into an output that the test looks at."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.net.answering import COPIED_BYTES, Sent, send
from proxy.net.client_output import ClientOutput
from proxy.net.wire import BodyFraming, End
from proxy.observe.metrics import Metrics
from tests.support.canned_flow import BROKEN, CannedBody
from tests.support.departures import AtOnce
from tests.support.stepped_transport import SteppedTransport

HEAD = b"HEAD"
NO_BODY = BodyFraming(End.NO_BODY)
CHUNKED = BodyFraming(End.CHUNKED)
CLOSE = BodyFraming(End.CLOSE)


def counted(length: int) -> BodyFraming:
    return BodyFraming(End.LENGTH, length)


# body, framing, what is written after the head, sent, whether it is complete
WHOLE = [
    (b"abc", counted(3), b"abc"),
    (b"", counted(0), b""),
    (b"abc", NO_BODY, b""),
    ([b"ab", b"c"], counted(3), b"abc"),
    ([b"ab", b"c"], CHUNKED, b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
    ([], CHUNKED, b"0\r\n\r\n"),
    ([b"ab", b"c"], CLOSE, b"abc"),
    ([], CLOSE, b""),
    ([], counted(0), b""),
    ([b"ab", b"cd"], counted(3), b"abc"),
    ([b"abcd"], counted(3), b"abc"),
    ([b"abc", BROKEN], counted(3), b"abc"),
    ([b"ab"], NO_BODY, b""),
]


def output_to(transport: Any) -> ClientOutput:
    output = ClientOutput(
        idle_seconds=60, metrics=Metrics(), loop=asyncio.get_running_loop(), departures=AtOnce()
    )
    output.connect(transport)
    return output


@pytest.mark.parametrize(("pieces", "framing", "written"), WHOLE)
async def test_whole(pieces: Any, framing: BodyFraming, written: bytes) -> None:
    body = pieces if isinstance(pieces, bytes) else CannedBody(*pieces)
    transport = SteppedTransport()

    sent = await send(HEAD, body, framing, output_to(transport))

    assert transport.written == HEAD + written
    assert sent.is_complete
    assert not transport.is_aborted


@pytest.mark.parametrize(("size", "is_shared"), [(COPIED_BYTES, False), (COPIED_BYTES + 1, True)])
async def test_slow_clients_share_the_memory_of_a_long_body(size: int, is_shared: bool) -> None:
    body = bytes(size)
    writes: list[bytes] = []
    transport = SteppedTransport()
    transport.write = writes.append  # type: ignore[method-assign]

    await send(HEAD, body, counted(size), output_to(transport))

    assert b"".join(writes) == HEAD + body
    assert any(written is body for written in writes) is is_shared


BROKEN_OFF = [
    ([BROKEN], CHUNKED, b"", 0),
    ([b"ab", BROKEN], CHUNKED, b"2\r\nab\r\n", 2),
    ([b"ab", BROKEN], CLOSE, b"ab", 2),
    ([b"ab", BROKEN], counted(3), b"ab", 2),
    ([b"ab"], counted(3), b"ab", 2),
    ([], counted(1), b"", 0),
]


@pytest.mark.parametrize(("pieces", "framing", "written", "size"), BROKEN_OFF)
async def test_broken_off(pieces: Any, framing: BodyFraming, written: bytes, size: int) -> None:
    transport = SteppedTransport()

    sent = await send(HEAD, CannedBody(*pieces), framing, output_to(transport))

    assert transport.written == HEAD + written
    assert sent == Sent(size, is_complete=False)
    assert transport.is_aborted


@pytest.mark.parametrize("framing", [CHUNKED, CLOSE, counted(6), NO_BODY])
async def test_a_body_that_is_not_read_to_its_end_is_abandoned(framing: BodyFraming) -> None:
    transport = SteppedTransport()
    transport.is_closed = True
    body = CannedBody(b"abc", b"def")

    sent = await send(HEAD, body, framing, output_to(transport))

    assert sent == Sent(0, is_complete=False)
    assert body.is_abandoned
    assert body.reads == 0


async def test_a_body_that_was_read_to_its_end_is_not() -> None:
    body = CannedBody(b"abc")

    await send(HEAD, body, CHUNKED, output_to(SteppedTransport()))

    assert not body.is_abandoned


async def test_bytes_to_a_client_that_has_left_are_not_sent() -> None:
    transport = SteppedTransport()
    transport.is_closed = True

    assert await send(HEAD, b"abc", counted(3), output_to(transport)) == Sent(0, is_complete=False)


async def test_one_piece_at_a_time_is_asked_for() -> None:
    """A client that reads slowly must not make us hold the body."""
    transport, body = SteppedTransport(), CannedBody(*[b"x"] * 100)
    output = output_to(transport)
    output.pause()
    sending = asyncio.ensure_future(send(HEAD, body, CHUNKED, output))  # noqa: TID251
    for _ in range(10):
        await asyncio.sleep(0)

    assert body.reads == 1
    output.resume()
    assert (await sending).size == 100


async def test_a_cancelled_answer_abandons_its_body() -> None:
    body = CannedBody(asyncio.Event())
    sending = asyncio.ensure_future(send(HEAD, body, CHUNKED, output_to(SteppedTransport())))  # noqa: TID251
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    assert body.is_abandoned
