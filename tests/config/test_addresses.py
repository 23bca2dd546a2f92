from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.config import addresses
from proxy.config.addresses import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", Address("0.0.0.0", 8080)),
        ("[::1]:9901", Address("::1", 9901)),
        ("localhost:0", Address("localhost", 0)),
        ("h:65535", Address("h", 65535)),
    ],
)
def test_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert addresses.address(text) == address
    assert addresses.address(address) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://api.example.com", "https://api.example.com"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("unix:/run/api.sock", "unix:/run/api.sock"),
        ("unix:///run/api.sock", "unix:/run/api.sock"),
    ],
)
def test_origin_is_scheme_and_place(given: str, url: str) -> None:
    assert addresses.origin_url(given) == url


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "off",
        "redis://h:6379/1",
        "rediss://user:pw@h",
        "unix:///run/redis.sock",
        "redis+cluster://a",
        "rediss+cluster://me:pw@a:7000,[::1]:7001,b/0?ssl_ca_certs=/ca.pem",
        "redis+sentinel://a,b/x",
        "rediss+sentinel://me:pw@a:1,b:26379/x/2?sentinel_password=p",
    ],
)
def test_redis_is_a_url_or_word(url: str) -> None:
    assert addresses.redis_url(url) == url


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("API.Example.com.", "api.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
    ],
)
def test_host_is_compared_in_lower_case_without_trailing_dot(given: str, host: str) -> None:
    assert addresses.host_name(given) == host


@pytest.mark.parametrize("given", ["10.0.0.0/8", "10.1.2.3", "fd00::/8"])
def test_network_may_be_one_address(given: str) -> None:
    assert addresses.network(given) == ip_network(given)
    assert addresses.network(ip_network(given)) == ip_network(given)


NO_ADDRESS = "expected host:port such as 0.0.0.0:8080, with a port from 0 to 65535"
NO_HOST = "expected host:port such as 0.0.0.0:8080 or [::]:8080"
NO_ORIGIN = "expected http://host:port, https://host:port or unix:/path/of.sock"
NO_TARGET = "expected only scheme, host and port: the request's own target is forwarded as it is"
NO_REDIS = (
    "expected redis://host:port, rediss://host:port, redis+cluster://host:port,host:port, "
    "redis+sentinel://host:port,host:port/service, unix:///path, embedded or off"
)
REFUSED = [
    (addresses.address, "8080", NO_ADDRESS),
    (addresses.address, "h:65536", NO_ADDRESS),
    (addresses.address, "h:http", NO_ADDRESS),
    (addresses.address, 8080, NO_ADDRESS),
    (addresses.address, ":8080", NO_HOST),
    (addresses.address, "::1:8080", NO_HOST),
    (addresses.address, "[::g]:8080", NO_HOST),
    (addresses.origin_url, "127.0.0.1:8000", NO_ORIGIN),
    (addresses.origin_url, "ftp://h", NO_ORIGIN),
    (addresses.origin_url, "http://", NO_ORIGIN),
    (addresses.origin_url, "http://h:0", NO_ORIGIN),
    (addresses.origin_url, "http://h:99999", NO_ORIGIN),
    (addresses.origin_url, "http://[::1", NO_ORIGIN),
    (addresses.origin_url, None, NO_ORIGIN),
    (addresses.origin_url, "http://h/base", NO_TARGET),
    (addresses.origin_url, "http://h?x", NO_TARGET),
    (addresses.origin_url, "http://user@h", NO_TARGET),
    (
        addresses.origin_url,
        "unix:api.sock",
        "expected unix: with an absolute path, such as unix:/run/api.sock",
    ),
    (addresses.redis_url, "localhost:6379", NO_REDIS),
    (addresses.redis_url, "redis:", NO_REDIS),
    (addresses.redis_url, "memcached://h", NO_REDIS),
    (addresses.redis_url, "", NO_REDIS),
    (addresses.redis_url, "redis+cluster://", "expected redis+cluster://host:port,host:port"),
    (addresses.redis_url, "redis+cluster://a,", "expected redis+cluster://host:port,host:port"),
    (addresses.redis_url, "redis+cluster://a:1,b:x", "expected redis+cluster://host:port,host:port"),
    (addresses.redis_url, "redis+cluster://a:70000", "expected redis+cluster://host:port,host:port"),
    (
        addresses.redis_url,
        "rediss+cluster://a/1",
        "expected no database in the URL of a cluster: it has number 0 only",
    ),
    (
        addresses.redis_url,
        "redis+sentinel://a,b",
        "expected the service's name, such as redis+sentinel://host:26379/mymaster",
    ),
    (addresses.host_name, "a b", "expected a host name such as api.example.com"),
    (addresses.host_name, "h:80", "expected a host name such as api.example.com"),
    (addresses.host_name, "", "expected a host name such as api.example.com"),
    (
        addresses.network,
        "10.0.0.1/8",
        "expected a network such as 10.0.0.0/8, no bit set beyond its length",
    ),
    (addresses.network, 8, "expected a network such as 10.0.0.0/8, no bit set beyond its length"),
]


@pytest.mark.parametrize(("read", "given", "message"), REFUSED)
def test_anything_else_is_refused_with_what_was_expected(read, given: object, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(given)

    assert str(refused.value) == message
