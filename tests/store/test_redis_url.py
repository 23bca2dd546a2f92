"""URLs that name several servers."""

from __future__ import annotations

import pytest

from proxy.store.redis_client import connect
from proxy.store.redis_url import place_of, server_group
from proxy.store.unavailable import StoreUnavailable


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://u:p@h", "unix:///run/redis.sock"])
def test_one_server_is_no_group(url: str) -> None:
    assert server_group(url) is None


def test_a_cluster_is_its_nodes() -> None:
    group = server_group("rediss+cluster://me:p%40ss@a:7000,[::1]:7001,b?ssl_ca_certs=/ca.pem")

    assert group is not None
    assert (group.kind, group.service) == ("cluster", "")
    assert group.places == (("a", 7000), ("::1", 7001), ("b", 6379))
    assert [group.server_url(place) for place in group.places] == [
        "rediss://me:p%40ss@a:7000?ssl_ca_certs=%2Fca.pem",
        "rediss://me:p%40ss@[::1]:7001?ssl_ca_certs=%2Fca.pem",
        "rediss://me:p%40ss@b:6379?ssl_ca_certs=%2Fca.pem",
    ]


def test_sentinels_have_users_of_their_own() -> None:
    group = server_group("redis+sentinel://me:pw@a,b:1/cache/3?sentinel_username=s&sentinel_password=p%2F")

    assert group is not None
    assert (group.kind, group.service) == ("sentinel", "cache")
    assert group.places == (("a", 26379), ("b", 1))
    assert group.server_url(("m", 6379)) == "redis://me:pw@m:6379/3"
    assert group.sentinel_url(("a", 26379)) == "redis://s:p%2F@a:26379"


def test_sentinels_need_no_user() -> None:
    group = server_group("redis+sentinel://me:pw@a/cache")

    assert group is not None
    assert group.sentinel_url(("::1", 1)) == "redis://[::1]:1"


@pytest.mark.parametrize(
    "url", ["redis+cluster://me:p%40ss@a:7000", "rediss+sentinel://me@[::1]/x/3?ssl_check_hostname=no"]
)
def test_each_server_can_be_connected_to(url: str) -> None:
    group = server_group(url)

    assert group is not None
    for place_url in (group.server_url(group.places[0]), group.sentinel_url(group.places[0])):
        assert connect(place_url, timeout=0.05).connection_pool.connection_kwargs["host"] in {"a", "::1"}


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis+cluster://a/1", "a cluster has database 0 only, found '1'"),
        ("redis+cluster://u:secret@a,", "expected host:port,host:port, found ''"),
        ("redis+cluster://a:0", "expected host:port,host:port, found 'a:0'"),
        ("redis+cluster://a:70000", "found 'a:70000'"),
        ("redis+sentinel://u:secret@a:1", "expected the service's name"),
    ],
)
def test_a_faulty_url_is_refused_without_its_secret(url: str, fault: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        server_group(url)

    assert fault in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_place_holds_no_secret() -> None:
    assert place_of("rediss://me:pw@h:1/2?x=y") == "h:1"
    assert place_of("unix:///run/redis.sock") == "/run/redis.sock"
