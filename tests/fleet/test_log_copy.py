"""One replica's copy against a log that is a list: answers before, during and after each kind of trouble."""

from itertools import count

import pytest

from proxy.fleet.log import Registration
from proxy.fleet.log_copy import LogCopy
from proxy.model import Held, Validity, VaryRecord
from proxy.observe.metrics import Metrics
from tests.support.purging import entry, keyed, position, url
from tests.support.replicas import MAX_UNSYNCED, SteppedClock
from tests.support.streams import NONCES, Stream

ALIVE, STALE, DEAD = Validity.ALIVE, Validity.STALE, Validity.DEAD
DISTRUSTED, UNSYNCED = Validity.DISTRUSTED, Validity.UNSYNCED
A, B = url("/a"), url("/b")


class Process:
    """A copy, its clock and what it counted."""

    def __init__(self, stream, when_unsynced="short"):
        self.stream = stream
        self.clock = SteppedClock(1_000.0)
        self.metrics = Metrics()
        self.hurries = 0
        uids = map(str, count(1))
        self.copy = LogCopy(
            keyed=keyed,
            max_unsynced=MAX_UNSYNCED,
            when_unsynced=when_unsynced,
            metrics=self.metrics,
            new_uid=lambda: next(uids),
            hurry=self._hurry,
            clock=self.clock,
        )

    def _hurry(self):
        self.hurries += 1

    def poll(self, *, most=500):
        return self.copy.accept(self.stream.page(self.copy.after, most=most), sent_at=self.clock.now)

    def read(self):
        while not self.poll().is_complete:
            pass
        return self

    def fetched(self, target=b"/a", *, own=True):
        """A copy in L1 of a fetch that begins now: our own, or one that L2 brought."""
        capture = self.copy.capture()
        held = Held(entry(target, born=capture.born), 1, 0.0)
        held.began_at = capture.began_at if own else None
        return held

    def publish(self):
        """What the append script does."""
        for draft in self.copy.outbox.take(now=self.clock.now):
            record = self.stream.append(*draft.selectors, uid=draft.uid, soft=draft.soft)
            self.copy.published(draft, record.position)


@pytest.fixture
def stream():
    made = Stream()
    made.now_ms += 3_600_000
    return made


@pytest.fixture
def process(stream):
    return Process(stream).read()


def test_a_hit_is_two_comparisons_while_nothing_was_applied(process):
    held = process.fetched()
    first = process.copy.judge_held(held)
    held.entry = None  # whatever the entry says, it is not looked at

    assert first is ALIVE
    assert process.copy.judge_held(held) is ALIVE


def test_a_copy_is_current_until_something_is_applied_or_nothing_is_read(process):
    held = process.fetched()
    assert not process.copy.is_current(held)  # never asked
    process.copy.judge_held(held)
    assert process.copy.is_current(held)
    process.copy.stage([B], soft=False)
    assert not process.copy.is_current(held)
    process.copy.judge_held(held)
    assert process.copy.is_current(held)
    process.clock.advance(MAX_UNSYNCED)

    assert not process.copy.is_current(held)


def test_vary_records_are_alive(process):
    assert process.copy.judge_held(Held(VaryRecord((), (), 0.0), 1, 0.0)) is ALIVE


@pytest.mark.parametrize(("soft", "validity"), [(False, DEAD), (True, STALE)])
def test_a_record_of_another_replica_reaches_copies_in_l1(process, soft, validity):
    held = process.fetched()
    process.copy.judge_held(held)
    process.stream.append(A, soft=soft)
    process.read()

    assert process.copy.judge_held(held) is validity


def test_a_purge_of_our_own_is_applied_before_it_is_published(process):
    held, l2 = process.fetched(), process.fetched(own=False).entry
    process.copy.judge_held(held)
    process.clock.advance(1)
    process.copy.stage([A], soft=False)
    process.clock.advance(1)
    later = process.fetched()

    assert process.copy.judge_held(held) is DEAD
    assert process.copy.judge(l2) is DEAD
    assert process.copy.judge_held(later) is ALIVE


def test_once_published_a_purge_is_told_from_later_entries_by_its_place(process):
    process.copy.stage([A], soft=False)
    process.publish()
    by_others = entry(born=process.stream.records[-1].position)

    assert process.copy.judge(by_others) is ALIVE
    assert process.copy.capture().born == by_others.born


def test_an_own_place_never_moves_born_below_what_was_read(process):
    process.copy.stage([A], soft=False)
    process.publish()
    newer = process.stream.append(B)
    process.read()

    assert process.copy.capture().born == newer.position


def test_published_ahead_of_the_cursor_nothing_older_is_skipped(process):
    held_b = process.fetched(b"/b")
    process.stream.append(B)
    process.copy.stage([A], soft=False)
    process.publish()
    born_between = process.fetched(b"/b")
    process.read()

    assert process.copy.judge_held(held_b) is DEAD
    assert process.copy.judge_held(born_between) is ALIVE


def test_a_purge_published_in_an_epoch_that_was_not_read_holds_until_it_is(process):
    l2 = process.fetched(own=False).entry
    process.copy.stage([A], soft=False)
    process.stream.begin_epoch(NONCES[2])
    process.publish()
    before = process.copy.judge(l2)
    process.read()

    assert before is DEAD
    assert process.copy.judge(l2) is DEAD
    assert process.copy.judge(entry(born=process.copy.capture().born)) is ALIVE


def test_an_append_that_timed_out_yet_arrived_is_settled_by_reading_it(process):
    (draft,) = process.copy.stage([A], soft=False)
    process.stream.append(*draft.selectors, uid=draft.uid)
    process.read()

    assert process.copy.outbox.take(now=process.clock.now) == []
    assert process.copy.judge(entry(born=process.copy.capture().born)) is ALIVE


def test_what_the_log_lost_is_queued_under_its_uid(process):
    lost = process.stream.append(A)
    process.read()
    process.stream.records.pop()
    process.stream.ids.pop()
    process.stream.begin_epoch(NONCES[2])
    process.read()
    queued = process.copy.outbox.take(now=process.clock.now)

    assert [draft.uid for draft in queued] == [lost.uid]
    assert process.metrics.log_gaps.values == {("gap",): 1}
    assert process.metrics.log_rebuilds.values == {("start",): 1, ("gap",): 1}


def test_before_the_first_read_own_fetches_are_served_and_l2_is_not(stream):
    process = Process(stream)
    own, l2 = process.fetched(), entry(born=stream.records[0].position)

    assert process.copy.capture().born is None
    assert process.copy.judge_held(own) is ALIVE
    assert process.copy.judge(own.entry, began_at=own.began_at) is ALIVE
    assert process.copy.judge(l2) is DISTRUSTED
    assert process.hurries == 1


def test_the_first_read_distrusts_what_was_fetched_before_it(stream):
    process = Process(stream)
    own = process.fetched()
    process.read()

    assert process.copy.judge_held(own) is DISTRUSTED


def test_before_the_first_read_a_purge_of_our_own_is_obeyed(stream):
    process = Process(stream)
    own, other = process.fetched(b"/a"), process.fetched(b"/b")
    process.copy.stage([A], soft=False)

    assert process.copy.judge_held(own) is DEAD
    assert process.copy.judge_held(other) is ALIVE


def test_a_full_read_is_no_use_before_its_last_page(stream):
    stream.append(A)
    stream.append(B)
    process = Process(stream)
    l2 = entry(b"/x", born=stream.records[0].position)
    partly = [process.poll(most=2).is_complete, process.copy.judge(l2), process.copy.is_synced]
    process.read()

    assert partly == [False, DISTRUSTED, False]
    assert process.copy.judge(l2) is ALIVE


def test_while_the_log_is_read_again_only_young_fetches_of_our_own_are_served(process):
    own, l2 = process.fetched(), process.fetched(own=False)
    process.copy.judge_held(own)
    process.copy.judge_held(l2)
    process.stream.append(B)
    process.stream.append(B)
    process.stream.trim(1)
    process.poll()

    assert process.copy.judge_held(own) is ALIVE
    assert process.copy.judge_held(l2) is UNSYNCED
    assert not process.copy.is_synced


def test_a_gap_is_counted_when_it_is_noticed_and_once(process):
    for _ in range(3):
        process.stream.append(B)
    process.stream.trim(2)
    counted = []
    while not process.poll(most=1).is_complete:
        counted.append((process.metrics.log_gaps.values, process.metrics.log_rebuilds.get("gap")))

    assert counted == [({("gap",): 1}, 0)] * 2
    assert process.metrics.log_rebuilds.get("gap") == 1


def test_the_condition_is_that_of_now(process):
    process.stream.append(A)
    process.read()
    process.copy.stage([B], soft=False)
    process.clock.advance(4.0)
    trusted = process.copy.condition()
    process.clock.advance(MAX_UNSYNCED)
    unsynced = process.copy.condition()

    assert trusted == (True, 4.0, 4.0, process.stream.tail, 1)
    assert unsynced == (False, 4.0, 34.0, process.stream.tail, 1)
    assert Process(process.stream).copy.condition() == (False, 0.0, None, None, 0)


UNSYNCED_ANSWERS = [
    ("short", 29.0, [ALIVE, ALIVE, ALIVE, ALIVE]),
    ("short", 30.0, [ALIVE, UNSYNCED, UNSYNCED, ALIVE]),
    ("short", 30.1, [UNSYNCED, UNSYNCED, UNSYNCED, UNSYNCED]),
    ("serve", 99.0, [ALIVE, ALIVE, UNSYNCED, ALIVE]),
    ("bypass", 29.9, [ALIVE, ALIVE, ALIVE, ALIVE]),
    ("bypass", 30.0, [UNSYNCED, UNSYNCED, UNSYNCED, UNSYNCED]),
]


@pytest.mark.parametrize(("when_unsynced", "seconds", "answers"), UNSYNCED_ANSWERS)
def test_cut_off_for_longer_than_max_unsynced(stream, when_unsynced, seconds, answers):
    process = Process(stream, when_unsynced).read()
    own, back_filled = process.fetched(), process.fetched(own=False)
    process.clock.advance(seconds)
    found = [
        process.copy.judge_held(own),
        process.copy.judge_held(back_filled),
        process.copy.judge(back_filled.entry),
        process.copy.judge(own.entry, began_at=own.began_at),
    ]

    assert found == answers
    assert process.metrics.unsynced.get() == answers.count(UNSYNCED)


def test_an_unsynced_replica_still_obeys_what_it_knows(process):
    own = process.fetched()
    process.stream.append(A)
    process.read()
    process.clock.advance(MAX_UNSYNCED + 1)

    assert process.copy.judge_held(own) is DEAD


def test_trust_counts_from_the_sending(process):
    page = process.stream.page(process.copy.after)
    sent_at = process.clock.now
    process.clock.advance(20)
    process.copy.accept(page, sent_at=sent_at)
    process.clock.advance(9.9)
    before = process.copy.is_synced
    process.clock.advance(0.1)

    assert before
    assert not process.copy.is_synced


def test_an_entry_of_an_unknown_epoch_hurries_the_next_poll(process):
    judged = process.copy.judge(entry(born=position(9, number=2, nonce=0xBEEF)))

    assert judged is DISTRUSTED
    assert process.hurries == 1


def after_a_failover(process, cut_seconds):
    """Cut off for a while, during which the log got a new epoch; entries of the one before."""
    own_old, l2 = process.fetched(), process.fetched(own=False).entry
    process.clock.advance(cut_seconds)
    own_young = process.fetched()
    process.stream.begin_epoch(NONCES[2])
    process.read()
    return own_old, own_young, l2


def test_a_replica_that_was_cut_off_distrusts_the_epoch_before_until_lost_records_are_back(process):
    own_old, own_young, l2 = after_a_failover(process, MAX_UNSYNCED + 1)
    in_grace = [process.copy.judge(l2), process.copy.judge_held(own_old), process.copy.judge_held(own_young)]
    of_this_epoch = process.copy.judge(entry(born=process.copy.capture().born))
    process.stream.now_ms += 60_000
    process.clock.advance(2 * MAX_UNSYNCED)
    process.read()

    assert in_grace == [DISTRUSTED, DISTRUSTED, ALIVE]
    assert of_this_epoch is ALIVE
    assert process.copy.judge(l2) is ALIVE


def test_a_live_replica_needs_no_grace(process):
    own_old, own_young, l2 = after_a_failover(process, MAX_UNSYNCED - 1)

    assert [process.copy.judge(l2), process.copy.judge_held(own_old), process.copy.judge_held(own_young)] == [
        ALIVE
    ] * 3


def test_a_grace_reaches_copies_that_were_checked_before_it(process):
    process.stream.begin_epoch(NONCES[2])
    before_cut = process.fetched()
    process.read()
    checked = process.copy.judge_held(before_cut)
    process.clock.advance(MAX_UNSYNCED + 1)
    process.read()

    assert checked is ALIVE
    assert process.copy.judge_held(before_cut) is DISTRUSTED


def test_a_start_on_a_young_epoch_has_a_grace(process):
    process.stream.begin_epoch(NONCES[2])
    restarted = Process(process.stream).read()

    assert restarted.copy.judge(entry(born=process.stream.records[0].position)) is DISTRUSTED


def test_a_start_on_an_old_epoch_trusts_l2_at_once(process):
    process.stream.begin_epoch(NONCES[2])
    process.stream.now_ms += int(2 * MAX_UNSYNCED * 1000)
    restarted = Process(process.stream).read()

    assert restarted.copy.judge(entry(born=process.stream.records[0].position)) is ALIVE


def test_own_records_are_counted_once_and_those_of_others_when_read(process):
    process.copy.stage([A], soft=False)
    process.copy.stage_paced([B])
    process.publish()
    (draft,) = process.copy.stage([A], soft=True)
    process.stream.append(*draft.selectors, uid=draft.uid, soft=True)
    process.stream.append(A, soft=True)
    process.read()

    assert process.metrics.invalidations.values == {("urls", "hard"): 2, ("urls", "soft"): 2}


def test_a_registration_says_what_was_applied_and_never_stays_the_same(stream):
    process = Process(stream)
    unread = Registration.decode(process.copy.registration())
    process.read()
    first, second = process.copy.registration(), process.copy.registration()

    assert unread.position is None
    assert Registration.decode(first).position == process.copy.reader.cursor
    assert first != second


def test_reach_counts_positions_in_epochs_that_the_log_has(process):
    target = process.copy.reader.cursor
    replicas = {
        "one": process.copy.registration(),
        "other": Registration(target._replace(nonce=0xBEEF), 1).encode(),
    }

    assert process.copy.reach_of(target, replicas, target) == (2, ("other",))


def test_all_replicas_are_known_once_the_epoch_is_as_old_as_any_may_be_behind(process):
    before = process.copy.knows_all_replicas(process.stream.tail)
    process.clock.advance(MAX_UNSYNCED)
    after = process.copy.knows_all_replicas(process.stream.tail)
    process.stream.append(B)
    process.stream.append(B)
    process.stream.trim(1)
    process.read()
    after_a_gap = process.copy.knows_all_replicas(process.stream.tail)
    process.stream.begin_epoch(NONCES[2])
    unread = process.copy.knows_all_replicas(process.stream.tail)
    process.read()
    young = process.copy.knows_all_replicas(process.stream.tail)

    assert [before, after, after_a_gap, unread, young] == [False, True, True, False, False]


def test_reach_in_an_epoch_that_was_not_read_counts_its_own_positions_only(process):
    """A→B→A: what the lost epoch called newer says nothing of the log that came back."""
    of_lost_epoch = process.copy.reader.cursor
    target = of_lost_epoch._replace(nonce=NONCES[2])
    newer = of_lost_epoch._replace(ms=of_lost_epoch.ms + 1_000)
    replicas = {
        "behind": Registration(newer, 1).encode(),
        "there": Registration(target, 1).encode(),
    }

    assert process.copy.reach_of(target, replicas, target) == (2, ("behind",))


def test_a_reload_reads_index_and_outbox_again(process):
    published, waiting = process.fetched(b"/a?x!"), process.fetched(b"/b?x!")
    process.stream.append(url("/a?x"))
    process.read()
    process.copy.stage([url("/b?x")], soft=False)
    before = [process.copy.judge_held(published), process.copy.judge_held(waiting)]
    process.copy.read_again(lambda _host, target: (("product", target + b"!"),))

    assert before == [ALIVE, ALIVE]
    assert [process.copy.judge_held(published), process.copy.judge_held(waiting)] == [DEAD, DEAD]


def test_what_it_is_doing_shows(process):
    process.copy.stage([A], soft=False)

    assert "unsent=1" in repr(process.copy)
