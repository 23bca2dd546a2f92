from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.model import Request, ResponseHead
from proxy.net.refusals import Refusal
from proxy.net.request_reading import expects_continue, normal_host, read_request, refusal_of
from tests.support.canned_flow import CannedBody
from tests.support.raw_client import request


def parse(raw: bytes) -> tuple[RawRequestMessage, bool]:
    """What aiohttp's parser makes of a head, and whether it expects a body."""
    loop = asyncio.new_event_loop()
    try:
        messages, _, _ = HttpRequestParser(BaseProtocol(loop), loop, 65536).feed_data(raw)
        message, payload = messages[0]
        return message, payload is not EMPTY_PAYLOAD
    finally:
        loop.close()


def read(raw: bytes) -> Request | Refusal:
    message, has_body = parse(raw)
    return read_request(message, body=CannedBody() if has_body else None, peer="10.0.0.9")


def accepted(raw: bytes) -> Request:
    given = read(raw)
    assert isinstance(given, Request)
    return given


def test_a_request_is_what_came() -> None:
    given = accepted(request("/a%2Fb/../c?x=%20&&y=+", "X-A: 1", "x-a: 2", "Cookie: a", "COOKIE: b"))

    assert given.method == "GET"
    assert given.target == b"/a%2Fb/../c?x=%20&&y=+"
    assert given.fields.lines == (
        (b"Host", b"shop"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Cookie", b"a"),
        (b"COOKIE", b"b"),
    )
    assert (given.scheme, given.host, given.version, given.peer) == (b"http", b"shop", (1, 1), "10.0.0.9")
    assert given.body is None
    assert not given.upgrade


@pytest.mark.parametrize("value", ["caf\xe9", "\xff\xfe", "\xc3\xa9", "a\tb", "\x80"])
def test_value_bytes_are_kept(value: str) -> None:
    assert accepted(request("/", f"X: {value}")).fields.first(b"x") == value.encode("latin-1")


@pytest.mark.parametrize(
    "target",
    ["/", "//evil/x", "/?", "/x/?", "/a?b=http://c", '/<>"{}|\\^`[]', "/a;b,c:d@e!$&'()*+=", "/%", "/a%00"],
)
def test_targets_are_kept_byte_for_byte(target: str) -> None:
    assert accepted(request(target)).target == target.encode()


TARGETS = ["/a#b", "http://evil/p", "https://evil/p", "http://user@evil:81/", "/#", "#"]


@pytest.mark.parametrize("target", TARGETS)
def test_other_targets_are_refused(target: str) -> None:
    try:
        given = read(request(target))
    except HttpProcessingError as error:
        given = refusal_of(error)

    assert given in (Refusal.TARGET, Refusal.MALFORMED)


def test_asterisk_is_for_options_only() -> None:
    assert accepted(request("*", method="OPTIONS")).target == b"*"
    with pytest.raises(HttpProcessingError):
        read(request("*"))


HOSTS = [
    (b"shop", b"shop"),
    (b"SHOP.Example.COM", b"shop.example.com"),
    (b"shop:80", b"shop"),
    (b"shop:", b"shop"),
    (b"shop:8080", b"shop:8080"),
    (b"shop:443", b"shop:443"),
    (b"shop.", b"shop"),
    (b"shop.:80", b"shop"),
    (b"shop.:81", b"shop:81"),
    (b"127.0.0.1:8080", b"127.0.0.1:8080"),
    (b"[::1]", b"[::1]"),
    (b"[FE80::A]:80", b"[fe80::a]"),
    (b"[::1]:81", b"[::1]:81"),
    (b"a_b-c~d", b"a_b-c~d"),
    (b"%41b", b"%41b"),
    (b"shop:65535", b"shop:65535"),
    (b"shop:65536", None),
    (b"shop:123456", None),
    (b"", None),
    (b".", None),
    (b":80", None),
    (b"a b", None),
    (b"a/c", None),
    (b"a@b", None),
    (b"a?b", None),
    (b"a#b", None),
    (b"a,b", b"a,b"),
    (b"a\\b", None),
    (b"a\xe9", None),
    (b"a:b", None),
    (b"a:1:2", None),
    (b"a:+1", None),
    (b"%4", None),
    (b"%zz", None),
    (b"[::1", None),
    (b"::1", None),
    (b"[::1]x", None),
    (b"[g::1]", None),
    (b"a\tb", None),
]


@pytest.mark.parametrize(("value", "expected"), HOSTS)
def test_host_is_normalised_or_refused(value: bytes, expected: bytes | None) -> None:
    assert normal_host(value) == expected


def test_default_port_is_the_schemes() -> None:
    assert normal_host(b"shop:443", scheme=b"https") == b"shop"
    assert normal_host(b"shop:80", scheme=b"https") == b"shop:80"


@pytest.mark.parametrize("value", ["", "a/b", "a b/c@d"])
def test_a_request_with_a_faulty_host_is_refused(value: str) -> None:
    assert read(request("/", host=value)) is Refusal.HOST


@pytest.mark.parametrize(
    "raw", [request("/", host=None), request("/", "Host: other"), request("/", "host: shop")]
)
def test_missing_and_repeated_hosts_are_told_as_such(raw: bytes) -> None:
    with pytest.raises(HttpProcessingError) as caught:
        read(raw)

    assert refusal_of(caught.value) is Refusal.HOST


def test_http_10_needs_no_host() -> None:
    assert accepted(request("/", host=None, version="HTTP/1.0")).host == b""
    assert read(request("/", host="a/b", version="HTTP/1.0")) is Refusal.HOST


def test_an_unknown_method_is_not_implemented() -> None:
    with pytest.raises(HttpProcessingError) as caught:
        read(request("/", method="BAN"))

    assert refusal_of(caught.value) is Refusal.METHOD


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PURGE", "QUERY", "REPORT"]
)
def test_known_methods_are_just_methods(method: str) -> None:
    assert accepted(request("/", method=method)).method == method


CODINGS = [
    (("Transfer-Encoding: chunked",), "HTTP/1.1", None),
    (("Transfer-Encoding: CHUNKED",), "HTTP/1.1", None),
    (("transfer-encoding: chunked",), "HTTP/1.1", None),
    (("Transfer-Encoding: gzip, chunked",), "HTTP/1.1", Refusal.TRANSFER_CODING),
    (("Transfer-Encoding: chunked",), "HTTP/1.0", Refusal.FRAMING),
]


@pytest.mark.parametrize(("fields", "version", "expected"), CODINGS)
def test_transfer_codings(fields: tuple[str, ...], version: str, expected: Refusal | None) -> None:
    given = read(request("/", *fields, method="POST", version=version))

    assert given is expected if expected else isinstance(given, Request)


EXPECTATIONS = [
    ("100-continue", "HTTP/1.1", True),
    ("100-Continue", "HTTP/1.1", True),
    ("200-ok", "HTTP/1.1", False),
    ("100-continue, foo", "HTTP/1.1", False),
    ("", "HTTP/1.1", False),
    ("anything", "HTTP/1.0", True),
]


@pytest.mark.parametrize(("value", "version", "is_met"), EXPECTATIONS)
def test_expectations(value: str, version: str, is_met: bool) -> None:
    given = read(request("/", f"Expect: {value}", "Content-Length: 1", method="POST", version=version))

    assert isinstance(given, Request) if is_met else given is Refusal.EXPECTATION


@pytest.mark.parametrize(
    ("fields", "version", "expected"),
    [
        (("Expect: 100-continue",), "HTTP/1.1", True),
        (("Expect: 100-continue",), "HTTP/1.0", False),
        ((), "HTTP/1.1", False),
    ],
)
def test_only_http_11_clients_wait_for_100(fields: tuple[str, ...], version: str, expected: bool) -> None:
    message, _ = parse(request("/", *fields, method="POST", version=version))

    assert expects_continue(message) is expected


WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket")
UPGRADES = [
    (WEBSOCKET, "HTTP/1.1", True),
    (("Connection: keep-alive, upgrade", "Upgrade: WebSocket"), "HTTP/1.1", True),
    (("Connection: upgrade", "Upgrade: foo/2"), "HTTP/1.1", True),
    (("Connection: upgrade", "Upgrade: h2c"), "HTTP/1.1", False),
    (("Connection: upgrade", "Upgrade: HTTP/2.0"), "HTTP/1.1", False),
    (("Connection: upgrade", "Upgrade: TLS/1.0"), "HTTP/1.1", False),
    (("Connection: upgrade", "Upgrade: websocket, h2c"), "HTTP/1.1", False),
    (("Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c"), "HTTP/1.1", False),
    (("Connection: upgrade", "Upgrade: "), "HTTP/1.1", False),
    (("Connection: upgrade",), "HTTP/1.1", False),
    (("Upgrade: websocket",), "HTTP/1.1", False),
    (WEBSOCKET, "HTTP/1.0", False),
]


@pytest.mark.parametrize(("fields", "version", "expected"), UPGRADES)
def test_upgrades(fields: tuple[str, ...], version: str, expected: bool) -> None:
    assert accepted(request("/", *fields, version=version)).upgrade is expected


@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_an_upgrade_with_a_body_is_refused(framing: str) -> None:
    assert read(request("/", *WEBSOCKET, framing, method="POST")) is Refusal.UPGRADE_WITH_BODY


def test_an_ignored_upgrade_may_have_a_body() -> None:
    given = accepted(request("/", "Connection: upgrade", "Upgrade: h2c", "Content-Length: 3", method="POST"))

    assert given.body is not None


@pytest.mark.parametrize(("version", "is_told"), [("HTTP/1.1", True), ("HTTP/1.0", False)])
def test_interim_responses_are_for_http_11(version: str, is_told: bool) -> None:
    async def on_interim(_head: ResponseHead) -> None:
        return

    message, _ = parse(request("/", version=version))
    given = read_request(message, body=None, peer="", on_interim=on_interim)

    assert isinstance(given, Request)
    assert (given.on_interim is on_interim) is is_told


def test_reading_survives_any_printable_head() -> None:
    dice = random.Random(7)
    for _ in range(300):
        value = "".join(chr(dice.randrange(0x20, 0x7F)) for _ in range(dice.randrange(40)))
        given = read(request("/", f"X: {value}", f"Upgrade: {value}", "Connection: upgrade"))
        assert isinstance(given, Request | Refusal)
