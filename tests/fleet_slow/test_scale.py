"""A purge of a million entries: one append, whatever it selects, and nothing is looked for on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import pytest

from proxy.model import StoredResponse, Validity
from proxy.policy.invalidation import EVERYTHING, Selector
from proxy.policy.tags import MOST_TAGS
from proxy.store.codec import encode
from tests.support.entries import key_of, response
from tests.support.l2 import L2, opened
from tests.support.purging import pattern, prefix, route, tag, url
from tests.support.replicas import STREAM, Replica, replica
from tests.support.valkey import Valkey, running_valkey

pytestmark = pytest.mark.timeout(120)

ENTRIES = 1_000_000
FEW = 1_000
BATCH = 50_000
TIMES = 20
MOST_SECONDS = 0.005
SLACK_SECONDS = 0.0002
"""What a busy machine adds to some 50 µs."""
NAMED = b"/sale/lamps/7"
SELECTORS = [
    url(NAMED.decode()),
    prefix("/sale/"),
    pattern("/sale/*/7"),
    tag("lamp"),
    route("product"),
    EVERYTHING,
]
SCRIPTS = {"evalsha", "info", "time", "xadd", "xtrim", "xrange", "xrevrange", "hset", "hlen"}
"""What our two scripts call, and they: no SCAN, no KEYS, no DEL, no look-up of an entry."""
FILL = """
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('SET', KEYS[1] .. string.sub(redis.sha1hex(number), 1, 32), ARGV[1], 'PX', 3600000)
end
"""


class Cost(NamedTuple):
    """Of one purge."""

    seconds: float
    """Until its caller has an answer; the poll behind it included."""
    server_seconds: float
    """The server's own time for our scripts."""


class Shop:
    """A server of entries, and a replica that purges them."""

    def __init__(self, server: Valkey, one: Replica, l2: L2) -> None:
        self.server = server
        self.one = one
        self.l2 = l2

    async def put(self, name: str, **changes: Any) -> StoredResponse:
        """An entry of the product's own, as L2 gives it back."""
        born = self.one.log.capture().born
        self.l2.store.put(key_of(name), response(born=born, **changes))
        await self.l2.written()
        found = await self.l2.store.look_up(key_of(name))
        assert isinstance(found, StoredResponse)
        return found

    async def purge(self, selector: Selector) -> Cost:
        """Purge, and look at all that the server was asked for."""
        self.server.ask("CONFIG", "RESETSTAT")
        began_at = perf_counter()
        answer = await self.one.purge(selector)
        seconds = perf_counter() - began_at
        asked = self.asked()

        assert answer.published
        assert asked.keys() <= SCRIPTS
        assert asked["xadd"] == 1
        return Cost(seconds, self.server.ask("INFO", "commandstats")["cmdstat_evalsha"]["usec"] / 1e6)

    def asked(self) -> dict[str, int]:
        """Commands that the server has run since CONFIG RESETSTAT, and how often."""
        stats = self.server.ask("INFO", "commandstats")
        calls = {name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()}
        return {name: count for name, count in calls.items() if name != "config|resetstat"}

    async def costs(self, selector: Selector) -> Cost:
        """The medians of some purges."""
        costs = [await self.purge(selector) for _ in range(TIMES)]
        return Cost(*(median(each) for each in zip(*costs, strict=True)))


def fill(server: Valkey, entries: int) -> None:
    """Entries by number, as large as small ones are, written by the server itself."""
    value = encode(key_of("any"), response(b"{}"))
    for first in range(0, entries, BATCH):
        server.ask("EVAL", FILL, 1, "shop:e3:", value, first, min(first + BATCH, entries) - 1)


@pytest.fixture(scope="module")
def million() -> Iterator[Valkey]:
    with running_valkey() as server:
        fill(server, ENTRIES)
        yield server


@asynccontextmanager
async def opened_shop(server: Valkey) -> AsyncIterator[Shop]:
    async with replica(server.url) as one, opened(server.url, timeout=2.0) as l2:
        await one.sync()
        await one.purge(url("/first"))  # from here on the server knows our scripts
        yield Shop(server, one, l2)


@pytest.fixture
async def shop(million: Valkey) -> AsyncIterator[Shop]:
    async with opened_shop(million) as shop:
        yield shop


async def test_a_purge_costs_one_append_however_much_it_selects(shop: Shop) -> None:
    with running_valkey() as server:
        fill(server, FEW)
        async with opened_shop(server) as small:
            few = [await small.costs(selector) for selector in SELECTORS]
    held, records = shop.server.ask("DBSIZE"), shop.server.ask("XLEN", STREAM)
    many = [await shop.costs(selector) for selector in SELECTORS]

    assert held >= ENTRIES
    assert shop.server.ask("DBSIZE") == held
    assert shop.server.ask("XLEN", STREAM) == records + TIMES * len(SELECTORS)
    assert max(cost.seconds for cost in many) < MOST_SECONDS
    for before, after in zip(few, many, strict=True):
        assert after.server_seconds < 2 * before.server_seconds + SLACK_SECONDS


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: selector.kind.value)
async def test_what_it_selects_among_a_million_is_gone(shop: Shop, selector: Selector) -> None:
    named = await shop.put("named", target=NAMED, tags=(b"lamp",))
    other = await shop.put("other", target=b"/about", route="page")
    await shop.purge(selector)
    found = await shop.l2.store.look_up(key_of("named"))

    assert shop.server.ask("DBSIZE") > ENTRIES
    assert isinstance(found, StoredResponse)
    assert shop.one.judge(named) is shop.one.judge(found) is Validity.DEAD
    assert shop.one.judge(other) is (Validity.DEAD if selector is EVERYTHING else Validity.ALIVE)


async def test_tags_are_in_their_entries_and_in_no_lists(shop: Shop) -> None:
    tags = tuple(b"tag-%d" % number for number in range(MOST_TAGS))
    shop.server.ask("CONFIG", "RESETSTAT")
    entries = [await shop.put(f"tagged {number}", tags=tags) for number in range(10)]
    asked = shop.asked()
    before = {shop.one.judge(entry) for entry in entries}
    await shop.purge(tag(tags[-1].decode()))

    assert asked.keys() - {"info"} == {"set", "mget"}
    assert asked["set"] == len(entries)
    assert entries[0].tags == tags
    assert before == {Validity.ALIVE}
    assert {shop.one.judge(entry) for entry in entries} == {Validity.DEAD}
