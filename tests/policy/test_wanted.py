"""URLs and fields to be warmed: the request that a client would send, or all that is wrong."""

from __future__ import annotations

import pytest

from proxy.model import Fields, Request
from proxy.policy.wanted import Wanted, parse_wanted


def wanted(url: str, target: bytes, host: bytes = b"shop", *lines: tuple[bytes, bytes]) -> Wanted:
    return Wanted(url, Request("GET", target, Fields([(b"Host", host), *lines]), host=host))


READ = [
    ({"urls": ["http://shop/a?b=c"]}, (wanted("http://shop/a?b=c", b"/a?b=c"),)),
    ({"urls": ["https://SHOP.:443/a"]}, (wanted("https://SHOP.:443/a", b"/a"),)),
    ({"urls": ["http://shop:81"]}, (wanted("http://shop:81", b"/", b"shop:81"),)),
    ({"urls": ["/a", "/a"], "headers": {"host": "Shop:80"}}, (wanted("/a", b"/a"),)),
    ({"urls": ["http://other/"], "headers": {"Host": "shop"}}, (wanted("http://other/", b"/", b"other"),)),
    (
        {"urls": ["http://shop/"], "headers": {"Accept-Language": " de ", "X": ""}},
        (wanted("http://shop/", b"/", b"shop", (b"Accept-Language", b"de"), (b"X", b"")),),
    ),
    (
        {"urls": ["http://shop/"], "headers": {"X": "\xe9"}},
        (wanted("http://shop/", b"/", b"shop", (b"X", b"\xe9")),),
    ),
]


@pytest.mark.parametrize(("body", "read"), READ)
def test_a_url_is_the_request_for_it(body: object, read: tuple[Wanted, ...]) -> None:
    assert parse_wanted(body, limit=2) == read


FAULTS = [
    ([], [""]),
    ({}, ["urls"]),
    ({"urls": []}, ["urls"]),
    ({"url": ["http://shop/"]}, ["url", "urls"]),
    ({"urls": ["http://shop/"], "tags": []}, ["tags"]),
    ({"urls": "http://shop/"}, ["urls"]),
    ({"urls": ["/a", "http://shop/", "/b"]}, [""]),
    ({"urls": ["/a", "/b"]}, ["urls[0]", "urls[1]"]),
    ({"urls": ["http://shop/#a"]}, ["urls[0]"]),
    ({"urls": ["http://shop/"], "headers": []}, ["headers"]),
    ({"urls": ["http://shop/"], "headers": {"a b": "c"}}, ["headers.a b"]),
    ({"urls": ["http://shop/"], "headers": {7: "c"}}, ["headers.7"]),
    ({"urls": ["http://shop/"], "headers": {"a": "b\r\nc: d"}}, ["headers.a"]),
    ({"urls": ["http://shop/"], "headers": {"a": "\u20ac"}}, ["headers.a"]),
    ({"urls": ["http://shop/"], "headers": {"a": 7}}, ["headers.a"]),
    ({"urls": ["http://shop/"], "headers": {"Range": "bytes=0-"}}, ["headers.Range"]),
    ({"urls": ["http://shop/"], "headers": {"if-none-match": "*"}}, ["headers.if-none-match"]),
    ({"urls": ["/"], "headers": {"Host": "a/b"}}, ["headers.Host"]),
    ({"urls": ["/"], "headers": {"Host": "a b"}}, ["headers.Host"]),
    ({"urls": ["http://shop/"], "headers": {"a": "b" * 8192}}, ["headers"]),
]


@pytest.mark.parametrize(("body", "fields"), FAULTS)
def test_all_that_is_wrong_is_named(body: object, fields: list[str]) -> None:
    faults = parse_wanted(body, limit=2)

    assert isinstance(faults, list)
    assert [field for field, _ in faults] == fields
    assert all(message for _, message in faults)


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@shop", "shop:http", "http://shop"])
def test_a_host_that_is_none_is_told_what_a_host_is(host: str) -> None:
    faults = parse_wanted({"urls": ["/"], "headers": {"Host": host}}, limit=1)

    assert faults == [("headers.Host", "expected a host, or host:port")]
