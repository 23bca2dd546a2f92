"""What is made for each server, and closed when the server has no keys any more."""

from __future__ import annotations

import asyncio

from proxy.store.redis_servers import PerServer
from proxy.store.redis_topology import FoundServers, OneServer, Shards
from tests.support.clocks import GatedPause, SteppedClock

A, B = "redis://a:1", "redis://b:2"


class Thing:
    def __init__(self, url: str) -> None:
        self.url = url
        self.is_closed = False

    def __repr__(self) -> str:
        return f"<Thing {self.url}>"

    async def aclose(self) -> None:
        self.is_closed = True


class Moving:
    """Two servers, then one of them has all."""

    def __init__(self) -> None:
        self._answers = [Shards.of([(0, 8191, A), (8192, 16383, B)]), Shards.whole(B)]

    async def find(self) -> Shards:
        return self._answers.pop(0)

    async def aclose(self) -> None:
        pass


async def test_one_thing_a_server_is_made_at_first_use() -> None:
    things = PerServer(OneServer(A), Thing)
    assert repr(things) == "<PerServer []>"
    first = things.of(b"x")

    assert first is things.of(b"y")
    assert list(things.all()) == [first]
    assert things.is_complete
    assert repr(things) == f"<PerServer [<Thing {A}>]>"
    await things.aclose()
    assert first is not None
    assert first.is_closed


async def test_what_a_server_leaves_behind_is_closed() -> None:
    pause = GatedPause(SteppedClock())
    topology = FoundServers(Moving(), is_slotted=True, pause=pause)
    things = PerServer(topology, Thing)
    assert (things.of(b"x"), list(things.all()), things.is_complete) == (None, [], False)
    await topology.start()
    one, other = sorted(things.all(), key=lambda thing: thing.url)
    things.doubt()
    await pause.end_next()
    await pause.begun()

    assert things.of(b"x") is things.of(b"y") is other
    await asyncio.sleep(0)
    assert (one.is_closed, other.is_closed) == (True, False)
    assert list(things.all()) == [other]
    await things.aclose()
    await topology.aclose()
