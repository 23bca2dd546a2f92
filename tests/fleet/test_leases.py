"""Leases on a real server, renewed when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, count
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.engine.protocols import Leases as Wanted
from proxy.fleet.leases import (
    LEASE_SECONDS,
    MOST_CLAIMS,
    RENEW_SECONDS,
    Command,
    Form,
    Leases,
    Reading,
    ReadingOf,
)
from proxy.model import NOT_ASKED, Claim, Found
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import running, spawn
from proxy.store.redis_client import connect
from proxy.store.redis_link import RedisLink
from tests.support.clocks import GatedPause, SteppedClock
from tests.support.cut_link import CutLink
from tests.support.entries import key_of, response
from tests.support.l2 import L2, opened
from tests.support.valkey import Valkey

KEY = b"\x0a\x0b"
NAME = "shop:lease:0a0b"
ENTRY_KEY = key_of("entry")
RIGHTS = "+@connection +set +get +del +eval ~shop:lease:*"

_tokens = count(1)


class Replica:
    """One process' leases; its renewals wait for the test."""

    def __init__(self, url: str, *, timeout: float = 2.0) -> None:
        self.pause = GatedPause(SteppedClock())
        self.metrics = Metrics()
        self.link = RedisLink(
            connect(url, timeout=timeout),
            timeout=timeout,
            probe=lambda client: client.ping(),
            metrics=self.metrics,
            doubt=lambda: None,
            pause=self.pause,
        )
        self.leases = Leases(
            lambda name: self.link,
            namespace="shop",
            token=lambda: b"token %d" % next(_tokens),
            pause=self.pause,
        )

    async def claim(self, key: bytes) -> Claim:
        """The claim alone."""
        claim, found = await self.leases.claim(key, b"entry")
        assert found is NOT_ASKED
        return claim

    async def sent(self) -> None:
        await sent()

    async def aclose(self) -> None:
        await self.leases.aclose()
        await self.link.aclose()


async def sent() -> None:
    """Until all commands of this tick were answered."""
    await asyncio.sleep(0)
    under_way = {task for task in running() if task.get_name() == "leases"}
    if under_way:
        await asyncio.wait(under_way, timeout=5)


@pytest.fixture
async def replicas(server: Valkey) -> AsyncIterator[tuple[Replica, Replica]]:
    one, other = Replica(server.url), Replica(server.url)
    yield one, other
    await one.aclose()
    await other.aclose()


Two = tuple[Replica, Replica]


def milliseconds_left(server: Valkey) -> int:
    return int(server.ask("PTTL", NAME))


async def test_it_is_what_the_engine_asks_for(replicas: Two) -> None:
    wanted: Wanted = replicas[0].leases

    assert await wanted.claim(KEY, b"entry") == (Claim.HELD, NOT_ASKED)


async def test_one_replica_has_it_until_it_is_released(replicas: Two, server: Valkey) -> None:
    one, other = replicas

    assert [await each.claim(KEY) for each in (one, other, one)] == [
        Claim.HELD,
        Claim.TAKEN,
        Claim.TAKEN,
    ]
    assert 0 < milliseconds_left(server) <= LEASE_SECONDS * 1000
    one.leases.release(KEY)
    await one.sent()
    assert server.ask("EXISTS", NAME) == 0
    assert await other.claim(KEY) is Claim.HELD


async def test_of_many_that_ask_at_once_one_gets_it(replicas: Two) -> None:
    claims = await asyncio.gather(*(each.claim(KEY) for each in replicas for _ in range(50)))

    assert (claims.count(Claim.HELD), claims.count(Claim.TAKEN)) == (1, 99)


async def test_the_claims_of_one_tick_travel_together(replicas: Two, server: Valkey) -> None:
    one, _ = replicas
    keys = [number.to_bytes(2, "big") for number in range(MOST_CLAIMS + 10)]
    await one.claim(b"first")  # connects

    claims = await asyncio.gather(*(one.claim(key) for key in keys))

    assert set(claims) == {Claim.HELD}
    assert one.metrics.l2_seconds.get("lease") == 1 + 2
    assert one.leases.gauges()["leases_held"]() == {(): len(keys) + 1}
    assert len(server.ask("KEYS", "shop:lease:*")) == len(keys) + 1


async def test_after_a_lone_answer_nobody_waits_for_a_while(replicas: Two, server: Valkey) -> None:
    one, other = replicas
    await one.claim(KEY)
    one.leases.release(KEY, lone_seconds=5.0)
    await one.sent()

    assert [await each.claim(KEY) for each in (one, other)] == [Claim.LONE, Claim.LONE]
    assert 4000 < milliseconds_left(server) <= 5000


async def test_a_lease_that_is_no_longer_ours_is_left_alone(replicas: Two, server: Valkey) -> None:
    one, other = replicas
    await one.claim(KEY)
    server.ask("DEL", NAME)
    await other.claim(KEY)
    theirs = server.ask("GET", NAME)
    await one.pause.end_next()
    await one.pause.begun()  # it was renewed, had it been ours
    one.leases.release(KEY, lone_seconds=5.0)
    await one.sent()

    assert server.ask("GET", NAME) == theirs
    assert milliseconds_left(server) <= LEASE_SECONDS * 1000


async def test_what_was_not_claimed_is_not_released(replicas: Two, server: Valkey) -> None:
    one, other = replicas
    await one.claim(KEY)
    other.leases.release(KEY)
    await other.sent()

    assert server.ask("EXISTS", NAME) == 1


async def test_a_lease_is_renewed_while_it_is_held(replicas: Two, server: Valkey) -> None:
    one, _ = replicas
    await one.claim(KEY)
    server.ask("PEXPIRE", NAME, 500)

    assert await one.pause.end_next() == RENEW_SECONDS
    await one.pause.begun()
    assert milliseconds_left(server) > 500
    one.leases.release(KEY)
    one.pause.end()
    await one.sent()
    assert server.ask("EXISTS", NAME) == 0
    assert not [task for task in running() if task.get_name() == "lease renewals"]


async def test_a_server_that_came_back_empty_is_told_again(replicas: Two, server: Valkey) -> None:
    one, other = replicas
    await one.claim(KEY)
    server.ask("FLUSHALL")
    await one.pause.end_next()
    await one.pause.begun()

    assert await other.claim(KEY) is Claim.TAKEN


async def test_the_lease_of_a_dead_replica_ends_by_itself(replicas: Two, server: Valkey) -> None:
    one, other = replicas
    await one.claim(KEY)
    await one.leases.aclose()
    server.ask("PEXPIRE", NAME, 1)
    async with asyncio.timeout(5):
        while await other.claim(KEY) is not Claim.HELD:  # noqa: ASYNC110 - the server's clock
            await asyncio.sleep(0.001)

    renewing = [task for task in running() if task.get_name() == "lease renewals"]
    assert len(renewing) == 1


async def test_a_server_that_is_gone_is_asked_once(server: Valkey) -> None:
    async with CutLink(server.port) as link:
        one = Replica(link.url, timeout=0.5)
        link.cut()
        claims = [await one.claim(KEY) for _ in range(3)]

        assert claims == [Claim.UNAVAILABLE] * 3
        assert link.accepted == 1
        assert one.leases.gauges()["leases_held"]() == {(): 0}
        await one.aclose()


async def test_a_renewal_that_fails_is_tried_again(server: Valkey) -> None:
    async with CutLink(server.port) as link:
        one = Replica(link.url, timeout=0.5)
        await one.claim(KEY)
        link.cut()
        await one.pause.end_next()
        seconds = {await one.pause.begun(), await one.pause.begun()}

        assert RENEW_SECONDS in seconds
        await one.aclose()


async def test_who_stops_waiting_takes_nobody_along(replicas: Two, server: Valkey) -> None:
    one, other = replicas
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(one.claim(KEY))
        stays = group.create_task(one.claim(b"other"))
        await asyncio.sleep(0)
        gone.cancel()

    assert stays.result() is Claim.HELD
    assert one.leases.gauges()["leases_held"]() == {(): 1}
    assert await other.claim(KEY) is Claim.HELD  # it was given back at once


async def test_a_server_that_refuses_leases_is_named_once_and_does_not_open_the_breaker(
    replicas: Two, server: Valkey
) -> None:
    one, _ = replicas
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with capture_logs() as lines:
            claims = [await one.claim(KEY) for _ in range(3)]
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")

    assert claims == [Claim.UNAVAILABLE] * 3
    assert [line["event"] for line in lines] == ["leases are refused, each replica fetches for itself"]
    assert not one.link.is_open
    assert await one.claim(KEY) is Claim.HELD


async def test_these_rights_are_enough(server: Valkey) -> None:
    server.ask("ACL", "SETUSER", "leaser", "on", ">secret", *RIGHTS.split())
    one = Replica(server.url.replace("redis://", "redis://leaser:secret@"))
    try:
        assert await one.claim(KEY) is Claim.HELD
        await one.pause.end_next()
        await one.pause.begun()
        one.leases.release(KEY, lone_seconds=1.0)
        await one.sent()
        assert await one.claim(KEY) is Claim.LONE
        await one.claim(b"other")
        one.leases.release(b"other")
        await one.sent()
        assert await one.claim(b"other") is Claim.HELD
    finally:
        await one.aclose()
        server.ask("ACL", "DELUSER", "leaser")


def test_the_state_can_be_read(server: Valkey) -> None:
    assert repr(Leases(lambda name: None, namespace="shop", token=lambda: b"")) == "<Leases 0 held>"


async def test_where_nobody_knows_the_server_each_goes_on_alone() -> None:
    leases = Leases(lambda name: None, namespace="shop", token=lambda: b"")

    assert await leases.claim(KEY, b"entry") == (Claim.UNAVAILABLE, NOT_ASKED)


async def test_each_lease_is_asked_for_where_its_key_is(server: Valkey, own_server: Valkey) -> None:
    one, other = Replica(server.url), Replica(own_server.url)
    leases = Leases(
        lambda name: (one if name == NAME.encode() else other).link, namespace="shop", token=lambda: b"t"
    )
    claims = await asyncio.gather(leases.claim(KEY, b"entry"), leases.claim(b"other", b"entry"))

    assert claims == [(Claim.HELD, NOT_ASKED)] * 2
    assert (server.ask("DBSIZE"), own_server.ask("DBSIZE")) == (1, 1)
    await leases.aclose()
    await one.aclose()
    await other.aclose()


class TestLooking:
    """What L2 has comes with the claim."""

    async def test_the_look_is_taken_after_the_claim_in_the_same_round_trip(self, server: Valkey) -> None:
        async with looking(server) as (l2, leases):
            l2.store.put(ENTRY_KEY, response(b"body"))
            await l2.written()
            trips, looks = l2.metrics.l2_seconds.get("lease"), server.calls("mget")

            first = await leases.claim(KEY, ENTRY_KEY)
            second = await leases.claim(b"other", key_of("absent"))

            assert (first, second) == ((Claim.HELD, response(b"body")), (Claim.HELD, None))
            assert l2.metrics.l2_seconds.get("lease") == trips + 2
            assert l2.operations("get") == {"hit": 1, "miss": 1}
            assert server.calls("mget") == looks + 2

    async def test_who_finds_it_taken_looks_too(self, server: Valkey) -> None:
        async with looking(server) as (l2, leases):
            l2.store.put(ENTRY_KEY, response(b"body"))
            await l2.written()
            server.ask("SET", NAME, "another")

            assert await leases.claim(KEY, ENTRY_KEY) == (Claim.TAKEN, response(b"body"))
            assert await leases.claim(KEY, ENTRY_KEY) == (Claim.TAKEN, response(b"body"))

    async def test_the_order_of_many_claims_is_kept(self, server: Valkey) -> None:
        async with looking(server) as (l2, leases):
            keys = [key_of(str(number)) for number in range(MOST_CLAIMS + 10)]
            for number in range(0, len(keys), 2):
                l2.store.put(keys[number], response(b"%d" % number))
            await l2.written()

            looks = server.calls("mget")
            claims = await asyncio.gather(*(leases.claim(key, key) for key in keys))

            assert server.calls("mget") == looks + 2  # one a round trip
            assert claims == [
                (Claim.HELD, None if number % 2 else response(b"%d" % number)) for number in range(len(keys))
            ]

    async def test_a_claim_that_fails_has_not_looked(self, server: Valkey) -> None:
        async with CutLink(server.port) as link, looking(server, url=link.url) as (_, leases):
            link.cut()

            assert await leases.claim(KEY, ENTRY_KEY) == (Claim.UNAVAILABLE, NOT_ASKED)

    async def test_entries_that_cannot_be_read_cost_no_lease_and_are_counted_each(
        self, server: Valkey
    ) -> None:
        async with looking(server) as (l2, leases):
            await leases.claim(b"first", key_of("first"))  # connects
            server.ask("ACL", "SETUSER", "default", "-mget")
            try:
                claims = await asyncio.gather(
                    *(leases.claim(name, key_of("absent")) for name in (b"a", b"b"))
                )
            finally:
                server.ask("ACL", "SETUSER", "default", "+mget")

            assert claims == [(Claim.HELD, None)] * 2
            assert l2.operations("get") == {"miss": 1, "refused": 2}

    async def test_an_entry_that_cannot_be_read_costs_no_lease(self, server: Valkey) -> None:
        async with looking(server) as (l2, leases):
            server.ask("ACL", "SETUSER", "default", "-mget")
            try:
                with capture_logs() as lines:
                    claimed = await leases.claim(KEY, ENTRY_KEY)
            finally:
                server.ask("ACL", "SETUSER", "default", "+mget")

            assert claimed == (Claim.HELD, None)
            assert lines == []  # no lease was refused
            assert l2.operations("get") == {"refused": 1}

    async def test_what_is_on_another_server_is_not_asked_along(
        self, server: Valkey, own_server: Valkey
    ) -> None:
        async with looking(server) as (l2, _), looking(own_server) as (other, _):
            leases = leases_on(other, reading_of=lambda key: l2.store.reading(key, together=1))

            assert await leases.claim(KEY, ENTRY_KEY) == (Claim.HELD, NOT_ASKED)
            await leases.aclose()

    async def test_an_entry_that_fails_to_be_read_leaves_no_lease_behind(self, server: Valkey) -> None:
        def failing(reply: object) -> None:
            raise ValueError(reply)

        async with looking(server) as (l2, _):
            link = l2.store.link_of(b"")
            assert link is not None
            leases = leases_on(l2, reading_of=lambda key: (link, (("MGET", None), (key,)), failing))

            with capture_logs() as lines:
                claim = await leases.claim(KEY, ENTRY_KEY)
            assert claim == (Claim.UNAVAILABLE, NOT_ASKED)
            assert leases.gauges()["leases_held"]() == {(): 0}
            assert [line["event"] for line in lines] == ["who asked for a lease crashed"]


class CannedLink:
    """Every claim is granted; what is looked for is answered as the test says, or with its own name."""

    def __init__(self, answer: object = None) -> None:
        self.trips: list[list[Command]] = []
        self._answer = answer

    async def ask_all(self, operation: str, commands: Sequence[Command]) -> list[object]:
        self.trips.append(list(commands))
        return [None if form[0] == "SET" else self._looked_up(words) for form, words in commands]

    def _looked_up(self, words: tuple[bytes, ...]) -> object:
        return list(words) if self._answer is None else self._answer

    def leases(self, form: Form) -> Leases:
        def reading_of(key: bytes) -> Reading | None:
            return None if key == b"unread" else (self, (form, (key,)), lambda reply: reply)  # type: ignore[return-value]

        return Leases(lambda name: self, reading_of=reading_of, namespace="shop", token=lambda: b"token")


async def test_what_is_ours_is_not_asked_for_again_and_told_once() -> None:
    link = CannedLink()
    leases = Leases(lambda name: link, namespace="shop", token=lambda: b"token")
    told: list[tuple[Claim, Found]] = []
    assert await leases.claim(KEY, ENTRY_KEY) == (Claim.HELD, NOT_ASKED)
    leases.ask(KEY, ENTRY_KEY, lambda *claimed: told.append(claimed))
    await sent()
    await leases.aclose()

    assert told == [(Claim.TAKEN, NOT_ASKED)]
    assert len(link.trips) == 1


async def test_who_stops_waiting_as_the_answer_comes_leaves_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    link = CannedLink()
    leases = Leases(lambda name: link, namespace="shop", token=lambda: b"token")
    claiming = spawn("claiming", leases.claim(KEY, ENTRY_KEY))
    resolve = Leases._resolve

    def resolve_and_cancel(*answered: Any) -> None:
        resolve(*answered)
        claiming.cancel()

    monkeypatch.setattr(Leases, "_resolve", resolve_and_cancel)
    with pytest.raises(asyncio.CancelledError):
        await claiming
    await sent()
    await leases.aclose()

    assert leases.gauges()["leases_held"]() == {(): 0}
    assert [form[0] for form, _ in chain(*link.trips)] == ["SET", "EVAL"]


ONE: Form = ("MGET", None)
ANY: Form = ("MGET", ...)


class TestJoining:
    """Looks that may be joined travel as one command; each claim has its own part of the reply."""

    @pytest.mark.parametrize(
        ("form", "looks", "found"),
        [
            (ANY, [(ANY, (b"a", b"c", b"d"))], [b"a", NOT_ASKED, b"c", b"d"]),
            (ONE, [(ONE, (b"a",)), (ONE, (b"c",)), (ONE, (b"d",))], [[b"a"], NOT_ASKED, [b"c"], [b"d"]]),
        ],
    )
    async def test_each_has_what_it_looked_for(
        self, form: Form, looks: list[Command], found: list[object]
    ) -> None:
        link = CannedLink()
        leases = link.leases(form)
        claims = await asyncio.gather(*(leases.claim(key, key) for key in (b"a", b"unread", b"c", b"d")))
        await leases.aclose()

        assert claims == [(Claim.HELD, each) for each in found]
        (trip,) = link.trips
        assert [form[0] for form, _ in trip[:4]] == ["SET"] * 4
        assert trip[4:] == looks

    @pytest.mark.parametrize("answer", [[], [b"a"], [b"a", b"b", b"c"], b"a", 1])
    async def test_a_reply_that_is_not_theirs_is_nobodys(self, answer: object) -> None:
        leases = CannedLink(answer).leases(ANY)
        claims = await asyncio.gather(*(leases.claim(key, key) for key in (b"a", b"b")))
        await leases.aclose()

        assert claims == [(Claim.HELD, None)] * 2

    async def test_who_has_gone_takes_nobodys_part(self) -> None:
        link = CannedLink()
        leases = link.leases(ANY)
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(leases.claim(b"a", b"a"))
            stays = group.create_task(leases.claim(b"b", b"b"))
            await asyncio.sleep(0)
            gone.cancel()
        await leases.aclose()

        assert stays.result() == (Claim.HELD, b"b")


def leases_on(l2: L2, reading_of: ReadingOf) -> Leases:
    return Leases(
        l2.store.link_of, reading_of=reading_of, namespace="shop", token=lambda: b"token %d" % next(_tokens)
    )


@asynccontextmanager
async def looking(server: Valkey, url: str = "") -> AsyncIterator[tuple[L2, Leases]]:
    """A store, and leases that look there."""
    async with opened(url or server.url, timeout=2.0) as l2:
        leases = leases_on(l2, lambda key: l2.store.reading(key, together=MOST_CLAIMS))
        yield l2, leases
        await leases.aclose()
