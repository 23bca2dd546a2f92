import pytest

from proxy.fleet.trust import Trust

MAX = 30.0


def trust(when_unsynced="short"):
    return Trust(max_unsynced=MAX, when_unsynced=when_unsynced, now=90.0)


def test_nothing_is_trusted_before_the_first_read():
    assert trust().until == float("-inf")


def test_trust_counts_from_when_the_read_was_sent_not_from_its_reply():
    made = trust()
    made.completed(sent_at=100.0, now=120.0, epoch_age=1_000.0)

    assert made.until == 130.0


def test_a_suspended_trust_returns_with_the_next_complete_read():
    made = trust()
    made.completed(sent_at=100.0, now=100.0, epoch_age=1_000.0)
    made.suspend(105.0)
    suspended_until = made.until
    made.completed(sent_at=110.0, now=110.0, epoch_age=1_000.0)

    assert suspended_until == float("-inf")
    assert made.until == 140.0


@pytest.mark.parametrize(
    ("epoch_age", "grace_until"),
    [(0.0, 160.0), (10.0, 150.0), (59.0, 101.0), (60.0, 100.0), (90.0, 70.0), (-5.0, 160.0)],
)
def test_a_start_on_a_young_epoch_has_a_grace_until_the_epoch_is_old(epoch_age, grace_until):
    made = trust()
    began = made.completed(sent_at=100.0, now=100.0, epoch_age=epoch_age)

    assert made.grace_until == grace_until
    assert began is (grace_until > 100.0)


@pytest.mark.parametrize(("gap", "has_grace"), [(29.0, False), (29.9, False), (30.0, True), (31.0, True)])
def test_only_a_trust_that_was_not_continuous_needs_a_grace(gap, has_grace):
    made = trust()
    made.completed(sent_at=100.0, now=100.0, epoch_age=1_000.0)
    began = made.completed(sent_at=100.0 + gap, now=100.0 + gap, epoch_age=0.0)

    assert began is has_grace


def test_a_gap_in_the_log_does_not_end_the_continuity():
    made = trust()
    made.completed(sent_at=100.0, now=100.0, epoch_age=1_000.0)
    made.suspend(100.5)

    assert not made.completed(sent_at=101.0, now=101.0, epoch_age=0.0)


def test_a_new_epoch_prolongs_a_grace_under_way():
    made = trust()
    made.completed(sent_at=100.0, now=100.0, epoch_age=50.0)
    began_again = made.completed(sent_at=105.0, now=105.0, epoch_age=0.0)

    assert made.grace_until == 165.0
    assert not began_again


def test_a_grace_ends_by_itself():
    made = trust()
    made.completed(sent_at=100.0, now=100.0, epoch_age=50.0)
    made.completed(sent_at=111.0, now=111.0, epoch_age=0.0)

    assert made.grace_until == 110.0


def test_the_state_is_timed_from_where_it_began():
    made = trust()
    at_start = made.seconds_in_state(95.0)
    for sent_at in (100.0, 110.0):
        made.completed(sent_at=sent_at, now=sent_at + 1, epoch_age=1_000.0)
    while_read = made.seconds_in_state(120.0)
    cut_off = made.seconds_in_state(145.0)  # trust ran out at 140
    made.completed(sent_at=150.0, now=151.0, epoch_age=1_000.0)
    read_again = made.seconds_in_state(152.0)

    assert (at_start, while_read, cut_off, read_again) == (5.0, 19.0, 5.0, 1.0)


def test_a_gap_ends_the_state_when_it_is_noticed_not_with_each_page():
    made = trust()
    made.completed(sent_at=100.0, now=100.0, epoch_age=1_000.0)
    made.suspend(110.0)
    made.suspend(112.0)
    by_a_gap = made.seconds_in_state(115.0)
    made.completed(sent_at=116.0, now=116.0, epoch_age=1_000.0)
    made.suspend(160.0)  # trust had run out at 146

    assert by_a_gap == 5.0
    assert made.seconds_in_state(161.0) == 15.0


def test_the_lag_runs_from_the_last_complete_read_whatever_was_suspended():
    made = trust()
    before = made.lag_seconds(95.0)
    made.completed(sent_at=100.0, now=101.0, epoch_age=1_000.0)
    made.suspend(102.0)

    assert before is None
    assert made.lag_seconds(103.5) == 3.5


OWN_YOUNG, OWN_OLD, FOREIGN = 70.0, 69.9, None


@pytest.mark.parametrize(
    ("when_unsynced", "began_at", "is_in_l1", "tolerated"),
    [
        ("short", OWN_YOUNG, True, True),
        ("short", OWN_YOUNG, False, True),
        ("short", OWN_OLD, True, False),
        ("short", FOREIGN, True, False),
        ("short", FOREIGN, False, False),
        ("serve", OWN_OLD, True, True),
        ("serve", OWN_OLD, False, True),
        ("serve", FOREIGN, True, True),
        ("serve", FOREIGN, False, False),
        ("bypass", OWN_YOUNG, True, False),
        ("bypass", FOREIGN, True, False),
    ],
)
def test_what_an_unsynced_replica_may_use(when_unsynced, began_at, is_in_l1, tolerated):
    assert trust(when_unsynced).tolerates(began_at=began_at, is_in_l1=is_in_l1, now=100.0) is tolerated
