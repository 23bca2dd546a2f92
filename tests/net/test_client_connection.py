"""What may come on a connection, in whatever pieces: on real sockets, answered from a table."""

from __future__ import annotations

import asyncio
import random

import pytest

from proxy.model import Answer, Request
from proxy.net.client_connection import READ_BUFFER_BYTES
from tests.support.canned_flow import CannedBody, CannedFlow, Served, answer, read_all, serving
from tests.support.raw_client import chunked, connected, request, settle

ON_BOTH_LOOPS = True

POST_LENGTH = request("/p", method="POST", body=b"hello world")
POST_CHUNKED = request("/p", "Transfer-Encoding: chunked", method="POST", body=chunked(b"hello ", b"world"))
TRAILED = b"3\r\nabc\r\n0\r\nX-T: 1\r\nHost: evil\r\n\r\n"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")

# What is sent, the status, the cause that is counted.
REFUSED = [
    (b"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    (request("/", "Host: b"), 400, "host"),
    (request("/", host=""), 400, "host"),
    (request("/", host="a b"), 400, "host"),
    (request("/", host="a/b"), 400, "host"),
    (request("/", host="a@b"), 400, "host"),
    (request("/", host="a:b"), 400, "host"),
    (request("http://evil/"), 400, "target"),
    (request("http://shop/"), 400, "target"),
    (request("/a#b"), 400, "target"),
    (request("*"), 400, "malformed"),
    (request("a"), 400, "malformed"),
    (request("/a b"), 400, "request-line"),
    (request("/\xe9"), 400, "request-line"),
    (request("/\x01"), 400, "request-line"),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
    (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
    (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
    (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request-line"),
    (b"\r\n" * 50_000, 400, "request-line"),
    (b"GET /\r\n", 505, "version"),
    (b"GET /\r\n\r\n", 505, "version"),
    (request("/", version="HTTP/0.9"), 505, "version"),
    (request("/", version="HTTP/1.2"), 505, "version"),
    (request("/", version="HTTP/2.0"), 505, "version"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
    (request("shop:443", method="CONNECT"), 501, "connect"),
    (request("/", method="TRACE"), 405, "trace"),
    (request("/", method="BAN"), 501, "method"),
    (request("/", method="get"), 501, "method"),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400, "malformed"),
    (b"GET / HTTP/1.1\r\nHost: a\n\n", 400, "malformed"),
    (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "malformed"),
    (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400, "malformed"),
    (request("/", "X: a", " b"), 400, "malformed"),
    (request("/", " X: a"), 400, "malformed"),
    (request("/", "X : a"), 400, "malformed"),
    (request("/", ": a"), 400, "malformed"),
    (request("/", "X"), 400, "malformed"),
    (request("/", "X(: a"), 400, "malformed"),
    (request("/", "X: a\x00b"), 400, "malformed"),
    (request("/", "X: a\x07b"), 400, "malformed"),
    (request("/", "X: a\x7fb"), 400, "malformed"),
    # Framing that two servers could read differently.
    (request("/", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST"), 400, "malformed"),
    (request("/", "Transfer-Encoding: chunked", "Content-Length: 5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: 5", "Content-Length: 5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: 5", "Content-Length: 6", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: 5, 5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: +5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: -5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: 0x5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: 5 5", method="POST"), 400, "malformed"),
    (request("/", "Content-Length:", method="POST"), 400, "malformed"),
    (request("/", "Content-Length: 99999999999999999999", method="POST"), 400, "malformed"),
    (request("/", "Content-Length : 5", method="POST"), 400, "malformed"),
    (
        request("/", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", method="POST"),
        400,
        "malformed",
    ),
    (
        request("/", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", method="POST"),
        400,
        "malformed",
    ),
    (request("/", "Transfer-Encoding: chunked, identity", method="POST"), 400, "malformed"),
    (request("/", "Transfer-Encoding: identity", method="POST"), 400, "malformed"),
    (request("/", "Transfer-Encoding: xchunked", method="POST"), 400, "malformed"),
    (request("/", "Transfer-Encoding: \x0bchunked", method="POST"), 400, "malformed"),
    (request("/", "Transfer-Encoding : chunked", method="POST"), 400, "malformed"),
    (request("/", "Transfer-Encoding: gzip, chunked", method="POST"), 501, "transfer-coding"),
    (request("/", "Transfer-Encoding: chunked", method="POST", version="HTTP/1.0"), 400, "framing"),
    (request("/", *WEBSOCKET, body=b"abc"), 400, "upgrade-with-body"),
    (request("/", *WEBSOCKET, "Transfer-Encoding: chunked"), 400, "upgrade-with-body"),
    (request("/", "Expect: 200-ok"), 417, "expectation"),
    (request("/", "X: " + "x" * 70_000), 431, "head-too-large"),
    (request("/" + "x" * 70_000), 431, "head-too-large"),
    (request("/", *[f"X{n}: {'x' * 8000}" for n in range(9)]), 431, "head-too-large"),
    (b"X" * 100_000, 431, "head-too-large"),
    (request("/", *["X: y"] * 128), 431, "too-many-fields"),
]


@pytest.mark.parametrize(("raw", "status", "cause"), REFUSED)
async def test_refused_with_a_clear_status_and_a_closed_connection(
    raw: bytes, status: int, cause: str
) -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(raw)
        given = await client.answer()

        assert given.status == status
        assert given.first("content-type") == b"application/problem+json"
        assert given.first("connection") == b"close"
        assert await client.is_closed()
        assert served.refused() == {cause: 1}
        assert not served.flow.requests
        assert not served.records


@pytest.mark.parametrize(("raw", "status", "cause"), [row for row in REFUSED if len(row[0]) < 60])
async def test_refused_also_when_dripped(raw: bytes, status: int, cause: str) -> None:
    async with serving() as served, connected(served.where) as client:
        for offset in range(len(raw)):
            if served.refused():
                break
            await client.send(raw[offset : offset + 1])
            await settle()

        assert (await client.answer()).status == status
        assert served.refused() == {cause: 1}


async def test_405_says_what_is_allowed() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/", method="TRACE"))

        assert (await client.answer()).first("allow") == b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


async def test_a_refused_head_request_has_no_body() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a#b", method="HEAD"))

        assert (await client.answer("HEAD")).status == 400
        assert await client.rest() == b""


async def test_what_is_right_is_answered_before_what_is_wrong_is_refused() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a") + request("/b") + b"GARBAGE\r\n\r\n" + request("/c"))

        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await client.is_closed()
        assert [given.target for given in served.flow.requests] == [b"/a", b"/b"]


@pytest.mark.parametrize(
    ("raw", "body"), [(request("/p"), b""), (POST_LENGTH, b"hello world"), (POST_CHUNKED, b"hello world")]
)
async def test_a_request_cut_anywhere_is_the_same_request(raw: bytes, body: bytes) -> None:
    async with serving() as served, connected(served.where) as client:
        for cut in range(1, len(raw)):
            await client.send_cut(raw, cut)
            assert (await client.answer()).body == b"/p|" + body


@pytest.mark.parametrize("raw", [POST_LENGTH, POST_CHUNKED])
async def test_a_dripped_request_is_the_same_request(raw: bytes) -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send_dripped(raw + raw)

        assert (await client.answer()).body == b"/p|hello world"
        assert (await client.answer()).body == b"/p|hello world"


@pytest.mark.parametrize("cut_every", [1 << 20, 997, 64])
async def test_a_hundred_pipelined_requests_are_answered_in_order(cut_every: int) -> None:
    stream, expected = b"", []
    for number in range(100):
        target = f"/{number}"
        body = b"%d" % number * (number % 7)
        if number % 3 == 0:
            stream += request(target, method="POST", body=body)
        elif number % 3 == 1:
            stream += request(target, "Transfer-Encoding: chunked", method="PUT", body=chunked(body or b"x"))
            body = body or b"x"
        else:
            stream += request(target)
            body = b""
        expected.append(target.encode() + b"|" + body)
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {b"/50": answer(b"/50|"), b"/98": answer(b"/98|")}
        for start in range(0, len(stream), cut_every):
            await client.send(stream[start : start + cut_every])

        assert [(await client.answer()).body for _ in range(100)] == expected


def some_request(dice: random.Random, number: int) -> tuple[bytes, bytes]:
    """A request of any form, and the body that its answer must have."""
    target, method = f"/{number}", dice.choice(["GET", "POST", "PUT"])
    content = request("/evil", body=b"\r\n\r\n") * dice.randrange(3)
    upgrade = WEBSOCKET if dice.random() < 0.2 else ()
    match dice.choice(["none", "length", "chunked", "trailed"]):
        case "none":
            return request(target, *upgrade, method=method), f"{target}|".encode()
        case "length":
            raw = request(target, method=method, body=content)
        case "chunked":
            pieces = [content[start : start + 7] for start in range(0, len(content), 7)]
            raw = request(target, "Transfer-Encoding: chunked", method=method, body=chunked(*pieces))
        case "trailed":
            raw = request(target, "Transfer-Encoding: chunked", method=method, body=TRAILED)
            content = b"abc"
    return raw, f"{target}|".encode() + content


@pytest.mark.parametrize("seed", range(25))
async def test_any_mix_in_any_pieces_is_answered_one_by_one(seed: int) -> None:
    dice = random.Random(seed)
    made = [some_request(dice, number) for number in range(20)]
    stream = b"".join(raw for raw, _ in made)
    cuts = sorted(dice.sample(range(1, len(stream)), 30))
    async with serving() as served, connected(served.where) as client:
        await client.send_cut(stream, *cuts)

        assert [(await client.answer()).body for _ in made] == [body for _, body in made]
        assert await client.has_silence()


async def test_the_next_request_waits_for_the_answer_before_it() -> None:
    gate = asyncio.Event()

    async def handler(given: Request) -> Answer:
        if given.target == b"/slow":
            await gate.wait()
        return answer(given.target)

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        served.flow.hits = {b"/hit": answer(b"/hit")}
        await client.send(request("/slow") + request("/hit"))
        await settle()

        assert await client.has_silence()
        gate.set()
        assert (await client.answer()).body == b"/slow"
        assert (await client.answer()).body == b"/hit"


async def test_a_client_that_pipelines_without_end_is_not_read_further() -> None:
    gate = asyncio.Event()

    async def handler(_request: Request) -> Answer:
        await gate.wait()
        return answer()

    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        await client.send(request())
        (connection,) = served.listener._connections.open
        sending = asyncio.ensure_future(client.send(request() * 200_000))  # noqa: TID251
        for _ in range(50):
            await settle()

        assert not sending.done()
        assert not connection._messages
        assert len(connection._intake) < READ_BUFFER_BYTES + 256 * 1024
        sending.cancel()
        gate.set()
        for _ in range(1001):
            assert (await client.answer()).status == 200
        client.reset()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_larger_than_every_buffer_arrives_whole(framing: str) -> None:
    body = bytes(range(256)) * 8192
    raw = (
        request("/p", method="POST", body=body)
        if framing == "length"
        else request("/p", "Transfer-Encoding: chunked", method="POST", body=chunked(*[body[:70_000]] * 30))
    )
    expected = body if framing == "length" else body[:70_000] * 30
    async with serving() as served, connected(served.where) as client:
        await client.send(raw + request("/next"))

        assert (await client.answer()).body == b"/p|" + expected
        assert (await client.answer()).body == b"/next|"


async def test_a_body_that_nobody_reads_yet_is_held_back() -> None:
    gate = asyncio.Event()

    async def handler(given: Request) -> Answer:
        await gate.wait()
        return answer(b"%d" % len(await read_all(given)))

    size = 8 * 1024 * 1024
    async with serving() as served, connected(served.where) as client:
        served.flow.handler = handler
        sending = asyncio.ensure_future(client.send(request(method="POST", body=b"x" * size)))  # noqa: TID251
        for _ in range(50):
            await settle()
        (connection,) = served.listener._connections.open
        assert connection._body is not None

        assert connection._body._payload._size < 8 * READ_BUFFER_BYTES
        assert not sending.done()
        gate.set()
        await sending
        assert (await client.answer()).body == b"%d" % size


async def test_a_body_ends_while_its_reader_is_far_behind() -> None:
    """The last byte arrives while aiohttp's reader has stopped the parser: the end must not be lost."""
    gate = asyncio.Event()

    async def handler(given: Request) -> Answer:
        await gate.wait()
        return answer(b"%d" % len(await read_all(given)))

    for size in range(2 * READ_BUFFER_BYTES - 1, 2 * READ_BUFFER_BYTES + 3):
        gate.clear()
        async with serving() as served, connected(served.where) as client:
            served.flow.handler = handler
            await client.send(request(method="POST", body=b"x" * size))
            for _ in range(10):
                await settle()
            gate.set()

            assert (await client.answer()).body == b"%d" % size
            await client.send(request())
            assert (await client.answer()).body == b"0"


BROKEN_CHUNKS = [
    b"XYZ\r\n",
    b"5\nhello\r\n",
    b"5\r\nhelloX\r\n",
    b" 5\r\n",
    b"0x5\r\n",
    b"-1\r\n",
    b"5;a=\nb\r\n",
]


@pytest.mark.parametrize("broken", BROKEN_CHUNKS)
@pytest.mark.parametrize("is_later", [False, True])
async def test_a_malformed_chunk_fails_the_reader(broken: bytes, is_later: bool) -> None:
    head = request("/p", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n")
    async with serving() as served, connected(served.where) as client:
        await client.send_cut(head + broken, *([len(head)] if is_later else []))
        given = await client.answer()

        assert given.status == 400
        assert given.first("connection") == b"close"
        assert await client.is_closed()


async def test_trailers_are_dropped() -> None:
    raw = request("/p", "Transfer-Encoding: chunked", method="POST", body=TRAILED)
    async with serving() as served, connected(served.where) as client:
        await client.send(raw + request("/next"))

        assert (await client.answer()).body == b"/p|abc"
        assert (await client.answer()).body == b"/next|"
        assert b"x-t" not in served.flow.requests[0].fields


async def test_a_trailer_is_no_field_of_the_next_request() -> None:
    """aiohttp 3.14.5 makes it one: behind a load balancer that is another user's request."""
    body = b"3\r\nabc\r\n0\r\nX-First: 1\r\nAuthorization: evil\r\n\r\n"
    async with serving() as served, connected(served.where) as client:
        await client.send(
            request("/p", "Transfer-Encoding: chunked", method="POST", body=body) + request("/next")
        )

        assert (await client.answer()).body == b"/p|abc"
        assert (await client.answer()).body == b"/next|"
        assert served.flow.requests[1].fields.lines == ((b"Host", b"shop"),)


@pytest.mark.parametrize("endless", [b"1;" + b"x" * 100_000, b"1\r\nx\r\n0\r\n" + b"X: yyyyy\r\n" * 10_000])
async def test_chunk_extensions_and_trailers_are_bounded(endless: bytes) -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/p", "Transfer-Encoding: chunked", method="POST"))
        await client.send_cut(endless, *range(4096, len(endless), 4096))

        assert (await client.answer()).status == 400
        assert await client.is_closed()


async def test_a_request_in_a_body_is_no_request() -> None:
    """A hit leaves its request's body unread: what is in there must not be answered."""
    smuggled = request("/evil")
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {b"/hit": answer()}
        await client.send(request("/hit", body=smuggled) + request("/next"))

        # The body is complete, so that the next request begins where it must.
        assert (await client.answer()).status == 200
        assert (await client.answer()).body == b"/next|"
        assert [given.target for given in served.flow.requests] == [b"/hit", b"/next"]


async def test_an_early_answer_with_an_unread_body_is_the_last() -> None:
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {b"/hit": answer()}
        await client.send(request("/hit", "Content-Length: 1000000", method="POST") + b"x" * 1000)
        given = await client.answer()

        assert (given.status, given.body) == (200, b"hello")
        assert given.first("connection") == b"close"
        assert await client.is_closed()


async def test_a_client_that_sends_all_before_it_reads_gets_the_early_answer() -> None:
    async with serving() as served, connected(served.where) as client:
        served.flow.hits = {b"/hit": answer(status=413, reason=b"")}
        await client.send(request("/hit", method="POST", body=b"x" * 8 * 1024 * 1024))

        assert (await client.answer()).status == 413


async def test_what_follows_connection_close_is_not_a_request() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a", "Connection: close") + request("/b"))

        assert (await client.answer()).first("connection") == b"close"
        assert await client.is_closed()
        assert [given.target for given in served.flow.requests] == [b"/a"]


@pytest.mark.parametrize("cut", [0, 1, 2])
async def test_an_empty_line_between_requests_is_ignored(cut: int) -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(POST_LENGTH)
        assert (await client.answer()).status == 200

        await client.send_cut(b"\r\n" + request("/a"), *([cut] if cut else []))

        assert (await client.answer()).body == b"/a|"


async def test_a_slow_head_is_refused() -> None:
    async with serving(head_time=0.05) as served, connected(served.where) as client:
        await client.send(b"GET / HT")
        given = await client.answer()

        assert given.status == 408
        assert await client.is_closed()
        assert served.metrics.client_timeouts.get("head") == 1
        assert served.refused() == {"head-timeout": 1}


async def test_a_dripped_head_gains_no_time() -> None:
    async with serving(head_time=0.1) as served, connected(served.where) as client:
        await client.send(request("/a"))
        assert (await client.answer()).status == 200

        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
            if served.refused():
                break
            await client.send(bytes([byte]))
            await asyncio.sleep(0.005)

        assert (await client.answer()).status == 408


async def test_a_client_that_goes_on_sending_what_was_refused_is_not_listened_to_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.net.client_connection.LINGER_SECONDS", 0.05)
    async with serving() as served, connected(served.where) as client:
        await client.send(b"GARBAGE\r\n\r\n" + b"x" * 100_000)
        assert (await client.answer()).status == 400
        assert await client.is_closed()
        await client.send(b"x" * 100_000)
        await served.listener._connections.wait_until_none(5)

        assert not served.listener._connections.open


async def test_an_idle_connection_has_no_deadline_for_a_head() -> None:
    async with serving(head_time=0.02) as served, connected(served.where) as client:
        await client.send(request("/a") + b"\r\n")
        assert (await client.answer()).status == 200

        await asyncio.sleep(0.06)
        await client.send(request("/b"))

        assert (await client.answer()).body == b"/b|"


async def test_an_idle_connection_is_closed_after_keep_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.net.client_connection.KEEP_ALIVE_SECONDS", 0.05)
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a"))

        assert (await client.answer()).status == 200
        assert await client.is_closed()


async def test_keep_alive_does_not_cut_off_a_head_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.net.client_connection.KEEP_ALIVE_SECONDS", 0.05)
    async with serving() as served, connected(served.where) as client:
        await client.send(b"GET /a HTTP/1.1\r\n")
        await asyncio.sleep(0.1)
        await client.send(b"Host: a\r\n\r\n")

        assert (await client.answer()).body == b"/a|"
        assert await client.is_closed()


async def test_a_client_that_ends_its_side_gets_its_answers() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(request("/a") + POST_LENGTH + request("/b"))
        client.send_eof()

        assert [(await client.answer()).body for _ in range(3)] == [b"/a|", b"/p|hello world", b"/b|"]
        assert await client.is_closed()


async def test_a_client_that_ends_within_a_head_is_not_answered() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        client.send_eof()

        assert await client.is_closed()
        assert not served.refused()


@pytest.mark.parametrize("raw", [POST_LENGTH[:-1], POST_CHUNKED[:-1], POST_CHUNKED[:-5]])
async def test_a_client_that_ends_within_a_body_is_told_that_it_broke(raw: bytes) -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(raw)
        client.send_eof()
        given = await client.answer()

        assert (given.status, given.first("connection")) == (400, b"close")
        assert await client.is_closed()


async def test_a_client_that_vanishes_within_a_body_breaks_it() -> None:
    async with serving() as served, connected(served.where) as client:
        await client.send(POST_LENGTH[:-1])
        await settle()
        client.reset()
        (record,) = await served.records.until(1)

        assert (record.status, record.complete) == (400, False)


async def declined(served: Served, upgrade: str) -> None:
    async with connected(served.where) as client:
        raw = request("/a", "Connection: Upgrade", f"Upgrade: {upgrade}")
        await client.send(raw + request("/b") + POST_LENGTH)
        assert [(await client.answer()).body for _ in range(3)] == [b"/a|", b"/b|", b"/p|hello world"]


@pytest.mark.parametrize("upgrade", ["websocket", "foo/2"])
async def test_requests_behind_a_declined_upgrade_are_answered(upgrade: str) -> None:
    async with serving() as served:
        await declined(served, upgrade)


async def test_an_upgrade_to_another_http_is_ignored_and_the_last() -> None:
    async with serving() as served, connected(served.where) as client:
        raw = request("/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", method="POST", body=b"abc")
        await client.send(raw)
        given = await client.answer()

        assert (given.status, given.body, given.first("connection")) == (200, b"/a|abc", b"close")
        assert not served.flow.requests[0].upgrade


async def test_a_request_cut_by_a_reset_leaves_nothing(tmp_path: object) -> None:
    flow = CannedFlow()
    flow.always(lambda: answer(CannedBody(asyncio.Event())))
    async with serving(flow) as served, connected(served.where) as client:
        await client.send(request() + request())
        await client.head()
        client.reset()
        await served.records.until(1)

        assert not served.listener._connections.open
