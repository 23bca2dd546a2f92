import pytest

from proxy.fleet.reader import Reader, Rebuild
from proxy.fleet.recent import Recent
from proxy.model import Position, Validity
from proxy.policy.invalidation_index import Index
from tests.support.purging import entry, keyed, url
from tests.support.streams import NONCES, Stream

ALIVE, DEAD, DISTRUSTED = Validity.ALIVE, Validity.DEAD, Validity.DISTRUSTED
A, B, C = url("/a"), url("/b"), url("/c")


class Follower:
    """A reader and the index that it fills."""

    def __init__(self):
        self.index = Index(keyed)
        self.reader = Reader(self.index, Recent())
        self.rebuilt = []
        self.lost = []
        self.applied = []

    def poll(self, stream, *, most=500):
        progress = self.reader.feed(stream.page(self.reader.after, most=most), now=0.0)
        self.rebuilt += [progress.rebuilt] if progress.rebuilt else []
        self.lost += progress.lost
        self.applied += progress.applied
        return progress

    def read(self, stream, *, most=500):
        for _ in range(100):
            if self.poll(stream, most=most).is_complete:
                return self
        raise AssertionError("the log has no end")

    def judge(self, target, born):
        return self.index.judge(entry(target, born=born))


def started(stream):
    follower = Follower().read(stream)
    follower.rebuilt.clear()
    return follower


def test_the_first_read_takes_the_whole_log():
    stream = Stream()
    purge = stream.append(A)
    follower = Follower()
    progress = follower.poll(stream)

    assert progress.is_complete
    assert progress.rebuilt is Rebuild.START
    assert progress.seen == (purge,)
    assert progress.applied == ()
    assert follower.reader.cursor == purge.position
    assert follower.judge(b"/a", stream.records[0].position) is DEAD


def test_records_are_applied_in_order_as_they_come():
    stream = Stream()
    follower = started(stream)
    purges = [stream.append(A), stream.append(B)]
    progress = follower.poll(stream)

    assert progress.applied == progress.seen == tuple(purges)
    assert progress.is_complete
    assert follower.reader.after == (purges[1].position.ms, 0)
    assert follower.rebuilt == []


def test_a_quiet_log_changes_nothing():
    stream = Stream()
    follower = started(stream)
    version = follower.index.version
    progress = follower.poll(stream)

    assert progress == (True, (), (), None, (), stream.ids[0][0])
    assert follower.index.version == version


def test_a_cut_page_is_not_complete():
    stream = Stream()
    follower = started(stream)
    for selector in (A, B, C):
        stream.append(selector)

    assert [follower.poll(stream, most=2).is_complete for _ in range(2)] == [False, True]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 500])
def test_a_full_read_in_pages_finds_the_same(most):
    stream = Stream()
    first = stream.append(A)
    stream.begin_epoch(NONCES[2])
    stream.append(B)
    follower = Follower().read(stream, most=most)

    assert follower.reader.cursor.number == 2
    assert [follower.judge(target, first.position) for target in (b"/a", b"/b", b"/c")] == [
        ALIVE,
        DEAD,
        ALIVE,
    ]


def test_nothing_is_put_in_force_before_the_full_read_is_complete():
    stream = Stream()
    stream.append(A)
    follower = Follower()
    progress = follower.poll(stream, most=1)

    assert not progress.is_complete
    assert follower.reader.is_reading_all
    assert follower.reader.cursor is None
    assert not follower.index.was_read


def test_the_cursor_is_kept_while_the_log_is_read_again():
    stream = Stream()
    follower = started(stream)
    cursor = follower.reader.cursor
    stream.append(A)
    stream.append(B)
    stream.trim(1)
    follower.poll(stream)

    assert follower.reader.is_reading_all
    assert follower.reader.cursor == cursor
    assert follower.reader.after is None


def test_a_trim_of_what_was_read_is_not_noticed():
    stream = Stream()
    follower = started(stream)
    stream.append(A)
    follower.read(stream)
    stream.trim(1)
    follower.read(stream)
    stream.append(B)
    stream.trim(1)
    follower.read(stream)

    assert follower.rebuilt == []


def test_a_trim_past_the_reader_distrusts_what_is_older_and_no_more():
    stream = Stream()
    follower = started(stream)
    old = follower.reader.cursor
    missed = stream.append(A)
    kept = stream.append(B)
    stream.trim(1)
    follower.read(stream)

    assert follower.rebuilt == [Rebuild.GAP]
    assert follower.judge(b"/x", old) is DISTRUSTED
    assert follower.judge(b"/x", missed.position) is ALIVE
    assert follower.judge(b"/b", missed.position) is DEAD
    assert follower.judge(b"/b", kept.position) is ALIVE


def test_a_log_that_ends_elsewhere_without_new_records_is_read_again():
    stream = Stream()
    follower = started(stream)
    stream.append(A)
    follower.read(stream)
    stream.trim(2)
    stream.records.pop()
    stream.ids.pop()
    follower.read(stream)

    assert follower.rebuilt == [Rebuild.TAIL]


def test_a_new_epoch_is_read_in_full_and_keeps_older_entries():
    stream = Stream()
    follower = started(stream)
    old = follower.reader.cursor
    epoch = stream.begin_epoch(NONCES[2])
    progress = follower.read(stream).poll(stream)

    assert follower.rebuilt == [Rebuild.EPOCH]
    assert follower.reader.cursor == epoch.position
    assert follower.judge(b"/a", old) is ALIVE
    assert progress.epoch_began_ms == epoch.position.ms


def test_a_replaced_log_distrusts_all_that_was_born_in_the_old_one():
    follower = started(Stream())
    old = follower.reader.cursor
    replaced = Stream(nonce=NONCES[2], first_ms=5_000)
    follower.read(replaced)

    assert follower.rebuilt == [Rebuild.GAP]
    assert follower.judge(b"/a", old) is DISTRUSTED
    assert follower.judge(b"/a", follower.reader.cursor) is ALIVE


def test_a_log_that_was_replaced_and_is_already_past_the_old_id_is_noticed():
    stream = Stream()
    follower = started(stream)
    replaced = Stream(nonce=NONCES[2], first_ms=0)
    while replaced.ids[-1] <= stream.ids[-1]:
        replaced.now_ms += 400
        replaced.append(A)
    follower.read(replaced)

    assert follower.rebuilt == [Rebuild.GAP]
    assert follower.reader.cursor.nonce == NONCES[2]


def test_a_log_that_went_backwards_is_noticed():
    stream = Stream()
    follower = started(stream)
    follower.read(Stream(nonce=NONCES[2], first_ms=0))

    assert follower.rebuilt == [Rebuild.TAIL]


@pytest.mark.parametrize(("later_ms", "cause"), [(0, Rebuild.EPOCH), (10, Rebuild.GAP)])
def test_a_fork_of_what_was_read_is_not_accepted(later_ms, cause):
    stream = Stream()
    follower = started(stream)
    forked = stream.copy()
    stream.append(A)
    follower.read(stream)
    forked.now_ms += later_ms
    forked.begin_epoch(NONCES[2])
    forked.append(B)
    follower.read(forked)

    assert follower.rebuilt == [cause]
    assert follower.reader.cursor.nonce == NONCES[2]


def test_a_fork_that_ends_at_the_very_id_that_was_read_is_noticed():
    stream = Stream()
    follower = started(stream)
    forked = stream.copy()
    stream.append(A)
    follower.read(stream)
    forked.begin_epoch(NONCES[2])
    same_id = forked.ids[-1] == stream.ids[-1]
    follower.read(forked)

    assert same_id
    assert follower.rebuilt == [Rebuild.TAIL]


def test_two_epochs_of_the_same_number_are_told_apart():
    stream = Stream()
    base = stream.copy()
    stream.begin_epoch(NONCES[2])
    lost_epoch = stream.append(A).position
    follower = started(stream)
    base.now_ms += 1_000
    base.begin_epoch(NONCES[3])
    follower.read(base)

    assert follower.judge(b"/x", lost_epoch) is DISTRUSTED
    assert follower.judge(b"/x", base.records[0].position) is ALIVE


def test_garbage_in_the_stream_is_stepped_over_and_distrusts_what_is_older():
    stream = Stream()
    follower = started(stream)
    old = follower.reader.cursor
    stream.append_garbage()
    stream.begin_epoch(NONCES[2])
    follower.read(stream)

    assert follower.rebuilt == [Rebuild.GAP]
    assert follower.judge(b"/x", old) is DISTRUSTED
    assert follower.judge(b"/x", follower.reader.cursor) is ALIVE


@pytest.mark.parametrize("most", [1, 2])
def test_garbage_at_the_end_of_a_page_does_not_stop_the_read(most):
    stream = Stream()
    stream.append(A)
    stream.append_garbage()
    stream.begin_epoch(NONCES[2])
    follower = Follower().read(stream, most=most)

    assert follower.reader.cursor == stream.records[-1].position


def test_a_log_that_is_flushed_during_a_full_read_is_read_from_its_new_beginning():
    stream = Stream()
    stream.append(A)
    follower = Follower()
    follower.poll(stream, most=1)
    flushed = Stream(nonce=NONCES[2], first_ms=5_000)
    flushed.append(B)
    follower.read(flushed)

    assert follower.judge(b"/x", stream.records[0].position) is DISTRUSTED
    assert follower.judge(b"/b", flushed.records[0].position) is DEAD


def test_a_log_that_goes_backwards_during_a_full_read_is_begun_again():
    stream = Stream()
    stream.append(A)
    follower = Follower()
    follower.poll(stream, most=1)
    follower.read(Stream(nonce=NONCES[2], first_ms=0))

    assert follower.rebuilt == [Rebuild.START]
    assert follower.reader.cursor.nonce == NONCES[2]


def test_a_trim_during_a_full_read_raises_the_floor():
    stream = Stream()
    for selector in (A, B, C):
        stream.append(selector)
    follower = Follower()
    follower.poll(stream, most=1)
    stream.trim(1)
    follower.read(stream)

    assert follower.judge(b"/x", Position(1, stream.ids[0][0] - 2, 0, NONCES[1])) is DISTRUSTED
    assert follower.judge(b"/x", Position(1, stream.ids[0][0] - 1, 0, NONCES[1])) is ALIVE


def test_own_records_are_applied_ahead_and_only_the_log_moves_the_cursor():
    stream = Stream()
    follower = started(stream)
    cursor = follower.reader.cursor
    other = stream.append(B)
    own = stream.append(A)
    follower.reader.note_own(own, now=0.0)
    judged = follower.judge(b"/a", cursor)
    version = follower.index.version
    kept_cursor = follower.reader.cursor
    progress = follower.poll(stream)

    assert judged is DEAD
    assert kept_cursor == cursor
    assert progress.seen == (other, own)
    assert progress.applied == (other,)
    assert follower.index.version == version + 1
    assert follower.reader.cursor == own.position


def lossy(stream, *, nonce=NONCES[2], loses=1):
    """A failover to a replica that misses the last records."""
    promoted = stream.copy()
    for _ in range(loses):
        promoted.records.pop()
        promoted.ids.pop()
    promoted.now_ms += 100
    promoted.begin_epoch(nonce)
    return promoted


def test_what_a_failover_lost_is_known_as_of_the_tail_and_to_be_appended_again():
    stream = Stream()
    follower = started(stream)
    lost = stream.append(A)
    follower.read(stream)
    promoted = lossy(stream)
    tail = promoted.records[-1].position
    follower.read(promoted)

    assert follower.lost == [lost]
    assert follower.judge(b"/a", lost.position._replace(ms=lost.position.ms - 1)) is DEAD
    assert follower.judge(b"/a", tail._replace(ms=tail.ms - 1)) is DEAD
    assert follower.judge(b"/a", tail) is ALIVE


def test_a_published_record_that_was_never_read_is_not_lost_from_memory():
    stream = Stream()
    follower = started(stream)
    own = stream.append(A)
    follower.reader.remember(own, now=0.0)
    follower.read(lossy(stream))

    assert follower.lost == [own]


def test_records_that_the_log_still_has_are_not_lost():
    stream = Stream()
    follower = started(stream)
    stream.append(A)
    follower.read(stream)
    stream.begin_epoch(NONCES[2])
    follower.read(stream)

    assert follower.lost == []


def test_trimmed_records_are_not_lost():
    stream = Stream()
    follower = started(stream)
    stream.append(A)
    follower.read(stream)
    stream.append(B)
    stream.append(C)
    stream.trim(1)
    follower.read(stream)

    assert follower.rebuilt == [Rebuild.GAP]
    assert follower.lost == []


def test_a_flushed_log_gets_back_what_was_applied():
    stream = Stream()
    follower = started(stream)
    purge = stream.append(A)
    follower.read(stream)
    flushed = Stream(nonce=NONCES[2], first_ms=5_000)
    follower.read(flushed)

    assert follower.lost == [purge]
    assert follower.judge(b"/a", None) is DEAD


def test_a_flush_that_is_undone_finds_the_record_at_its_own_place():
    stream = Stream()
    follower = started(stream)
    before = stream.append(B)
    purge = stream.append(A)
    follower.read(stream)
    follower.read(Stream(nonce=NONCES[2], first_ms=5_000))
    restored = stream.copy()
    restored.records.pop()
    restored.ids.pop()
    follower.read(restored)

    assert follower.judge(b"/a", before.position) is DEAD
    assert follower.judge(b"/a", purge.position) is ALIVE


def test_a_record_that_returns_under_its_uid_is_applied_at_its_new_place():
    stream = Stream()
    follower = started(stream)
    lost = stream.append(A)
    follower.read(stream)
    promoted = lossy(stream)
    follower.read(promoted)
    born = follower.reader.cursor
    promoted.append(A, uid=lost.uid)
    follower.read(promoted)

    assert follower.judge(b"/a", born) is DEAD
    assert follower.lost == [lost]


def test_a_restarted_applier_appends_what_it_read_at_its_start():
    stream = Stream()
    lost = stream.append(A)
    follower = started(stream)
    follower.read(lossy(stream))

    assert follower.lost == [lost]
