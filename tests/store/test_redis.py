"""L2 on real servers: what is stored, and that no fault of the server is anybody's error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest
from structlog.testing import capture_logs

from proxy.observe.tasks import running, spawn
from proxy.store.codec import encode
from proxy.store.redis import LONGEST_TTL_SECONDS
from proxy.store.redis_link import Failure, Fault
from proxy.store.sizes import entry_bytes
from proxy.store.write_behind import FLUSH_SECONDS
from tests.support.certificates import make_authority
from tests.support.cut_link import CutLink
from tests.support.entries import NOW, key_of, response, vary_record
from tests.support.l2 import L2, opened
from tests.support.telling import told
from tests.support.valkey import Valkey, free_port, running_valkey

ON_BOTH_LOOPS = True

KEY = key_of("a")
MIB = 1024 * 1024


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    """Something that is no Redis: the same bytes to whatever is said."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.read(65536):
                writer.write(reply)
        writer.transport.abort()

    foreign = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{foreign.sockets[0].getsockname()[1]}"
    finally:
        foreign.close()


class TestReading:
    async def test_a_thousand_look_ups_of_one_tick_are_one_command(self, server: Valkey) -> None:
        async with opened(server.url, timeout=5.0) as l2:
            for number in range(0, 1000, 2):
                l2.store.put(key_of(str(number)), response(b"%d" % number))
            await l2.written()

            found = await asyncio.gather(*(l2.store.look_up(key_of(str(n))) for n in range(1000)))

            assert found == [None if n % 2 else response(b"%d" % n) for n in range(1000)]
            assert server.calls("mget") == 1
            assert l2.operations("get") == {"hit": 500, "miss": 500}

    async def test_who_asks_something_else_may_read_along(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response(b"body"))
            assert l2.store.reading(KEY, together=1) is None  # it is known already
            await l2.written()
            reading = l2.store.reading(KEY, together=1)

            assert reading is not None
            link, command, read = reading
            assert link is l2.store.link_of(b"")
            replies = await link.ask_all("test", [command])
            assert isinstance(replies, list)
            assert read(replies[0]) == response(b"body")
            assert read(Failure(Fault.REFUSED, "no")) is None
            assert l2.operations("get") == {"hit": 1, "refused": 1}

    async def test_large_values_are_not_read_along_by_many(self, server: Valkey) -> None:
        async with opened(server.url, timeout=5.0) as l2:
            l2.store.put(KEY, response(b"x" * MIB))
            await l2.written()
            await l2.store.look_up(KEY)

            assert l2.store.reading(KEY, together=2) is None
            assert l2.store.reading(KEY, together=1) is not None

    async def test_look_ups_of_two_ticks_are_two_commands(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            await l2.store.look_up(KEY)
            await l2.store.look_up(KEY)

            assert server.calls("mget") == 2

    async def test_who_asks_without_a_wait_is_told(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response())
            assert not l2.store.ask(KEY, lambda _found: None)  # still queued: `look_up` has it
            await l2.written()
            told: asyncio.Future[object] = asyncio.get_running_loop().create_future()

            assert l2.store.ask(KEY, told.set_result)
            assert await asyncio.wait_for(told, 5) == response()

    async def test_what_l1_holds_already_is_what_is_found(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            for name in ("same", "other", "absent"):
                l2.known[key_of(name)] = response(name.encode())
            l2.store.put(key_of("same"), response(b"same"))
            l2.store.put(key_of("other"), response(b"newer"))
            await l2.written()

            same, other, absent = [await l2.store.look_up(key_of(n)) for n in ("same", "other", "absent")]

            assert same is l2.known[key_of("same")]
            assert (other, absent) == (response(b"newer"), None)
            assert l2.operations("get") == {"hit": 2, "miss": 1}

    async def test_nobody_is_asked_while_the_breaker_is_open(self) -> None:
        async with opened(f"redis://127.0.0.1:{free_port()}") as l2:
            await l2.store.look_up(KEY)

            assert not l2.store.ask(KEY, lambda _found: None)

    async def test_namespaces_do_not_see_each_other(self, server: Valkey) -> None:
        async with opened(server.url) as l2, opened(server.url, namespace="other") as other:
            l2.store.put(KEY, response())
            await l2.written()

            assert await other.store.look_up(KEY) is None

    async def test_large_bodies_come_back(self, server: Valkey) -> None:
        async with opened(server.url, timeout=5.0) as l2:
            entry = response(b"x" * 3 * MIB)
            l2.store.put(KEY, entry)
            await l2.written()

            assert await l2.store.look_up(KEY) == entry

    async def test_what_is_on_its_way_is_found_without_asking(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response())

            assert await l2.store.look_up(KEY) == response()
            assert (server.calls("mget"), l2.operations("get")) == (0, {"queued": 1})


class TestWriting:
    async def test_the_server_forgets_an_entry_when_it_expires(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response(ttl=60.0))
            await l2.written()

            assert server.ask("KEYS", "*") == [l2.name(KEY).encode()]
            assert 59_000 < server.ask("PTTL", l2.name(KEY)) <= 60_000
            assert l2.operations("set") == {"stored": 1}

    @pytest.mark.parametrize(
        ("seconds_left", "drops"), [(0.0, {"expired": 1}), (-1.0, {"expired": 1}), (0.5, {})]
    )
    async def test_what_expired_in_the_queue_is_not_written(
        self, server: Valkey, seconds_left: float, drops: dict[str, int]
    ) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response(ttl=60.0))
            l2.now.step(60.0 - seconds_left)
            await l2.written()

            assert l2.drops() == drops
            assert server.calls("set") == (0 if drops else 1)

    async def test_a_lifetime_without_end_is_bounded(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response(expires_at=float("inf")))
            await l2.written()

            assert 0 < server.ask("PTTL", l2.name(KEY)) <= LONGEST_TTL_SECONDS * 1000

    async def test_writes_of_one_tick_are_one_round_trip(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            for number in range(100):
                l2.store.put(key_of(str(number)), response())
            await l2.written()

            assert server.calls("set") == 100
            assert l2.metrics.l2_seconds.cells.keys() == {("set",)}
            assert l2.metrics.l2_seconds.get("set") == 1

    async def test_closing_writes_what_is_queued(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            for number in range(300):
                l2.store.put(key_of(str(number)), response())

        assert server.ask("DBSIZE") == 300

    async def test_closing_does_not_wait_for_a_server_that_is_silent(self, own_server: Valkey) -> None:
        async with opened(own_server.url, timeout=30.0) as l2:
            for number in range(300):
                l2.store.put(key_of(str(number)), response())
            own_server.pause()
            began_at = monotonic()
            await l2.store.aclose()

            assert monotonic() - began_at < 2 * FLUSH_SECONDS
            assert l2.drops() == {"closing": 300 - 128}
            assert not [task for task in running() if task.get_name().startswith("l2")]


class TestGarbage:
    @pytest.mark.parametrize(
        ("value", "cause"),
        [
            (b"", "magic"),
            (b"\x80\x04\x95pickle", "magic"),
            (encode(KEY, response())[:40], "truncated"),
            (encode(KEY, response())[:-1] + b"?", "checksum"),
            (encode(key_of("b"), response()), "key"),
            (encode(KEY, response()).replace(b"SdcE\x03", b"SdcE\x02"), "version"),
        ],
    )
    async def test_garbage_is_a_miss_and_overwritten(self, server: Valkey, value: bytes, cause: str) -> None:
        async with opened(server.url) as l2:
            server.ask("SET", l2.name(KEY), value)

            assert await l2.store.look_up(KEY) is None
            assert (l2.garbage(), l2.operations("get")) == ({cause: 1}, {"garbage": 1})
            assert not l2.store.is_open

            l2.store.put(KEY, response())
            await l2.written()
            assert await l2.store.look_up(KEY) == response()

    async def test_garbage_spoils_no_neighbour(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(key_of("b"), response())
            await l2.written()
            server.ask("SET", l2.name(KEY), b"junk")

            found = await asyncio.gather(l2.store.look_up(KEY), l2.store.look_up(key_of("b")))

            assert found == [None, response()]

    async def test_another_type_at_our_key_is_a_miss_and_overwritten(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            server.ask("LPUSH", l2.name(KEY), "x")

            assert await l2.store.look_up(KEY) is None
            assert (l2.operations("get"), l2.store.is_open) == ({"miss": 1}, False)

            l2.store.put(KEY, vary_record())
            await l2.written()
            assert await l2.store.look_up(KEY) == vary_record()


class TestAdversity:
    async def test_a_refused_connection_is_a_miss(self) -> None:
        async with opened(f"redis://127.0.0.1:{free_port()}") as l2:
            found = await asyncio.gather(*(l2.store.look_up(key_of(str(n))) for n in range(3)))

            assert found == [None, None, None]
            assert l2.operations("get") == {"unreachable": 3}
            assert await l2.store.look_up(KEY) is None
            assert l2.operations("get") == {"unreachable": 3, "breaker": 1}

    async def test_a_black_hole_is_a_miss_within_the_deadline(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, opened(cut.url) as l2:
            await l2.store.look_up(KEY)
            cut.stall()
            began_at = monotonic()

            found = await asyncio.gather(*(l2.store.look_up(key_of(str(n))) for n in range(500)))

            assert monotonic() - began_at < 0.5
            assert found == [None] * 500
            assert l2.operations("get") == {"miss": 1, "timeout": 500}
            assert l2.store.is_open

    @pytest.mark.parametrize(
        "reply",
        [b":1\r\n", b"+OK\r\n", b"$-1\r\n", b"*0\r\n", b"*2\r\n$-1\r\n$-1\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"],
    )
    async def test_something_else_at_the_address_is_a_miss(self, reply: bytes) -> None:
        async with answering(reply) as url, opened(url) as l2:
            with capture_logs() as lines:
                found = await asyncio.gather(l2.store.look_up(KEY), l2.store.look_up(KEY))

            assert found == [None, None]
            assert l2.operations("get") == {"unreachable": 1}
            assert [line["event"] for line in lines] == ["L2 failed, going on without it"]

    async def test_it_recovers_by_itself(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, opened(cut.url) as l2:
            l2.store.put(KEY, response())
            await l2.written()
            cut.cut()
            assert await l2.store.look_up(KEY) is None
            cut.restore()

            await l2.pause.end_next()
            await l2.until_closed()

            assert await l2.store.look_up(KEY) == response()

    async def test_a_server_that_is_down_at_the_start_may_come_later(self, own_server: Valkey) -> None:
        own_server.kill()
        async with opened(own_server.url) as l2:
            await l2.store.start()
            assert await l2.store.look_up(KEY) is None

            own_server.start()
            await l2.pause.end_next()
            await l2.until_closed()
            l2.store.put(KEY, response())
            await l2.written()

            assert await l2.store.look_up(KEY) == response()

    async def test_a_server_killed_in_mid_answer_is_a_miss(self, own_server: Valkey) -> None:
        async with opened(own_server.url, timeout=10.0) as l2:
            await l2.store.look_up(KEY)
            own_server.pause()
            waiting = [spawn("look-up", l2.store.look_up(key_of(str(n)))) for n in range(10)]
            await asyncio.sleep(0.05)

            own_server.kill()

            assert await asyncio.gather(*waiting) == [None] * 10
            assert l2.operations("get") == {"miss": 1, "unreachable": 10}

    async def test_writes_are_dropped_while_the_breaker_is_open(self, own_server: Valkey) -> None:
        async with opened(own_server.url) as l2:
            l2.store.put(key_of("queued"), response())
            own_server.kill()
            await l2.written()
            l2.store.put(KEY, response())

            assert l2.drops() == {"unreachable": 1, "breaker": 1}
            assert l2.store.gauges()["l2_queue_entries"]() == {(): 0}

    async def test_what_is_queued_when_the_breaker_opens_is_dropped(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, opened(cut.url) as l2:
            for number in range(300):
                l2.store.put(key_of(str(number)), response())
            cut.cut()
            await l2.written()

            assert l2.drops() == {"unreachable": 128, "breaker": 172}

    async def test_a_caller_that_goes_harms_nobody(self, server: Valkey) -> None:
        async with CutLink(server.port) as cut, opened(cut.url, timeout=5.0) as l2:
            l2.store.put(KEY, response())
            await l2.written()
            for _ in range(20):
                going, staying = (spawn("look-up", l2.store.look_up(KEY)) for _ in range(2))
                await asyncio.sleep(0)
                going.cancel()

                assert await staying == response()


class TestRefusedWrites:
    async def test_a_full_server_refuses_writes_and_answers_look_ups(self) -> None:
        with running_valkey(maxmemory="3mb", maxmemory_policy="noeviction") as server:
            async with opened(server.url, timeout=5.0) as l2:
                l2.store.put(KEY, response())
                await l2.written()
                server.ask("CONFIG", "SET", "maxmemory", "1mb")
                with capture_logs() as lines:
                    l2.store.put(key_of("b"), response())
                    await l2.written()
                    l2.store.put(key_of("c"), response())

                assert await l2.store.look_up(KEY) == response()
                assert l2.drops() == {"oom": 2}
                assert not l2.store.is_open
                assert l2.metrics.l2_seconds.get("set") == 2
                assert [(line["event"], line["fault"]) for line in lines] == [("L2 refuses writes", "oom")]

                server.ask("CONFIG", "SET", "maxmemory", "0")
                l2.clock.step(1.0)
                l2.store.put(key_of("d"), response())
                await l2.written()
                assert l2.operations("set") == {"stored": 2, "oom": 2}

    async def test_a_replica_makes_us_ask_for_the_master_again(self, own_server: Valkey) -> None:
        async with opened(own_server.url) as l2:
            own_server.ask("REPLICAOF", "127.0.0.1", free_port())
            l2.store.put(KEY, response())
            await l2.written()
            assert (l2.drops(), l2.store.is_open) == ({"read-only": 1}, True)
            own_server.ask("CONFIG", "RESETSTAT")

            await l2.pause.end_next()
            await l2.until_closed()
            l2.store.put(KEY, response())
            assert l2.drops() == {"read-only": 2}

            own_server.ask("REPLICAOF", "NO", "ONE")
            l2.clock.step(15.0)
            l2.store.put(KEY, response())
            await l2.written()
            assert await l2.store.look_up(KEY) == response()

    async def test_the_documented_permissions_suffice(self, own_server: Valkey) -> None:
        own_server.ask(
            "ACL", "SETUSER", "me", "on", ">pw", "resetkeys", "~shop:e3:*", "-@all", "+mget", "+set"
        )
        async with opened(own_server.url.replace("://", "://me:pw@")) as l2:
            await l2.store.start()
            l2.store.put(KEY, response())
            await l2.written()

            assert await l2.store.look_up(KEY) == response()
            assert (l2.operations("probe"), l2.drops()) == ({"ok": 1}, {})

    async def test_a_missing_permission_to_write_leaves_look_ups_alone(self, own_server: Valkey) -> None:
        own_server.ask("ACL", "SETUSER", "me", "on", ">pw", "~*", "-@all", "+mget")
        async with opened(own_server.url.replace("://", "://me:pw@")) as l2:
            l2.store.put(KEY, response())
            await l2.written()
            l2.store.put(KEY, response())

            assert (l2.drops(), l2.store.is_open) == ({"refused": 2}, False)
            assert await l2.store.look_up(KEY) is None
            assert l2.operations("get") == {"miss": 1}


class TestTransports:
    async def test_tls_with_our_own_authority(self, server: Valkey, tmp_path: Path) -> None:
        authority = make_authority(tmp_path / "ours")
        context = authority.server_context(alternative="IP:127.0.0.1")
        async with CutLink(server.port, tls=context) as cut:
            url = f"{cut.url}?ssl_ca_certs={authority.ca_file}"
            async with opened(url, timeout=5.0) as l2:
                l2.store.put(KEY, response())
                await l2.written()

                assert await l2.store.look_up(KEY) == response()

    async def test_tls_to_a_stranger_is_a_miss(self, server: Valkey, tmp_path: Path) -> None:
        theirs = make_authority(tmp_path / "theirs").server_context(alternative="IP:127.0.0.1")
        ours = make_authority(tmp_path / "ours")
        trusted = f"ssl_ca_certs={ours.ca_file}"
        async with CutLink(server.port, tls=theirs) as cut, opened(f"{cut.url}?{trusted}", timeout=5.0) as l2:
            assert await l2.store.look_up(KEY) is None
            assert l2.operations("get") == {"unreachable": 1}

    async def test_tls_to_another_name_is_a_miss(self, server: Valkey, tmp_path: Path) -> None:
        authority = make_authority(tmp_path / "ours")
        context = authority.server_context(alternative="DNS:elsewhere.test")
        trusted = f"ssl_ca_certs={authority.ca_file}"
        async with (
            CutLink(server.port, tls=context) as cut,
            opened(f"{cut.url}?{trusted}", timeout=5.0) as l2,
        ):
            assert await l2.store.look_up(KEY) is None

    async def test_a_unix_socket(self) -> None:
        with running_valkey(unix=True) as server:
            async with opened(server.url) as l2:
                l2.store.put(KEY, response())
                await l2.written()

                assert await l2.store.look_up(KEY) == response()


async def test_the_gauges_and_the_state_can_be_read(server: Valkey) -> None:
    async with opened(server.url) as l2:
        await l2.store.start()
        shard = "<RedisShard <RedisLink <Breaker closed>> <WritePause none>>"
        assert repr(l2.store).startswith(f"<RedisStore <PerServer [{shard}]> <WriteBehind 0/10000 writes")

        l2.store.put(KEY, response(now=NOW))
        gauges = {name: read()[()] for name, read in l2.store.gauges().items()}

        assert gauges == {
            "l2_breaker_open": 0,
            "l2_queue_entries": 1,
            "l2_queue_bytes": gauges["l2_queue_bytes"],
        }
        assert gauges["l2_queue_bytes"] >= entry_bytes(KEY, response(now=NOW))


async def test_an_open_store_says_so(own_server: Valkey) -> None:
    own_server.kill()
    l2 = L2(own_server.url)
    await l2.store.start()

    assert l2.store.gauges()["l2_breaker_open"]() == {(): 1}
    await l2.store.aclose()


class TestWritten:
    async def test_what_was_put_is_there(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            l2.store.put(KEY, response())

            assert await told(l2.store.when_written)
            assert server.ask("EXISTS", l2.name(KEY)) == 1

    async def test_nothing_to_write_is_written(self, server: Valkey) -> None:
        async with opened(server.url) as l2:
            assert await told(l2.store.when_written)

    async def test_a_server_that_is_gone_has_nothing(self, own_server: Valkey) -> None:
        async with opened(own_server.url) as l2:
            own_server.kill()
            l2.store.put(KEY, response())

            assert not await told(l2.store.when_written)

    async def test_a_full_server_has_nothing(self, own_server: Valkey) -> None:
        async with opened(own_server.url) as l2:
            own_server.ask("CONFIG", "SET", "maxmemory", "1")
            l2.store.put(KEY, response())

            assert not await told(l2.store.when_written)

    async def test_a_silent_server_is_waited_for_a_while_only(self, own_server: Valkey) -> None:
        async with opened(own_server.url, timeout=60.0) as l2:
            await l2.store.look_up(KEY)
            own_server.pause()
            l2.store.put(KEY, response())
            began_at = monotonic()

            assert not await told(l2.store.when_written)
            assert FLUSH_SECONDS <= monotonic() - began_at < 10 * FLUSH_SECONDS
            own_server.resume()
