"""Which heads are plain, what is read from them, and that aiohttp's parser would read the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.model import Request
from proxy.net.head_reading import MAX_FIELDS, fault_in_head
from proxy.net.plain_head import Shape, names_in, read_plain, shape_of
from proxy.net.request_reading import normal_host, read_request
from tests.support.raw_client import request

TELLING = frozenset({b"authorization", b"cache-control", b"connection", b"cookie"})


def shape_for(head: bytes) -> Shape | None:
    return shape_of(names_in(head), TELLING)


def is_taken(head: bytes) -> bool:
    shape = shape_for(head)
    return shape is not None and shape.match(head) is not None


TAKEN = [
    request("/"),
    request("/", method="HEAD"),
    request("/a-z_A.Z~0/9%2F?a=1&b=2+3,4;5:6@7!8$9'(*)"),
    request("//evil/x"),
    request("/a?"),
    request("/a:", "X: a: b", "Y: :"),
    request("/", host="shop:8080"),
    request("/", host="  shop  "),
    request("/", "Accept: */*", 'User-Agent: x (y; z) "w" {v} <u> \\ ` | ~'),
    request("/", "X: "),
    request("/", "X:   a   "),
    request("/", "accept: a", "ACCEPT-ENCODING: b"),
    request("/", "Connection: keep-alive"),
    request("/", "connection: Keep-Alive"),
    request("/", 'If-None-Match: "a", W/"b"', "If-Modified-Since: yesterday"),
    request("/", "Cookie: a=b", "Authorization: Basic eA==", "Cache-Control: no-cache"),
    request("/", "Upgrade-Insecure-Requests: 1", "Priority: u=1", "Sec-Fetch-Mode: cors"),
    request("/", "X_Y: 1", "!#$%&'*+-.^_`|~: 1"),
    *[request("/a?b", "Content-Length: 5", method=method) for method in ("DELETE", "PATCH", "POST", "PUT")],
    request("/", "content-type: text/plain", "X: 1", "content-length: 999999999", method="POST"),
    request("/", *[f"X{number}: y" for number in range(MAX_FIELDS - 1)]),
]

WRONG_LENGTHS = ("0", "05", "+5", "-5", " 5", "5 ", "5,5", "0x5", "5.0", "", "1000000000")

NOT_TAKEN = [
    b"",
    b"\r\n",
    b"\r\n" + request("/"),
    request("/")[:-1],
    request("/")[:-2],
    request("/") + b"x",
    request("/") + request("/"),
    request("/", method="POST"),
    request("/", method="get"),
    request("/", method="GETX"),
    *[request("/", f"Content-Length: {length}", method="POST") for length in WRONG_LENGTHS],
    *[request("/", "Content-Length: 5", method=method) for method in ("HEAD", "OPTIONS", "PURGE", "post")],
    request("/", "Content-Type: text/plain", method="POST"),
    request("/", "Content-Length: 5", "Content-Encoding: gzip", method="POST"),
    request("/", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST"),
    request("/", "Content-Length: 5", "Expect: 100-continue", method="POST"),
    request("/", "Content-Length: 5", "content-length: 5", method="POST"),
    request("/", "Content-Length: 5", method="POST") + b"12345",
    request("/", version="HTTP/1.0"),
    request("/", version="HTTP/1.2"),
    request("/", version="http/1.1"),
    request("*"),
    request("a"),
    request("http://shop/"),
    request("/a#b"),
    request("/a b"),
    request("/\xe9"),
    request("/\x01"),
    request("/\x7f"),
    request("/a\\b"),
    request('/"<>^`{|}[]'),
    request("/").replace(b"\r\n", b"\n"),
    request("/").replace(b"\r\n\r\n", b"\n\n"),
    request("/").replace(b" /", b"  /"),
    request("/").replace(b"/ ", b"/  "),
    request("/").replace(b" /", b"\t/"),
    request("/", host=None),
    request("/", "Host: b"),
    request("/", "host: b"),
    request("/", "X: a", "x: b"),
    request("/", "X:a"),
    request("/", "X:"),
    request("/", "X : a"),
    request("/", " X: a"),
    request("/", ": a"),
    request("/", "X"),
    request("/", "X(: a"),
    request("/", "X: a", " b"),
    request("/", "X: a\tb"),
    request("/", "X: a\x00b"),
    request("/", "X: a\x7fb"),
    request("/", "X: \xe9"),
    request("/", "X: a\rb"),
    request("/", "X: a\nb"),
    request("/", "Connection: close"),
    request("/", "Connection: keep-alive, close"),
    request("/", "Connection: KEEP-ALIVE"),
    request("/", "Connection: upgrade"),
    request("/", "Connection: X-Tenant"),
    request("/", "Connection: "),
    request("/", "Content-Length: 0"),
    request("/", "Content-Length: 5", method="GET"),
    request("/", "Content_Length: 5"),
    request("/", "Content-Type: text/plain"),
    request("/", "Transfer-Encoding: chunked"),
    request("/", "Expect: 100-continue"),
    request("/", "Upgrade: websocket"),
    request("/", "HTTP2-Settings: a"),
    request("/", "Sec-WebSocket-Key: a"),
    request("/", "TE: trailers"),
    request("/", "Trailer: X"),
    request("/", "Keep-Alive: 5"),
    request("/", "Proxy-Connection: keep-alive"),
    request("/", "Proxy-Authorization: x"),
    request("/", "Range: bytes=0-1"),
    request("/", "If-Range: x"),
    request("/", "If-Match: x"),
    request("/", "If-Unmodified-Since: x"),
    request("/", *[f"X{number}: y" for number in range(MAX_FIELDS)]),
]


@pytest.mark.parametrize("head", TAKEN)
def test_a_plain_head_is_taken(head: bytes) -> None:
    assert is_taken(head)


@pytest.mark.parametrize("head", NOT_TAKEN)
def test_another_is_not(head: bytes) -> None:
    assert not is_taken(head)


@pytest.mark.parametrize("cut", range(len(request("/a", "X: b"))))
def test_a_part_of_a_head_is_not_taken(cut: int) -> None:
    whole = request("/a", "X: b")
    shape = shape_for(whole)

    assert shape is not None
    assert shape.match(whole[:cut]) is None
    assert shape.match(whole[cut:]) is None or cut == 0


@pytest.mark.parametrize("other", [head for head in NOT_TAKEN if head])
def test_no_shape_of_a_plain_head_takes_another(other: bytes) -> None:
    shapes = [shape for head in TAKEN if (shape := shape_for(head)) is not None]

    assert not [shape for shape in shapes if shape.match(other)]


def test_a_shape_takes_all_heads_with_its_names_and_no_others() -> None:
    shape = shape_for(request("/", "X: 1", "Accept: a"))

    assert shape is not None
    assert shape.match(request("/other?x", "X: 2", "Accept: b", host="b", method="HEAD"))
    assert not shape.match(request("/", "Accept: a", "X: 1"))
    assert not shape.match(request("/", "x: 1", "Accept: a"))
    assert not shape.match(request("/", "X: 1"))
    assert not shape.match(request("/", "X: 1", "Accept: a", "B: c"))


@pytest.mark.parametrize(
    ("lines", "host", "conditions"),
    [
        (("Host: shop", "X: 1"), 2, ()),
        (("X: 1", "Host: shop"), 2, ()),
        (("If-None-Match: e", "Host: shop"), 3, ((2, b"if-none-match"),)),
        (("Host: shop", "if-none-match: e"), 2, ((3, b"if-none-match"),)),
        (
            ("If-Modified-Since: m", "X: 1", "Host: shop", "If-None-Match: e"),
            3,
            ((2, b"if-modified-since"), (4, b"if-none-match")),
        ),
    ],
)
def test_what_is_read_while_matching(
    lines: tuple[str, ...], host: int, conditions: tuple[tuple[int, bytes], ...]
) -> None:
    head = request("/a", *lines, host=None)
    shape = shape_for(head)
    assert shape is not None
    found = shape.match(head)
    assert found is not None

    assert (shape.host, shape.conditions) == (host, conditions)
    assert found.group(1, shape.host) == (b"GET /a", b"shop")
    values = {b"if-none-match": b"e", b"if-modified-since": b"m"}
    assert [found[group] for group, _ in conditions] == [values[name] for _, name in conditions]


def test_where_the_length_of_a_body_stands() -> None:
    head = request("/a", "Content-Length: 70", "If-None-Match: e", host="h", method="PUT")
    shape = shape_for(head)
    assert shape is not None
    found = shape.match(head)
    assert found is not None

    assert (found[shape.length], found[shape.host], found[1]) == (b"70", b"h", b"PUT /a")
    assert shape.conditions == ((4, b"if-none-match"),)


@pytest.mark.parametrize(
    ("fields", "tells"),
    [
        ((), False),
        (("Accept: a", "Connection: keep-alive", "If-None-Match: e"), False),
        (("COOKIE: a=1",), True),
        (("Accept: a", "authorization: b"), True),
    ],
)
def test_says_whether_more_than_target_and_host_may_matter(fields: tuple[str, ...], tells: bool) -> None:
    shape = shape_for(request("/", *fields))

    assert shape is not None
    assert shape.tells is tells


def test_the_request_is_what_came() -> None:
    head = request("/a?b", "X:  1 ", "x-Y: caf", "Z: ", host="SHOP:80", method="HEAD")
    given_ = read_plain(head, host=b"shop", peer="10.0.0.9")

    assert (given_.method, given_.target, given_.host, given_.peer) == ("HEAD", b"/a?b", b"shop", "10.0.0.9")
    assert given_.fields.lines == (
        (b"Host", b"SHOP:80"),
        (b"X", b"1"),
        (b"x-Y", b"caf"),
        (b"Z", b""),
    )
    assert (given_.version, given_.body, given_.upgrade, given_.on_interim) == ((1, 1), None, False, None)


# Whatever bytes a shape takes, aiohttp's parser and our rules take too, and read the same.

_LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _closed_loop() -> Iterator[None]:
    yield
    _LOOP.close()


def read_by_aiohttp(head: bytes) -> Request:
    """What the whole lane makes of it, which must be a plain request."""
    assert fault_in_head(head) is None
    parser = HttpRequestParser(BaseProtocol(_LOOP), _LOOP, 65536, max_headers=MAX_FIELDS)
    ((message, payload),), is_upgraded, tail = parser.feed_data(head)
    assert isinstance(message, RawRequestMessage)
    assert (payload is EMPTY_PAYLOAD) is ("Content-Length" not in message.headers)
    assert not message.chunked
    assert (is_upgraded, tail, message.should_close, message.upgrade) == (False, b"", False, False)
    given_ = read_request(message, body=None, peer="")
    assert isinstance(given_, Request)
    return given_


NAMES = st.sampled_from(
    [
        "Accept",
        "cookie",
        "Connection",
        "Content-Length",
        "Expect",
        "Host",
        "host",
        "If-None-Match",
        "Range",
        "TE",
        "Transfer-Encoding",
        "Transfer_Encoding",
        "Upgrade",
        "X-Forwarded-Host",
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=5)
VALUES = st.sampled_from(
    ["", "shop", "shop:80", "keep-alive", "close", "chunked", "0", "a, b", "SHOP.", "[::1]:8", "a:b"]
) | st.text(st.characters(max_codepoint=255), max_size=6)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=4)
LENGTHS = st.sampled_from(["7", "2048", *WRONG_LENGTHS])
METHODS = st.sampled_from(["GET", "HEAD"]) | st.sampled_from(["GET", "POST", "PUT", "get", "GE"])
VERSIONS = st.just("HTTP/1.1") | st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.11", "HTTP/2.0"])
PATHS = st.sampled_from(["/", "/a", "/%zz?x=1", "//b"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=8
).map(lambda text: "/" + text)
COLONS = st.just(": ") | st.sampled_from([": ", ":", " :", ":\t", ":  "])
HOSTS = st.sampled_from(["shop", "shop:80", "SHOP.", "[::1]:8"]) | VALUES


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are plain or nearly so."""
    colon = draw(COLONS)
    lines = [f"{name}{colon}{value}" for name, value in draw(LINES)]
    lines.insert(draw(st.integers(0, len(lines))), f"Host: {draw(HOSTS)}")
    if draw(st.booleans()) and draw(st.booleans()):
        lines.append(f"Content-Length{colon}{draw(LENGTHS)}")
    return request(draw(PATHS), *lines, method=draw(METHODS), version=draw(VERSIONS), host=None)


EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 2),
        st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b":", b",", b"\x00", b"\xff"])
        | st.binary(min_size=1, max_size=2),
    ),
    max_size=3,
)


def edited(head: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """The head with a few bytes replaced, inserted or removed."""
    for place, removed, put in edits:
        at = int(place * len(head))
        head = head[:at] + put + head[at + removed :]
    return head


def taken_by_some_shape(head: bytes, *others: bytes) -> bool:
    """By the shape of its own names, or by one that was learned from another head."""
    shapes = [shape_for(other) for other in (head, *others)]
    return any(shape is not None and shape.match(head) is not None for shape in shapes)


@settings(max_examples=1500)
@given(heads(), EDITS)
@example(request("/", "X: a\x1fb"), [])
@example(request("//[/"), [])
@example(request("/", "Content-Length: 7", method="POST"), [])
@example(request("/%zz?%"), [])
def test_what_is_taken_is_what_aiohttp_would_have_read(
    head: bytes, edits: list[tuple[float, int, bytes]]
) -> None:
    sent = edited(head, edits)
    if not taken_by_some_shape(sent, head):
        return
    shape = shape_for(sent)
    assert shape is not None
    found = shape.match(sent)
    assert found is not None
    host = normal_host(found[shape.host].strip(b" "))
    if host is None:  # the lane leaves it to the whole lane's refusal
        return
    expected = read_by_aiohttp(sent)
    given_ = read_plain(sent, host=host)

    assert given_ == expected
    assert found[1] == expected.method.encode() + b" " + expected.target


def test_the_property_sees_plain_heads() -> None:
    """Of what hypothesis makes, enough must be taken, or the property proves nothing."""
    taken = 0

    @settings(max_examples=300, database=None, derandomize=True)
    @given(heads())
    def count(head: bytes) -> None:
        nonlocal taken
        taken += is_taken(head)

    count()

    assert taken > 20


@pytest.mark.parametrize("head", TAKEN)
def test_the_table_of_taken_heads_is_what_aiohttp_reads(head: bytes) -> None:
    expected = read_by_aiohttp(head)

    assert read_plain(head, host=expected.host) == expected
