from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.model import BodyBroken, FailureKind, Framing, OriginResponse, ResponseHead
from tests.support.origin_clients import (
    ROUTE,
    GivenBody,
    Stepped,
    origin_client,
    read_all,
    request,
)
from tests.support.raw_origin import (
    OK,
    OriginEnd,
    RawOrigin,
    Script,
    always,
    answering,
    settle,
)

ON_BOTH_LOOPS = True


async def test_the_origin_gets_exactly_the_bytes_that_it_should() -> None:
    lines = ((b"X-B", b"caf\xe9"), (b"x-b", b"2"), (b"Connection", b"x-hop"), (b"X-Hop", b"1"))
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        given = request("GET", b"/a%2Fb/../c%20d/?", *lines, peer="10.0.0.9")

        assert await setup.text(given) == b"ok"
        assert origin.connections[0].received == (
            b"GET /a%2Fb/../c%20d/? HTTP/1.1\r\nHost: shop.example\r\nX-B: caf\xe9\r\nx-b: 2\r\n"
            b"X-Forwarded-For: 10.0.0.9\r\nVia: 1.1 sidecache\r\n\r\n"
        )


@pytest.mark.parametrize(
    ("host", "expected"),
    [("preserve", b"Host: shop.example\r\n"), ("api.internal", b"Host: api.internal\r\n")],
)
async def test_the_host_is_as_configured(host: str, expected: bytes) -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url, origin={"host": host}) as setup:
        await setup.response(request("OPTIONS", b"*"))

        assert origin.connections[0].received.startswith(b"OPTIONS * HTTP/1.1\r\n" + expected)


async def test_a_request_that_could_forge_a_line_never_leaves() -> None:
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        failure = await setup.failure(request("GET", b"/", (b"A", b"b\r\nX: y")))

        assert failure.kind is FailureKind.INVALID_REQUEST
        assert origin.connections == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda: GivenBody(b"ab", b"c", length=3), b"Content-Length: 3\r\nVia: 1.1 sidecache\r\n\r\nabc"),
        (
            lambda: GivenBody(b"ab", b"c"),
            b"Transfer-Encoding: chunked\r\nVia: 1.1 sidecache\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        ),
    ],
    ids=["counted", "chunked"],
)
async def test_a_body_arrives_as_it_was_sent(body: Callable[[], GivenBody], expected: bytes) -> None:
    async def script(end: OriginEnd) -> None:
        await end.until(expected)
        await end.send(OK)
        await end.wait_closed()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        assert await setup.text(request("POST", b"/", body=body())) == b"ok"
        assert setup.gauge("origin_pool", "idle") == 1


RESPONSES: dict[str, tuple[str, bytes, bytes, Framing]] = {
    "length": ("GET", OK, b"ok", Framing.LENGTH),
    "chunked": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\no\r\n1\r\nk\r\n0\r\nT: u\r\n\r\n",
        b"ok",
        Framing.CHUNKED,
    ),
    "until close": ("GET", b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nok", b"ok", Framing.CLOSE),
    "head": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"", Framing.NONE),
    "no content": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"", Framing.NONE),
    "not modified": ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b"", Framing.NONE),
    "after an interim head": ("GET", b"HTTP/1.1 103 X\r\nLink: y\r\n\r\n" + OK, b"ok", Framing.LENGTH),
}


def cutting(raw: bytes) -> Script:
    """Connection n answers cut at offset n; then it closes its side."""
    cuts = iter(range(len(raw) + 1))

    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(raw, cut_at=next(cuts))
        end.close()

    return script


@pytest.mark.parametrize("name", RESPONSES)
async def test_a_response_is_the_same_wherever_it_is_cut(name: str) -> None:
    method, raw, body, framing = RESPONSES[name]
    async with RawOrigin(cutting(raw)) as origin, origin_client(origin.url) as setup:
        for cut in range(len(raw) + 1):
            response = await setup.response(request(method))

            assert response.framing is framing, cut
            assert await read_all(response.body) == body, cut
            await settle()
        assert len(origin.connections) == len(raw) + 1
        assert setup.closed("error") == 0


@pytest.mark.parametrize("name", ["length", "chunked"])
async def test_a_response_that_ends_anywhere_before_its_end_is_never_whole(name: str) -> None:
    raw = RESPONSES[name][1]
    ends = iter(range(len(raw)))

    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(raw[: next(ends)])
        end.close()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        for size in range(len(raw)):
            outcome = await setup.fetch(request())
            if size < raw.index(b"\r\n\r\n") + 4:
                assert not isinstance(outcome, OriginResponse), size
                assert outcome.kind is FailureKind.RESET, size
                continue
            assert isinstance(outcome, OriginResponse), size
            with pytest.raises(BodyBroken) as raised:
                await read_all(outcome.body)
            assert raised.value.failure.kind is FailureKind.BROKEN_BODY, size
        assert setup.gauge("origin_pool", "idle") == 0


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b""],
    ids=["length", "chunked", "until close"],
)
async def test_a_reset_within_the_body_breaks_it_also_where_a_close_would_end_it(head: bytes) -> None:
    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"1\r\na" if b"chunked" in head else b"a"))
        await reset.wait()
        end.reset()

    reset = asyncio.Event()
    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        response = await setup.response(request())
        reset.set()

        with pytest.raises(BodyBroken) as raised:
            await read_all(response.body)
        assert raised.value.failure.kind is FailureKind.BROKEN_BODY


FAULTY_HEADS = {
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "one bare LF": b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "obs-fold": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "folded length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok",
    "control byte": b"HTTP/1.1 200 OK\r\nA: \x01\r\nContent-Length: 2\r\n\r\nok",
    "bare CR": b"HTTP/1.1 200 OK\r\nA: b\rX: y\r\nContent-Length: 2\r\n\r\nok",
    "NUL": b"HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 2\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "status 999": b"HTTP/1.1 999 X\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "257 fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 257 + b"\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000,
    "endless interim heads": b"HTTP/1.1 102 X\r\n\r\n" * 40,
}


@pytest.mark.parametrize("name", FAULTY_HEADS)
async def test_a_faulty_head_is_a_502_and_the_end_of_the_connection(name: str) -> None:
    async with RawOrigin(answering(FAULTY_HEADS[name])) as origin, origin_client(origin.url) as setup:
        failure = await setup.failure(request())
        await origin.connections[0].wait_closed()

        assert failure.kind is FailureKind.INVALID_HEAD
        assert failure.kind.status == 502
        assert setup.closed("error") == 1
        assert setup.metrics.origin_requests.get(ROUTE, "invalid-head") == 1


async def test_heads_of_32_kib_are_taken_however_small_the_limit_for_clients() -> None:
    big = b"HTTP/1.1 200 OK\r\nContent-Security-Policy: " + b"x" * 32_000 + b"\r\nContent-Length: 0\r\n\r\n"
    async with RawOrigin(answering(big)) as origin, origin_client(origin.url, limits={"head": 8192}) as setup:
        assert (await setup.response(request())).head.status == 200


async def test_the_head_is_as_the_house_wants_it() -> None:
    raw = b"HTTP/1.1 200 Fine\r\nConnection: close\r\nContent-Length: 0\r\nX-A: caf\xe9\r\nAge: 3\r\n\r\n"
    async with RawOrigin(answering(raw)) as origin, origin_client(origin.url, clock=Stepped()) as setup:
        response = await setup.response(request())

        assert (response.head.status, response.head.reason) == (200, b"Fine")
        assert response.head.fields.lines == (
            (b"X-A", b"caf\xe9"),
            (b"Age", b"3"),
            (b"Date", b"Thu, 01 Jan 1970 00:16:40 GMT"),
            (b"Via", b"1.1 sidecache"),
        )
        assert (response.requested_at, response.received_at) == (1000.0, 1000.0)


async def test_interim_heads_reach_the_client_before_the_response_is_there() -> None:
    hinted = asyncio.Event()

    async def hint(head: ResponseHead) -> None:
        assert head.status == 103
        hinted.set()

    async def script(end: OriginEnd) -> None:
        await end.head()
        await end.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await hinted.wait()
        await end.send(OK)
        await end.wait_closed()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        assert await setup.text(request(on_interim=hint)) == b"ok"


POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
FIRST_ANSWERS = {
    "length": ("GET", OK, b"ok"),
    "chunked": ("GET", RESPONSES["chunked"][1], b"ok"),
    "no content": ("GET", RESPONSES["no content"][1], b""),
    "head": ("HEAD", RESPONSES["head"][1], b""),
    "not modified": ("GET", RESPONSES["not modified"][1], b""),
}


@pytest.mark.parametrize("surplus", [POISON, b"H", b"\r\n", b"EVIL"])
@pytest.mark.parametrize("name", FIRST_ANSWERS)
@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "later"])
async def test_bytes_that_nobody_asked_for_never_answer_a_request(
    name: str, surplus: bytes, at_once: bool
) -> None:
    method, answer, body = FIRST_ANSWERS[name]

    async def script(end: OriginEnd) -> None:
        await end.head()
        if len(origin.connections) == 1:
            await (end.send(answer + surplus) if at_once else end.send(answer + surplus, cut_at=len(answer)))
        else:
            await end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        await end.wait_closed()

    async with RawOrigin(script) as origin, origin_client(origin.url) as setup:
        first = await setup.text(request(method))
        await settle()
        second = await setup.text(request())

        assert (first, second) == (body, b"good")
        assert setup.closed("extra-bytes" if at_once else "idle-data") == 1


async def test_bytes_that_only_the_kernel_has_never_answer_a_request() -> None:
    """Sent and asked within one turn of the loop: nobody has read them when the connection is chosen."""
    async with RawOrigin(always(OK)) as origin, origin_client(origin.url) as setup:
        await setup.text(request())
        origin.connections[0].transport.write(POISON)

        assert await setup.text(request()) == b"ok"
        assert len(origin.connections) == 2
