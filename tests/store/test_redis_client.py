"""From a URL to a client: what is understood, what is refused, which defaults are ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis._parsers import Encoder
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError

from proxy.fleet import leases
from proxy.store import hot_lists, redis, redis_shard
from proxy.store.redis_client import GET_ALL, StoreUnavailable, connect, encoded, exchange, get_all
from tests.support.valkey import Valkey, running_valkey


def options_of(url: str) -> dict[str, Any]:
    """What each connection of the client is made with."""
    pool = connect(url, timeout=0.05).connection_pool
    return {**pool.connection_kwargs, "connection_class": pool.connection_class}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache:6380/3", {"connection_class": Connection, "host": "cache", "port": 6380, "db": 3}),
        ("redis://cache", {"connection_class": Connection, "host": "cache"}),
        ("redis://cache/?db=3", {"host": "cache", "db": 3}),
        ("redis://me:s%40crt@cache", {"username": "me", "password": "s@crt", "host": "cache"}),
        ("rediss://cache", {"connection_class": SSLConnection, "host": "cache"}),
        ("rediss://cache?ssl_ca_certs=/ca.pem", {"ssl_ca_certs": "/ca.pem"}),
        ("rediss://cache?ssl_check_hostname=no", {"ssl_check_hostname": False}),
        (
            "unix:///run/redis.sock",
            {"connection_class": UnixDomainSocketConnection, "path": "/run/redis.sock"},
        ),
        ("unix:///with%20space?db=2", {"path": "/with space", "db": 2}),
    ],
)
def test_a_url_says_where_the_server_is(url: str, expected: dict[str, Any]) -> None:
    assert options_of(url).items() >= expected.items()


def test_connecting_is_short_and_nothing_is_tried_again() -> None:
    options = options_of("redis://cache")

    assert options["socket_connect_timeout"] == 0.05
    assert options["retry"].get_retries() == 0
    assert (options["protocol"], options["decode_responses"]) == (2, False)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://cache", "http:// is not supported; expected redis://, rediss://, unix://"),
        ("redis+cluster://cache", "redis\\+cluster:// is not supported"),
        ("redis://cache?socket_timeout=5", "unknown option socket_timeout; expected db, password, username"),
        ("redis://cache?ssl_ca_certs=/ca.pem", "unknown option ssl_ca_certs"),
        (
            "rediss://cache?ssl_ca_cert=/ca.pem",
            "unknown option ssl_ca_cert; expected db, password, ssl_ca_certs",
        ),
        ("redis://cache/sessions", "expected a database number, found 'sessions'"),
        ("redis://cache?db=x", "Invalid value for 'db'"),
        ("redis://cache:port", "Port could not be cast"),
        ("unix://", "expected a path, such as unix:///run/redis.sock"),
    ],
)
def test_a_faulty_url_is_refused_by_name(url: str, fault: str) -> None:
    with pytest.raises(StoreUnavailable, match=fault):
        connect(url, timeout=0.05)


def test_no_secret_is_said() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        connect("redis://me:hunter2@cache?password=hunter3&retries=5", timeout=0.05)

    assert "hunter" not in str(caught.value)


async def test_a_new_connection_needs_no_handshake(server: Valkey) -> None:
    client = connect(server.url, timeout=1.0)
    await client.execute_command("PING")
    await client.aclose()

    assert [server.calls(command) for command in ("hello", "client|setinfo", "ping")] == [0, 0, 1]


async def test_a_unix_socket_is_reached() -> None:
    with running_valkey(unix=True) as server:
        client = connect(server.url, timeout=1.0)

        assert await client.mget(["a"]) == [None]
        await client.aclose()


WORDS = st.none() | st.just(...) | st.text(max_size=9) | st.integers()


def packed(*words: bytes | str | int) -> bytes:
    """What redis-py would send."""
    connection = Connection(encoder_class=Encoder)
    return b"".join(connection.pack_command(b"X", *words))  # type: ignore[no-untyped-call]


@given(
    st.lists(WORDS, max_size=6).filter(lambda form: form.count(...) < 2),
    st.lists(st.binary(max_size=9), min_size=9, max_size=9),
    st.integers(0, 3),
)
def test_a_command_is_what_redis_py_would_send(form: Any, given_words: list[bytes], more: int) -> None:
    places = form.count(None) + (more if ... in form else 0)
    words = iter(given_words[:places])
    filled: list[Any] = []
    for word in form:
        filled += (
            [next(words) for _ in range(more)] if word is ... else [next(words) if word is None else word]
        )

    assert encoded((("X", *form), tuple(given_words[:places]))) == packed(*filled)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ((GET_ALL, (b"a", b"bc")), ("MGET", b"a", b"bc")),
        ((GET_ALL, ()), ("MGET",)),
        ((("X", None, ..., "100%d", 7), (b"a", b"%b", b"c")), ("X", b"a", b"%b", b"c", "100%d", 7)),
        ((redis._GET_ONE, (b"a",)), ("MGET", b"a")),
        ((redis_shard._SET, (b"a", b"%d\r\n\0", b"60")), ("SET", b"a", b"%d\r\n\0", "PX", 60)),
        ((hot_lists._SET, (b"a", b"")), ("SET", b"a", b"", "PX", 3_600_000)),
        ((leases._CLAIM, (b"a", b"t")), ("SET", b"a", b"t", "NX", "GET", "PX", 1000)),
        ((leases._RENEW_IT, (b"a", b"t")), ("EVAL", leases._RENEW, 1, b"a", b"t", 1000)),
        (
            (leases._RELEASE_IT, (b"a", b"t", b"0")),
            ("EVAL", leases._RELEASE, 1, b"a", b"t", 0, "lone"),
        ),
    ],
)
def test_the_commands_that_are_sent_are_what_redis_py_would_send(command: Any, expected: Any) -> None:
    connection = Connection(encoder_class=Encoder)

    assert encoded(command) == b"".join(connection.pack_command(*expected))  # type: ignore[no-untyped-call]


def test_a_command_with_too_few_words_is_not_sent() -> None:
    with pytest.raises(TypeError):
        encoded((("SET", None, None), (b"a",)))


async def test_each_command_has_its_reply(server: Valkey) -> None:
    client = connect(server.url, timeout=1.0)
    refused, *replies = await exchange(
        client,
        [
            (("NO-SUCH", "a"), ()),
            (("SET", "a", None, "PX", 60_000), (b"\0\r\n",)),
            (("SET", None, "2", "GET"), (b"a",)),
            (("GET", None), (b"a",)),
        ],
    )
    assert isinstance(refused, ResponseError)
    assert replies == [b"OK", b"\0\r\n", b"2"]
    with pytest.raises(ResponseError):
        await get_all(client, [])
    assert await get_all(client, [b"a", b"b"]) == [b"2", None]
    await client.aclose()


async def test_connections_are_bounded_and_waited_for(server: Valkey) -> None:
    client = connect(server.url, timeout=1.0, max_connections=2)
    ids = await asyncio.gather(*(client.execute_command("CLIENT", "ID") for _ in range(50)))
    await client.aclose()

    assert len(set(ids)) == 2


async def test_a_name_is_resolved_again_for_every_connection(
    server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    asked: list[str] = []
    resolve = loop.getaddrinfo

    async def noting(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return await resolve(host, *args, **kwargs)

    monkeypatch.setattr(loop, "getaddrinfo", noting)
    client = connect(f"redis://localhost:{server.port}", timeout=5.0)
    for _ in range(3):
        await client.mget(["a"])
        await client.connection_pool.disconnect()
    await client.aclose()

    assert asked == ["localhost"] * 3


class TestResting:
    """Connections that rest in our own pool are those that redis-py would give again, and end with it."""

    async def test_one_connection_serves_all_who_ask_in_turn(self, server: Valkey) -> None:
        client = connect(server.url, timeout=1.0)
        ids = {await client.execute_command("CLIENT", "ID") for _ in range(3)}
        await client.aclose()

        assert len(ids) == 1

    @pytest.mark.parametrize("in_use_too", [False, True])
    async def test_what_rests_is_closed_and_opened_anew(self, server: Valkey, in_use_too: bool) -> None:
        client = connect(server.url, timeout=1.0)
        pool = client.connection_pool
        first = await client.execute_command("CLIENT", "ID")
        await pool.disconnect(inuse_connections=in_use_too)

        await gone(server, {b"%d" % first})
        assert await client.execute_command("CLIENT", "ID") != first
        await client.aclose()

    async def test_what_is_in_use_is_closed_only_if_that_is_said(self, server: Valkey) -> None:
        client = connect(server.url, timeout=1.0)
        pool = client.connection_pool
        used = await pool.get_connection()  # type: ignore[no-untyped-call]
        await pool.disconnect(inuse_connections=False)
        assert used.is_connected
        await pool.disconnect()
        assert not used.is_connected
        await pool.release(used)
        await client.aclose()

    async def test_none_is_left_at_the_end(self, server: Valkey) -> None:
        client = connect(server.url, timeout=1.0)
        ids = await asyncio.gather(*(client.execute_command("CLIENT", "ID") for _ in range(20)))
        assert len(set(ids)) > 1
        await client.aclose()

        await gone(server, {b"%d" % number for number in ids})

    async def test_one_that_has_unread_bytes_is_not_used_again(self, server: Valkey) -> None:
        client = connect(server.url, timeout=1.0)
        pool = client.connection_pool
        dirty = await pool.get_connection()  # type: ignore[no-untyped-call]
        await dirty.send_command("ECHO", "another's")
        while not await dirty.can_read():  # noqa: ASYNC110 - a state, not an event
            await asyncio.sleep(0.001)
        await pool.release(dirty)

        assert await exchange(client, [(("ECHO", None), (b"ours",))]) == [b"ours"]
        await client.aclose()

    async def test_one_whose_asker_was_cancelled_is_not_used_again(self, server: Valkey) -> None:
        client = connect(server.url, timeout=1.0, max_connections=1)
        await client.execute_command("PING")
        async with asyncio.TaskGroup() as group:
            asker = group.create_task(exchange(client, [(("BLPOP", None, 5), (b"nothing",))]))
            await asyncio.sleep(0.01)
            asker.cancel()

        assert await exchange(client, [(("ECHO", None), (b"ours",))]) == [b"ours"]
        await client.aclose()

    async def test_one_that_is_to_reconnect_is_closed_when_it_comes_back(self, server: Valkey) -> None:
        client = connect(server.url, timeout=1.0)
        pool = client.connection_pool
        used = await pool.get_connection()  # type: ignore[no-untyped-call]
        await pool.update_active_connections_for_reconnect()
        await pool.release(used)

        assert not used.is_connected
        await client.aclose()


def connected(server: Valkey) -> set[bytes]:
    """The ids of the clients that the server has."""
    return {word[3:] for word in server.ask("CLIENT", "LIST").split() if word.startswith(b"id=")}


async def gone(server: Valkey, ids: set[bytes]) -> None:
    """Wait until the server has noticed that these have left."""
    async with asyncio.timeout(5):
        while connected(server) & ids:  # noqa: ASYNC110 - a state, not an event
            await asyncio.sleep(0.001)
