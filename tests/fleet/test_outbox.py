from itertools import count

import pytest

from proxy.fleet import outbox as module
from proxy.fleet.log import Draft
from proxy.fleet.outbox import PACE_SECONDS, Outbox
from proxy.model import Validity
from proxy.policy.invalidation import EVERYTHING
from tests.support.purging import entry, keyed, url

ALIVE, STALE, DEAD = Validity.ALIVE, Validity.STALE, Validity.DEAD


@pytest.fixture
def outbox():
    uids = map(str, count(1))
    return Outbox(keyed, lambda: next(uids))


@pytest.mark.parametrize(
    ("soft", "began_at", "validity"),
    [
        (False, None, DEAD),
        (False, 9.9, DEAD),
        (False, 10.0, DEAD),
        (False, 10.1, ALIVE),
        (True, None, STALE),
        (True, 10.1, ALIVE),
    ],
)
def test_only_own_fetches_that_began_later_survive_a_draft(outbox, soft, began_at, validity):
    outbox.add([url("/a")], soft=soft, now=10.0)

    assert outbox.judge(entry(b"/a"), began_at=began_at) is validity
    assert outbox.judge(entry(b"/b"), began_at=began_at) is ALIVE


def test_a_settled_draft_is_in_the_index_and_no_longer_judged_here(outbox):
    (draft,) = outbox.add([url("/a")], soft=False, now=10.0)
    taken = outbox.take(now=10.0)
    outbox.settle(["foreign", draft.uid])

    assert taken == [draft]
    assert outbox.judge(entry(b"/a"), began_at=None) is ALIVE
    assert outbox.take(now=10.0) == []
    assert len(outbox) == 0


def test_a_draft_stays_queued_until_it_is_settled(outbox):
    (draft,) = outbox.add([url("/a")], soft=False, now=10.0)

    assert outbox.take(now=10.0) == outbox.take(now=11.0) == [draft]


def test_settling_one_draft_leaves_what_is_as_old_or_newer(outbox):
    (first,) = outbox.add([url("/a")], soft=False, now=10.0)
    outbox.add([url("/b")], soft=True, now=10.0)
    outbox.settle([first.uid])

    assert outbox.judge(entry(b"/b"), began_at=None) is STALE


def test_a_selector_asked_for_again_keeps_its_newer_instant(outbox):
    (first,) = outbox.add([url("/a")], soft=False, now=10.0)
    outbox.add([url("/a")], soft=False, now=12.0)
    outbox.settle([first.uid])

    assert outbox.judge(entry(b"/a"), began_at=11.0) is DEAD


def test_what_was_published_in_an_unread_epoch_is_dated_by_its_instant_until_the_log_was_read(outbox):
    (draft,) = outbox.add([url("/a")], soft=False, now=10.0)
    outbox.sent([draft.uid])
    queued = outbox.take(now=10.0)
    judged = outbox.judge(entry(b"/a"), began_at=None)
    outbox.settle_sent()

    assert queued == []
    assert judged is DEAD
    assert outbox.judge(entry(b"/a"), began_at=None) is ALIVE


def test_settling_what_was_sent_leaves_what_was_not(outbox):
    outbox.add([url("/a")], soft=False, now=10.0)
    outbox.settle_sent()

    assert outbox.judge(entry(b"/a"), began_at=None) is DEAD


def test_lost_records_are_queued_once_and_judged_by_the_index(outbox):
    lost = Draft("lost", (url("/a"),), soft=False)
    outbox.add_lost([lost])
    outbox.add_lost([lost])

    assert outbox.take(now=0.0) == [lost]
    assert outbox.judge(entry(b"/a"), began_at=None) is ALIVE
    assert outbox.holds("lost")


def test_large_bodies_make_several_drafts(outbox):
    drafts = outbox.add([url("/" + "x" * 8_000 + str(n)) for n in range(9)], soft=False, now=1.0)

    assert [len(draft.selectors) for draft in drafts] == [4, 4, 1]
    assert len({draft.uid for draft in drafts}) == 3


def test_one_call_takes_a_bounded_number_of_drafts(outbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_DRAFTS", 2)
    for name in "abc":
        outbox.add([url(f"/{name}")], soft=False, now=1.0)

    assert len(outbox.take(now=1.0)) == 2


def test_the_same_url_is_published_once_within_the_pace_and_applied_at_once(outbox):
    due = [outbox.add_paced([url("/a")], now=10.0)]
    first = outbox.take(now=10.0)
    outbox.settle([draft.uid for draft in first])
    due += [outbox.add_paced([url("/a")], now=10.0 + PACE_SECONDS / 4) for _ in range(5)]
    too_early = outbox.take(now=10.0 + PACE_SECONDS / 2)
    judged = outbox.judge(entry(b"/a"), began_at=10.0)
    second = outbox.take(now=10.0 + PACE_SECONDS)

    assert due == [True] + [False] * 5
    assert [draft.selectors for draft in first + second] == [(url("/a"),)] * 2
    assert too_early == []
    assert judged is DEAD


def test_all_urls_of_one_pace_share_a_draft(outbox):
    outbox.add_paced([url("/a")], now=10.0)
    outbox.add_paced([url("/b"), url("/a")], now=10.0)
    (draft,) = outbox.take(now=10.0)

    assert draft.selectors == (url("/a"), url("/b"))
    assert not draft.soft


def test_a_paced_purge_is_not_covered_by_a_draft_that_was_taken_before_it(outbox):
    outbox.add_paced([url("/a")], now=10.0)
    (first,) = outbox.take(now=10.0)
    outbox.add_paced([url("/a")], now=10.05)
    outbox.settle([first.uid])

    assert outbox.judge(entry(b"/a"), began_at=10.04) is DEAD
    assert [draft.selectors for draft in outbox.take(now=10.2)] == [(url("/a"),)]


def test_the_instant_of_a_paced_purge_lasts_until_its_own_draft_is_settled(outbox):
    outbox.add_paced([url("/a")], now=10.0)
    outbox.take(now=10.0)
    outbox.add_paced([url("/b")], now=10.05)
    (other,) = outbox.add([url("/c")], soft=False, now=11.0)
    outbox.take(now=11.0)
    outbox.settle([other.uid, "1"])

    assert outbox.judge(entry(b"/b"), began_at=10.04) is DEAD


@pytest.mark.parametrize(
    ("softs", "soft"),
    [((True, True, True), True), ((True, False, True), False), ((False, False, False), False)],
)
def test_too_many_drafts_become_one_purge_of_everything(outbox, monkeypatch, softs, soft):
    monkeypatch.setattr(module, "MOST_SELECTORS", 2)
    for number, is_soft in enumerate(softs):
        outbox.add([url(f"/{number}")], soft=is_soft, now=float(number))
    (draft,) = outbox.take(now=9.0)

    assert (draft.selectors, draft.soft) == ((EVERYTHING,), soft)
    assert outbox.judge(entry(b"/2"), began_at=1.5) is (STALE if softs[2] else DEAD)


def test_too_many_paced_purges_become_one_of_everything(outbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_SELECTORS", 2)
    outbox.add_paced([url("/a"), url("/b"), url("/c")], now=1.0)
    (draft,) = outbox.take(now=1.0)
    outbox.settle([draft.uid])

    assert (draft.selectors, draft.soft) == ((EVERYTHING,), False)
    assert outbox.judge(entry(b"/a"), began_at=None) is ALIVE


def test_too_many_lost_records_become_one_of_everything(outbox, monkeypatch):
    monkeypatch.setattr(module, "MOST_SELECTORS", 2)
    outbox.add_lost(Draft(str(n), (url("/a"),), soft=True) for n in "abc")
    (draft,) = outbox.take(now=1.0)

    assert (draft.selectors, draft.soft) == ((EVERYTHING,), True)


def test_a_reload_reads_the_drafts_again(outbox):
    outbox.add([url("/a?x")], soft=False, now=10.0)
    outbox.read_again(lambda _host, target: (("product", target + b"!"),))

    assert outbox.judge(entry(b"/a?x!"), began_at=None) is DEAD
    assert outbox.judge(entry(b"/a"), began_at=None) is ALIVE
