"""Ten thousand entries that are filled at once do not end at once: jitter, through the whole engine.

Dice are seeded and the clock is stepped. Of 10,000 uniform rolls a tenth is 1,000 with a deviation of 30;
the bounds are five deviations wide.
"""

from random import Random

from proxy.model import LifetimeSource, Outcome, StoredResponse
from tests.support.engine_fakes import Engine, body_of, reply
from tests.support.responses import NOW
from tests.support.routing import get

ENTRIES = 10_000
TENTH, FIVE_DEVIATIONS = ENTRIES // 10, 150


class Crowd(Engine):
    """An engine with room for all, rolling seeded dice."""

    def __init__(self, **policy):
        self.dice_of_all = Random(7)
        super().__init__(keep="0s", stale_if_error="0s", at_once=ENTRIES, **policy)
        self.memory.resize(max_entries=2 * ENTRIES, max_bytes=1 << 30, max_entry_bytes=1000)

    def dice(self):
        return self.dice_of_all.random()

    async def fill(self):
        """Ask for each target once, all in the same instant."""
        for number in range(ENTRIES):
            await body_of(await self.ask(b"/%d" % number))
        await self.settle()
        assert len(self.memory) == len(self.origin.requests) == ENTRIES

    def stored(self):
        return [held.entry for _, held in self.memory.entries() if isinstance(held.entry, StoredResponse)]

    def hits(self, *, after):
        """What memory answers so many seconds after the filling."""
        self.clock.now = NOW + after
        answers = [self.flow.try_hit(get(b"/%d" % number)) for number in range(ENTRIES)]
        return [answer for answer in answers if answer is not None]


def are_spread(values, low, high):
    """All values lie in the interval, and each tenth of it has a tenth of them."""
    counts = [0] * 10
    for value in values:
        assert low <= value < high
        counts[int((value - low) / (high - low) * 10)] += 1
    return all(abs(count - TENTH) < FIVE_DEVIATIONS for count in counts)


async def test_lifetimes_of_the_route_end_evenly_around_their_ttl():
    crowd = Crowd(ttl="100s", jitter=0.2)
    crowd.origin.will(reply(b""))
    await crowd.fill()
    lifetimes = [entry.lifetime for entry in crowd.stored()]

    assert are_spread(lifetimes, 80, 120)
    assert {entry.source for entry in crowd.stored()} == {LifetimeSource.ROUTE}
    for seconds in (79.5, 100, 120.5):
        assert len(crowd.hits(after=seconds)) == sum(lifetime > seconds for lifetime in lifetimes)


async def test_what_the_origin_stated_stays_and_only_the_refresh_is_spread():
    crowd = Crowd(jitter=0.2)
    crowd.origin.will(reply(b"max-age=100"))
    await crowd.fill()
    stored = crowd.stored()
    # The roll 0 is among the dice, 1 is not: the age 100 may be met, the age 80 never.
    assert are_spread([100 - entry.refresh_age for entry in stored], 0, 20)
    assert {(entry.source, entry.lifetime) for entry in stored} == {(LifetimeSource.ORIGIN, 100.0)}

    early = crowd.hits(after=79.5)
    due = sum(entry.refresh_age <= 82 for entry in stored)
    hits = crowd.hits(after=82)
    await crowd.settle()

    assert len(early) == ENTRIES
    assert (len(hits), {answer.outcome for answer in hits}) == (ENTRIES, {Outcome.HIT})
    assert len(crowd.origin.requests) == ENTRIES + due
    assert abs(due - TENTH) < FIVE_DEVIATIONS
