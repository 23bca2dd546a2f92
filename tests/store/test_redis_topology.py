"""Which server has which key, and when it is found out anew: stepped, with answers that the test gives."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from redis.crc import key_slot
from structlog.testing import capture_logs

from proxy.store.redis_client import StoreUnavailable
from proxy.store.redis_link import Failure, Fault
from proxy.store.redis_topology import (
    FIND_SECONDS,
    LOOK_SECONDS,
    FoundServers,
    OneServer,
    Shards,
    topology_of,
)
from tests.support.clocks import GatedPause, SteppedClock

A, B = "redis://a:1", "redis://u:secret@b:2"
DOWN = Failure(Fault.UNREACHABLE, "no node is known")
HALVES = Shards.of([(8192, 16383, B), (0, 8191, A)])


class TestShards:
    def test_slots_belong_to_ranges_in_any_order(self) -> None:
        assert [HALVES.url_of(slot) for slot in (0, 8191, 8192, 16383)] == [A, A, B, B]

    def test_gaps_belong_to_nobody(self) -> None:
        shards = Shards.of([(10, 19, A), (30, 39, B)])

        assert [shards.url_of(slot) for slot in (9, 10, 19, 20, 29, 30, 39, 40)] == [
            None, A, A, None, None, B, B, None,
        ]  # fmt: skip

    def test_one_server_may_have_all(self) -> None:
        assert {Shards.whole(A).url_of(slot) for slot in (0, 16383)} == {A}


class Asked:
    """Answers as the test says, and counts the questions."""

    def __init__(self, *answers: Shards | Failure) -> None:
        self.answers = list(answers)
        self.count = 0
        self.is_closed = False

    async def find(self) -> Shards | Failure:
        self.count += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.fixture
async def pause() -> GatedPause:
    return GatedPause(SteppedClock())


def found(asked: Asked, pause: GatedPause, *, is_slotted: bool = True) -> FoundServers:
    return FoundServers(asked, is_slotted=is_slotted, pause=pause)


async def test_keys_are_where_their_slots_are(pause: GatedPause) -> None:
    asked = Asked(HALVES)
    servers = found(asked, pause)
    await servers.start()
    names = [b"shop:%d" % number for number in range(100)]

    assert [servers.server_of(name) for name in names] == [
        A if key_slot(name) < 8192 else B for name in names
    ]
    assert servers.servers == {A, B}
    assert repr(servers) == "<FoundServers a:1, b:2>"
    await servers.aclose()
    assert asked.is_closed


async def test_a_master_has_all_keys(pause: GatedPause) -> None:
    servers = found(Asked(Shards.whole(A)), pause, is_slotted=False)
    await servers.start()

    assert {servers.server_of(b"%d" % number) for number in range(100)} == {A}
    await servers.aclose()


async def test_nobody_is_asked_without_a_doubt_and_a_thousand_doubts_ask_once(pause: GatedPause) -> None:
    asked = Asked(Shards.whole(A), Shards.whole(B))
    servers = found(asked, pause)
    await servers.start()
    assert await pause.end_next() == LOOK_SECONDS
    await asyncio.sleep(0)
    before = asked.count, servers.version

    for _ in range(1000):
        servers.doubt()
    await pause.begun()

    assert before == (1, 1)
    assert (asked.count, servers.version, servers.server_of(b"x")) == (2, 2, B)
    await servers.aclose()


async def test_a_doubt_during_the_pause_waits_for_its_end(pause: GatedPause) -> None:
    asked = Asked(Shards.whole(A))
    servers = found(asked, pause)
    await servers.start()
    await pause.begun()
    servers.doubt()
    for _ in range(5):
        await asyncio.sleep(0)
    before = asked.count
    pause.end()
    await pause.begun()

    assert (before, asked.count) == (1, 2)
    await servers.aclose()


async def test_a_failure_keeps_the_last_servers_and_is_tried_again(pause: GatedPause) -> None:
    asked = Asked(Shards.whole(A), DOWN, DOWN, Shards.whole(B))
    servers = found(asked, pause)
    with capture_logs() as lines:
        await servers.start()
        servers.doubt()
        await pause.end_next()
        await pause.begun()
        assert servers.server_of(b"x") == A
        pause.end()
        await pause.end_next()
        await pause.begun()

    assert servers.server_of(b"x") == B
    assert asked.count == 4
    assert [(line["event"], line.get("servers", line.get("detail"))) for line in lines] == [
        ("L2 servers found", "a:1"),
        ("nobody says where L2 is", "no node is known"),
        ("L2 servers found", "b:2"),
    ]
    await servers.aclose()


async def test_a_start_without_anybody_goes_on_asking(pause: GatedPause) -> None:
    servers = found(Asked(DOWN, HALVES), pause)
    await servers.start()
    assert (servers.server_of(b"x"), servers.servers) == (None, frozenset())
    await pause.end_next()
    await pause.begun()

    assert servers.server_of(b"x") is not None
    await servers.aclose()


async def test_a_key_that_nobody_has_is_a_doubt(pause: GatedPause) -> None:
    asked = Asked(Shards.of([(0, 0, A)]), HALVES)
    servers = found(asked, pause)
    await servers.start()
    await pause.end_next()
    assert servers.server_of(b"x") is None
    await pause.begun()

    assert servers.server_of(b"x") in {A, B}
    await servers.aclose()


async def test_an_answer_is_waited_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch, pause: GatedPause
) -> None:
    monkeypatch.setattr("proxy.store.redis_topology.FIND_SECONDS", 0.01)

    class Silent(Asked):
        async def find(self) -> Shards | Failure:
            await asyncio.Event().wait()
            raise AssertionError

    servers = FoundServers(Silent(), is_slotted=True, pause=pause)
    await servers.start()

    assert servers.servers == frozenset()
    assert FIND_SECONDS == 1.0
    await servers.aclose()


async def test_one_server_has_everything_for_ever() -> None:
    server = OneServer(B)
    await server.start()
    server.doubt()
    await server.aclose()

    assert (server.server_of(b"x"), server.servers, server.version) == (B, {B}, 0)
    assert repr(server) == "<OneServer b:2>"


@pytest.mark.parametrize(
    ("url", "is_slotted"),
    [("redis://h", False), ("redis+cluster://h:1,i:2", True), ("redis+sentinel://h/x", False)],
)
def test_a_url_says_how_servers_hang_together(url: str, is_slotted: bool) -> None:
    assert topology_of(url).is_slotted is is_slotted


@pytest.mark.parametrize("url", ["redis+cluster://h?retries=5", "redis+sentinel://h/x?retries=5"])
def test_a_faulty_option_is_noticed_at_the_start(url: str) -> None:
    with pytest.raises(StoreUnavailable, match="unknown option retries"):
        topology_of(url)


@pytest.mark.parametrize(
    ("url", "expected"), [("redis://h", set()), ("redis+cluster://h", {"proxy.store.redis_cluster"})]
)
def test_only_what_is_used_is_imported(url: str, expected: set[str]) -> None:
    code = (
        f"import sys; from proxy.store.redis_topology import topology_of; topology_of({url!r});"
        "print(*(name for name in sys.modules if name in"
        " ('proxy.store.redis_cluster', 'proxy.store.redis_sentinel')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) == expected
