"""Purges race fetches, back-fills, write-behind, followers and failovers in every order that dice find.

The right order serves nothing stale; each wrong one does, and is caught (invalidation.md, mutants).
"""

import pytest

from proxy.fleet.reader import Reader, Rebuild
from proxy.model import Validity
from proxy.policy.invalidation_index import Index, Modes
from tests.support.log_simulation import Mutant, World, named_by, timed
from tests.support.purging import GENESIS, entry, keyed, position, record, url

ROUNDS = 500
MOST_SEEDS = 2_000


def test_in_any_order_nothing_stale_is_served():
    worlds = [World(seed, Mutant()).run() for seed in range(ROUNDS)]

    assert [fault for world in worlds for fault in world.stale] == []
    assert sum(world.served for world in worlds) > 10 * ROUNDS


def test_trims_failovers_lost_records_and_restarts_change_nothing_of_that():
    worlds = [World(seed, Mutant(), has_trouble=True).run() for seed in range(ROUNDS)]

    assert [fault for world in worlds for fault in world.stale] == []
    assert sum(world.served for world in worlds) > 10 * ROUNDS


class Naive(Mutant):
    """Drops what a purge names, and stores whatever comes afterwards."""

    def applied(self, process, *selectors):
        for selector in selectors:
            for target in named_by(selector):
                process.l1.pop(target, None)
                process.world.l2.pop(target, None)

    def may_store(self, process, stored, capture):
        return True

    def may_use_held(self, process, held):
        return True

    def may_use_l2(self, process, stored, early):
        return True


class BornLate(Mutant):
    """Takes the position when the answer is there."""

    def captured_late(self, process, capture):
        return process.copy.capture()


class ClockAsPosition(Mutant):
    """Takes the server's time for a position: records of the same millisecond are missed."""

    def captured(self, process, world):
        capture = process.copy.capture()
        return capture._replace(born=timed(capture.born, world.stream.now_ms))


class FollowerJoinsAny(Mutant):
    """Gives a fetch's result to whoever waits for it."""

    def may_share(self, process, flight, version):
        return True


class BackFillWithOwnBorn(Mutant):
    """Dates what L2 brought by when it was read."""

    def back_filled(self, process, stored):
        return stored.but(born=process.copy.capture().born)


class L2JudgedWhenAsked(Mutant):
    """Judges an entry of L2 by what was known when it was asked for, and is bound by what came since."""

    def judged_when_asked(self, process, stored):
        return stored is not None and process.copy.judge(stored) is Validity.ALIVE

    def may_use_l2(self, process, stored, early):
        return early

    def back_filled(self, process, stored):
        held = super().back_filled(process, stored)
        return held.but(born=process.copy.capture().born)


class RestartTrustsL2(Mutant):
    """Believes L2 before the log was read."""

    def may_use_l2(self, process, stored, early):
        return not process.copy.index.was_read or super().may_use_l2(process, stored, early)


class HitIgnoresTheVersion(Mutant):
    """Asks the rule once for each copy."""

    def may_use_held(self, process, held):
        return held.version >= 0 or super().may_use_held(process, held)


ORDERS = [
    (Naive, False),
    (BornLate, False),
    (ClockAsPosition, False),
    (FollowerJoinsAny, False),
    (BackFillWithOwnBorn, False),
    (L2JudgedWhenAsked, False),
    (HitIgnoresTheVersion, False),
    (RestartTrustsL2, True),
]


@pytest.mark.parametrize(("mutant", "has_trouble"), ORDERS)
def test_a_wrong_order_is_caught(mutant, has_trouble):
    assert seeds_until_caught(mutant(), has_trouble=has_trouble) < MOST_SEEDS


def judged_after_a_purge_and_a_soft_one():
    """What becomes of an entry whose purge is followed by a soft invalidation of the same selector."""
    index = Index(keyed)
    contents = index.empty(None)
    contents.add(record(GENESIS))
    index.replace(contents)
    index.apply(record(position(5), url("/a")))
    index.apply(record(position(6), url("/a"), soft=True))
    return index.judge(entry(born=position(4)))


def test_one_map_for_hard_and_soft_is_caught(monkeypatch):
    right = judged_after_a_purge_and_a_soft_one()

    def newest_wins(self, selectors, mark, *, soft):
        hides, hidden = (self.soft, self.hard) if soft else (self.hard, self.soft)
        for selector in selectors:
            hides.add(selector, mark)
        hidden.forget(before=mark)

    monkeypatch.setattr(Modes, "add", newest_wins)

    assert right is Validity.DEAD
    assert judged_after_a_purge_and_a_soft_one() is Validity.STALE


def seeds_until_caught(mutant, *, has_trouble):
    """How many worlds it takes until one serves something stale."""
    for seed in range(MOST_SEEDS):
        if World(seed, mutant, has_trouble=has_trouble).run().stale:
            return seed
    return MOST_SEEDS


def accept_any_record(self, record):
    """Mutant: whatever comes is the next."""
    return None if record is not None else Rebuild.GAP


def lose_nothing(self, record):
    """Mutant: a full read forgets what the log has lost."""
    return False


def keep_the_epochs(self, contents):
    """Mutant: nonces of former logs stay known."""
    contents.nonces |= self._contents.nonces
    self._contents = contents
    self.generation += 1
    self.version += 1


READINGS = [
    (Reader, "_gap_before", accept_any_record),
    ("proxy.fleet.reader._FullRead", "has_lost", lose_nothing),
    (Index, "replace", keep_the_epochs),
]


@pytest.mark.parametrize(("where", "name", "mutant"), READINGS, ids=["gap", "lost", "epochs"])
def test_a_wrong_way_to_read_is_caught(monkeypatch, where, name, mutant):
    if isinstance(where, str):
        monkeypatch.setattr(f"{where}.{name}", mutant)
    else:
        monkeypatch.setattr(where, name, mutant)

    assert seeds_until_caught(Mutant(), has_trouble=True) < MOST_SEEDS
