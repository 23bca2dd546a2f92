from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.model import BodyBroken, FailureKind, Framing, OriginFailure, Request, ResponseHead
from proxy.net.exchange import Exchange, Patience
from proxy.net.origin_connection import CloseCause, OriginConnection
from proxy.net.received_body import HIGH_WATER
from proxy.net.response_head import Delimiter
from proxy.observe.tasks import spawn
from tests.support.departures import AtOnce
from tests.support.origin_clients import ArrivedBody, GatedBody, GivenBody, read_all, request
from tests.support.raw_origin import settle

ON_BOTH_LOOPS = True
PATIENT = Patience(response=10, idle=10)
REQUEST_HEAD = b"POST / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


class Conversation:
    """An exchange that has begun, and the origin's plain socket at the other end."""

    def __init__(self, exchange: Exchange, origin: socket.socket, ends: list[CloseCause | None]) -> None:
        self.exchange = exchange
        self.ends = ends
        self._origin = origin

    async def says(self, data: bytes) -> None:
        """The origin sends; we have read it."""
        await asyncio.get_running_loop().sock_sendall(self._origin, data)
        await settle()

    async def hears(self) -> bytes:
        """All that has reached the origin so far."""
        await settle()
        try:
            return self._origin.recv(10_000_000)
        except BlockingIOError:
            return b""

    async def closes(self) -> None:
        """The origin closes in an orderly way."""
        self._origin.shutdown(socket.SHUT_WR)
        await settle()

    async def failure(self) -> OriginFailure:
        """How it failed before its head."""
        failure = await self.exchange.final_head()
        assert isinstance(failure, OriginFailure), failure
        return failure

    async def broken(self) -> OriginFailure:
        """How its body broke."""
        with pytest.raises(BodyBroken) as raised:
            await read_all(self.exchange.body)
        return raised.value.failure


@asynccontextmanager
async def conversation(
    given: Request, *, patience: Patience = PATIENT, is_repeatable: bool = False
) -> AsyncIterator[Conversation]:
    ours, origin = socket.socketpair()
    ours.setblocking(False)
    origin.setblocking(False)
    connection = OriginConnection(opened_at=0, departures=AtOnce())
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
    ends: list[CloseCause | None] = []

    def on_end(exchange: Exchange, cause: CloseCause | None) -> None:
        ends.append(cause)
        if cause is not None:
            connection.close(cause)

    exchange = Exchange(
        given, connection, patience=patience, max_head=32768, is_repeatable=is_repeatable, on_end=on_end
    )
    exchange.begin(REQUEST_HEAD)
    await settle()
    yield Conversation(exchange, origin, ends)
    exchange.stop()
    connection.close(CloseCause.SHUTDOWN)
    origin.close()
    await settle()
    assert len(ends) == 1


async def test_a_request_gets_its_response_and_leaves_the_connection_to_others() -> None:
    async with conversation(request()) as talk:
        heard = await talk.hears()
        await talk.says(OK + b"abc")
        await talk.exchange.final_head()

        assert heard == REQUEST_HEAD
        assert talk.exchange.delimiter == Delimiter(Framing.LENGTH, 3)
        assert talk.exchange.body.length == 3
        assert await read_all(talk.exchange.body) == b"abc"
        assert talk.ends == [None]
        assert talk.exchange.connection.is_usable()


@pytest.mark.parametrize(("is_repeatable", "kept"), [(True, b"abc"), (False, None)])
async def test_a_body_is_kept_while_it_may_have_to_be_sent_again(
    is_repeatable: bool, kept: bytes | None
) -> None:
    given = request("PUT", body=ArrivedBody(b"abc", length=3))
    async with conversation(given, is_repeatable=is_repeatable) as talk:
        assert await talk.hears() == REQUEST_HEAD + b"abc"
        assert talk.exchange.content == kept
        await talk.says(b"H")
        assert talk.exchange.content is None


ENDS = {
    "close announced": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
        CloseCause.ORIGIN_CLOSED,
    ),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        CloseCause.ORIGIN_CLOSED,
    ),
    "surplus": (OK + b"abcHTTP/1.1 200 OK\r\n", CloseCause.EXTRA_BYTES),
    "chunked surplus": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\r\n",
        CloseCause.EXTRA_BYTES,
    ),
}


@pytest.mark.parametrize("name", ENDS)
async def test_after_these_the_connection_is_not_used_again(name: str) -> None:
    raw, cause = ENDS[name]
    async with conversation(request()) as talk:
        await talk.says(raw)

        assert await read_all(talk.exchange.body) == b"abc"
        assert talk.ends == [cause]


async def test_a_close_completes_a_body_without_other_end() -> None:
    async with conversation(request()) as talk:
        await talk.says(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await talk.closes()

        assert await read_all(talk.exchange.body) == b"abc"
        assert talk.ends == [CloseCause.ORIGIN_CLOSED]


async def test_an_answer_to_nothing_is_a_reset_without_a_byte() -> None:
    async with conversation(request()) as talk:
        await talk.closes()

        assert (await talk.failure()).kind is FailureKind.RESET
        assert not talk.exchange.has_response_byte
        assert talk.ends == [CloseCause.ERROR]


@pytest.mark.parametrize("partial", [b"H", b"HTTP/1.1 200 OK\r\nA: b\r\n", b"HTTP/1.1 103 X\r\n\r\n"])
async def test_a_close_within_the_head_is_a_reset_with_a_byte(partial: bytes) -> None:
    async with conversation(request()) as talk:
        await talk.says(partial)
        await talk.closes()

        assert (await talk.failure()).kind is FailureKind.RESET
        assert talk.exchange.has_response_byte


async def test_what_arrived_of_a_broken_body_is_read_before_the_failure() -> None:
    async with conversation(request()) as talk:
        await talk.says(OK + b"ab")
        await talk.closes()
        await talk.exchange.final_head()

        assert await talk.exchange.body.read() == b"ab"
        assert await talk.broken() == OriginFailure(FailureKind.BROKEN_BODY, "closed before the last 1 bytes")
        assert talk.ends == [CloseCause.ERROR]


async def test_a_faulty_head_fails_at_once() -> None:
    async with conversation(request()) as talk:
        await talk.says(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n")

        assert (await talk.failure()).kind is FailureKind.INVALID_HEAD
        assert talk.ends == [CloseCause.ERROR]


async def test_interim_heads_go_on_in_order_before_the_final_one() -> None:
    told: list[ResponseHead] = []

    async def tell(head: ResponseHead) -> None:
        told.append(head)

    async with conversation(request(on_interim=tell)) as talk:
        waiting = spawn("waiting", talk.exchange.final_head())
        await talk.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        early = [head.status for head in told]
        await talk.says(b"HTTP/1.1 102 Processing\r\n\r\n" + OK + b"abc")
        await waiting

        assert early == [103]
        assert [head.status for head in told] == [103, 102]
        assert told[0].fields.lines == ((b"Link", b"</a>"),)


async def test_interim_heads_that_nobody_takes_are_dropped() -> None:
    async with conversation(request()) as talk:
        await talk.says(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"abc")
        await talk.exchange.final_head()

        assert await read_all(talk.exchange.body) == b"abc"


SHORT = 0.03
TIMEOUTS: dict[str, tuple[bytes, Patience, FailureKind]] = {
    "no response": (b"", Patience(response=SHORT, idle=10), FailureKind.RESPONSE_TIMEOUT),
    "interim heads only": (
        b"HTTP/1.1 102 Processing\r\n\r\n",
        Patience(response=SHORT, idle=10),
        FailureKind.RESPONSE_TIMEOUT,
    ),
    "rest of the head": (b"HTTP/1.1 2", Patience(response=10, idle=SHORT), FailureKind.IDLE_TIMEOUT),
}


@pytest.mark.parametrize("name", TIMEOUTS)
async def test_an_origin_that_falls_silent_before_its_head_is_given_up(name: str) -> None:
    said, patience, kind = TIMEOUTS[name]
    async with conversation(request(), patience=patience) as talk:
        if said:
            await talk.says(said)

        assert await talk.failure() == OriginFailure(kind, "nothing for 0.03 s")
        assert talk.ends == [CloseCause.ERROR]


async def test_the_first_byte_of_the_head_is_in_time() -> None:
    async with conversation(request(), patience=Patience(response=SHORT, idle=10)) as talk:
        await talk.says(b"HTTP/1.1 200 ")
        await asyncio.sleep(2 * SHORT)
        await talk.says(b"OK\r\nContent-Length: 0\r\n\r\n")
        await talk.exchange.final_head()

        assert talk.exchange.failure is None
        assert talk.ends == [None]


async def test_a_dripped_head_does_not_live_for_ever() -> None:
    async with conversation(request(), patience=Patience(response=10, idle=SHORT)) as talk:
        failing = spawn("failing", talk.failure())
        for byte in b"HTTP/1.1 200 OK\r\nA: " + b"b" * 1000:
            if failing.done():
                break
            await talk.says(bytes([byte]))
            await asyncio.sleep(SHORT / 10)

        assert (await failing).kind is FailureKind.IDLE_TIMEOUT


async def test_silence_within_the_body_breaks_it() -> None:
    async with conversation(request(), patience=Patience(response=10, idle=SHORT)) as talk:
        await talk.says(OK + b"ab")
        await talk.exchange.final_head()

        assert await talk.broken() == OriginFailure(FailureKind.IDLE_TIMEOUT, "nothing for 0.03 s")
        assert talk.ends == [CloseCause.ERROR]


async def test_each_byte_of_the_body_extends_the_deadline() -> None:
    async with conversation(request(), patience=Patience(response=10, idle=0.2)) as talk:
        await talk.says(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.06)
            await talk.says(b"x")

        assert await read_all(talk.exchange.body) == b"xxxxxx"


async def test_our_own_slowness_is_not_the_origins_silence() -> None:
    async with conversation(request(), patience=Patience(response=10, idle=SHORT)) as talk:
        size = HIGH_WATER * 2
        origin_says = spawn(
            "origin", talk.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        )
        await talk.exchange.final_head()
        await asyncio.sleep(3 * SHORT)

        assert len(await read_all(talk.exchange.body)) == size
        await origin_says


async def test_an_origin_that_outruns_its_reader_has_to_wait() -> None:
    async with conversation(request()) as talk:
        size = HIGH_WATER * 40
        says = spawn(
            "origin", talk.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        )
        await talk.exchange.final_head()
        for _ in range(200):
            await asyncio.sleep(0)
        held = talk.exchange.body._unread

        assert not says.done()
        assert held < HIGH_WATER * 3
        assert len(await read_all(talk.exchange.body)) == size
        await says


async def test_abandoned_it_ends_the_connection() -> None:
    async with conversation(request()) as talk:
        await talk.says(OK + b"a")
        talk.exchange.body.abandon()

        assert talk.ends == [CloseCause.ABANDONED]
        assert talk.exchange.connection.is_closed


async def test_abandoned_after_its_end_it_leaves_the_connection_to_others() -> None:
    async with conversation(request()) as talk:
        await talk.says(OK + b"abc")
        talk.exchange.body.abandon()

        assert talk.ends == [None]


async def test_shut_down_it_fails_whoever_waits() -> None:
    async with conversation(request()) as talk:
        failing = spawn("failing", talk.failure())
        await settle()
        talk.exchange.shut_down()

        assert (await failing).kind is FailureKind.CLOSED
        assert talk.ends == [CloseCause.SHUTDOWN]


async def test_a_body_goes_out_while_the_response_may_come() -> None:
    body = GatedBody(length=6)
    async with conversation(request("POST", body=body)) as talk:
        body.give(b"abc")
        first = await talk.hears()
        body.give(b"def", b"")
        rest = await talk.hears()
        await talk.says(OK + b"abc")

        assert (first, rest) == (REQUEST_HEAD + b"abc", b"def")
        assert talk.ends == [None]


async def test_a_refusal_stops_the_body_and_costs_the_connection() -> None:
    body = GatedBody(length=6)
    async with conversation(request("POST", body=body)) as talk:
        body.give(b"abc")
        await settle()
        await talk.says(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\n")
        stopped = body.is_abandoned
        await talk.says(b"abc")

        assert stopped
        assert await read_all(talk.exchange.body) == b"abc"
        assert talk.ends == [CloseCause.ABANDONED]


async def test_an_early_success_does_not_stop_the_body() -> None:
    body = GatedBody(length=6)
    async with conversation(request("POST", body=body)) as talk:
        body.give(b"abc")
        await settle()
        await talk.says(OK)
        await talk.exchange.final_head()
        body.give(b"def", b"")
        heard = await talk.hears()
        await talk.says(b"abc")

        assert heard == REQUEST_HEAD + b"abcdef"
        assert await read_all(talk.exchange.body) == b"abc"
        assert talk.ends == [None]


async def test_a_whole_early_response_stops_the_body_and_costs_the_connection() -> None:
    body = GatedBody(length=6)
    async with conversation(request("POST", body=body)) as talk:
        await talk.says(OK + b"abc")

        assert await read_all(talk.exchange.body) == b"abc"
        assert body.is_abandoned
        assert talk.ends == [CloseCause.ABANDONED]


async def test_the_response_is_waited_for_only_once_the_body_is_sent() -> None:
    body = GatedBody(length=3)
    async with conversation(request("POST", body=body), patience=Patience(SHORT, 10)) as talk:
        await asyncio.sleep(3 * SHORT)
        waited = talk.exchange.failure
        body.give(b"abc", b"")

        assert waited is None
        assert (await talk.failure()).kind is FailureKind.RESPONSE_TIMEOUT


async def test_an_origin_that_answers_early_may_be_silent_while_we_send() -> None:
    body = GatedBody(length=3)
    async with conversation(request("POST", body=body), patience=Patience(10, SHORT)) as talk:
        await talk.says(OK)
        await asyncio.sleep(3 * SHORT)
        waited = talk.exchange.failure
        body.give(b"abc", b"")
        await talk.exchange.final_head()

        assert waited is None
        assert (await talk.broken()).kind is FailureKind.IDLE_TIMEOUT


def raising() -> BodyBroken:
    return BodyBroken(OriginFailure(FailureKind.CLIENT_BODY, "gone"))


CLIENT_FAULTS: dict[str, Callable[[], GivenBody]] = {
    "short": lambda: GivenBody(b"ab", length=3),
    "long": lambda: GivenBody(b"abcd", length=3),
    "broken": lambda: GivenBody(b"a", raising(), length=3),
    "broken chunked": lambda: GivenBody(b"a", raising()),
}


@pytest.mark.parametrize("name", CLIENT_FAULTS)
async def test_a_faulty_client_body_never_looks_complete(name: str) -> None:
    async with conversation(request("POST", body=CLIENT_FAULTS[name]())) as talk:
        failure = await talk.failure()
        heard = await talk.hears()

        assert failure.kind is FailureKind.CLIENT_BODY
        assert talk.ends == [CloseCause.ERROR]
        assert not heard.endswith(b"0\r\n\r\n")
        assert b"abcd" not in heard
        assert b"abc" not in heard


async def test_a_client_body_that_breaks_under_an_early_answer_breaks_that() -> None:
    body = GatedBody(length=6)
    async with conversation(request("POST", body=body)) as talk:
        await talk.says(OK + b"a")
        body.give(b"abc", b"")
        await talk.exchange.final_head()

        assert (await talk.broken()).kind is FailureKind.CLIENT_BODY


async def test_a_body_that_cannot_be_read_is_the_clients_failure() -> None:
    class Crashing(GivenBody):
        async def read(self) -> bytes:
            raise ZeroDivisionError

    async with conversation(request("POST", body=Crashing(length=3))) as talk:
        assert await talk.failure() == OriginFailure(FailureKind.CLIENT_BODY, "the body could not be read")


async def test_an_origin_that_takes_no_bytes_is_given_up() -> None:
    body = GivenBody(b"x" * 8_000_000, length=8_000_000)
    async with conversation(request("POST", body=body), patience=Patience(10, SHORT)) as talk:
        assert await talk.failure() == OriginFailure(FailureKind.IDLE_TIMEOUT, "took no bytes for 0.03 s")


async def test_an_origin_that_goes_away_while_we_send_is_a_reset() -> None:
    body = GatedBody(length=6)
    async with conversation(request("POST", body=body)) as talk:
        body.give(b"abc")
        await talk.hears()
        await talk.closes()

        assert (await talk.failure()).kind is FailureKind.RESET
        assert body.is_abandoned


@pytest.mark.parametrize(
    ("content", "length", "expected"),
    [(b"abc", 3, b"abc"), (b"abc", None, b"3\r\nabc\r\n0\r\n\r\n"), (b"", None, b"0\r\n\r\n")],
)
async def test_a_body_that_is_all_there_leaves_with_the_head(
    content: bytes, length: int | None, expected: bytes
) -> None:
    async with conversation(request("POST", body=ArrivedBody(content, length=length))) as talk:
        assert await talk.hears() == REQUEST_HEAD + expected
        await talk.says(OK + b"abc")

        assert talk.ends == [None]


async def test_a_body_of_another_length_than_stated_is_never_sent() -> None:
    async with conversation(request("POST", body=ArrivedBody(b"abc", length=4))) as talk:
        assert await talk.failure() == OriginFailure(FailureKind.CLIENT_BODY, "3 bytes, expected 4")
        assert await talk.hears() == b""
