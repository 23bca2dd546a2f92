"""Backpressure, deadlines and the hard end, over a transport that the test steps."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from proxy.net.client_output import ClientOutput
from proxy.observe.metrics import Metrics
from tests.support.departures import AtOnce
from tests.support.stepped_transport import SteppedTransport


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def make_output(metrics: Metrics, transport: Any, *, idle_seconds: float = 60) -> ClientOutput:
    output = ClientOutput(
        idle_seconds=idle_seconds, metrics=metrics, loop=asyncio.get_running_loop(), departures=AtOnce()
    )
    output.connect(transport)
    return output


async def test_drained_returns_at_once_while_there_is_room(metrics: Metrics) -> None:
    output = make_output(metrics, SteppedTransport())
    output.write(b"abc")

    await output.drained()


async def test_drained_waits_for_room(metrics: Metrics) -> None:
    output = make_output(metrics, SteppedTransport())
    output.pause()
    waiting = asyncio.ensure_future(output.drained())  # noqa: TID251
    await asyncio.sleep(0)
    assert not waiting.done()
    output.resume()

    await waiting


async def test_a_client_that_takes_nothing_is_cut_off(metrics: Metrics) -> None:
    transport = SteppedTransport()
    output = make_output(metrics, transport, idle_seconds=0.01)
    output.write(b"abc")
    output.pause()

    with pytest.raises(ConnectionAbortedError):
        await output.drained()

    assert transport.is_aborted
    assert metrics.client_timeouts.get("write") == 1


async def test_a_client_that_takes_a_little_is_waited_for(metrics: Metrics) -> None:
    transport = SteppedTransport()
    output = make_output(metrics, transport, idle_seconds=0.02)
    output.write(b"x" * 100)
    output.pause()
    waiting = asyncio.ensure_future(output.drained())  # noqa: TID251
    for _ in range(5):
        await asyncio.sleep(0.015)
        transport.unsent -= 10
    output.resume()

    await waiting
    assert not transport.is_aborted


async def test_a_lost_connection_ends_the_wait(metrics: Metrics) -> None:
    output = make_output(metrics, SteppedTransport())
    output.pause()
    waiting = asyncio.ensure_future(output.drained())  # noqa: TID251
    await asyncio.sleep(0)
    output.disconnect()

    with pytest.raises(ConnectionResetError):
        await waiting


async def test_nothing_is_written_to_a_client_that_has_left(metrics: Metrics) -> None:
    transport = SteppedTransport()
    output = make_output(metrics, transport)
    transport.is_closed = True
    with pytest.raises(ConnectionResetError):
        output.write(b"abc")
    output.write_eof()
    output.disconnect()
    with pytest.raises(ConnectionResetError):
        output.write(b"abc")
    output.write_eof()
    output.abort()

    assert transport.written == b""
    assert not transport.has_eof


async def test_leaving_ends_what_waits_for_something_else(metrics: Metrics) -> None:
    output = make_output(metrics, SteppedTransport())

    async def stream() -> None:
        async with output.until_client_leaves(ends_at_eof=True):
            await asyncio.Event().wait()

    streaming = asyncio.ensure_future(stream())  # noqa: TID251
    await asyncio.sleep(0)
    assert output.ends_at_eof
    output.disconnect()

    with pytest.raises(ConnectionResetError):
        await streaming
    assert not output.ends_at_eof


async def test_an_answer_that_ended_is_not_touched_by_leaving(metrics: Metrics) -> None:
    output = make_output(metrics, SteppedTransport())
    async with output.until_client_leaves(ends_at_eof=False):
        assert not output.ends_at_eof

    output.client_left()
    output.disconnect()
    await output.until_lost()


async def test_abort_resets_tcp_and_leaves_unix_sockets_as_they_are(metrics: Metrics) -> None:
    tcp, (unix, other) = socket.socket(), socket.socketpair()
    try:
        for sock in (tcp, unix):
            make_output(metrics, SteppedTransport(sock)).abort()

        linger = struct.unpack("ii", tcp.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        assert linger == (1, 0)
        assert struct.unpack("ii", unix.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))[0] == 0
    finally:
        for sock in (tcp, unix, other):
            sock.close()


async def test_a_close_that_does_not_get_its_bytes_out_is_cut_off(metrics: Metrics) -> None:
    transport = SteppedTransport()
    output = make_output(metrics, transport, idle_seconds=0.02)
    output.write(b"x" * 10)
    output.watch_flush()
    output.watch_flush()
    await asyncio.sleep(0.015)
    transport.unsent = 5
    await asyncio.sleep(0.02)
    assert not transport.is_aborted
    await asyncio.sleep(0.02)

    assert transport.is_aborted
    assert metrics.client_timeouts.get("write") == 1


async def test_a_close_with_nothing_left_to_send_is_not_watched(metrics: Metrics) -> None:
    transport = SteppedTransport()
    output = make_output(metrics, transport, idle_seconds=0)
    output.watch_flush()
    await asyncio.sleep(0.01)

    assert not transport.is_aborted
