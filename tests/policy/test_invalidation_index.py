import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model import Validity
from proxy.policy.invalidation import EVERYTHING
from proxy.policy.invalidation_index import DEFAULT_BOUNDS, Index, worse
from proxy.policy.selected import Bounds
from tests.support.purging import (
    GENESIS,
    NONCE,
    entry,
    judge_by_force,
    keyed,
    pattern,
    position,
    prefix,
    record,
    route,
    tag,
    url,
)

ALIVE, STALE, DEAD, DISTRUSTED = Validity.ALIVE, Validity.STALE, Validity.DEAD, Validity.DISTRUSTED
UNKNOWN = position(50, nonce=0xBEEF)


def index_of(*records, floor=None, bounds=DEFAULT_BOUNDS):
    """An index after a full read of a log of these records, genesis first."""
    made = Index(keyed, bounds)
    contents = made.empty(floor)
    contents.add(record(GENESIS))
    made.replace(contents)
    for each in records:
        made.apply(each)
    return made


def hard(ms, *selectors):
    return record(position(ms), *selectors)


def soft(ms, *selectors):
    return record(position(ms), *selectors, soft=True)


@pytest.mark.parametrize(
    ("records", "born", "validity"),
    [
        ([], position(1), ALIVE),
        ([hard(5, url("/a"))], position(4), DEAD),
        ([hard(5, url("/a"))], position(5), ALIVE),
        ([hard(5, url("/a"))], position(6), ALIVE),
        ([hard(5, url("/b"))], position(4), ALIVE),
        ([soft(5, url("/a"))], position(4), STALE),
        ([soft(5, url("/a"))], position(5), ALIVE),
        ([hard(5, url("/a")), soft(6, url("/a"))], position(4), DEAD),
        ([soft(5, url("/a")), hard(6, url("/a"))], position(4), DEAD),
        ([hard(5, url("/a")), soft(6, url("/a"))], position(5), STALE),
        ([soft(5, url("/a")), hard(6, url("/a"))], position(6), ALIVE),
        ([hard(5, url("/b"), tag("x"), prefix("/a"))], position(4), DEAD),
        ([], None, DISTRUSTED),
        ([], UNKNOWN, DISTRUSTED),
        ([hard(5, url("/a"))], None, DEAD),
        ([hard(5, url("/a"))], UNKNOWN, DEAD),
        ([soft(5, url("/a"))], UNKNOWN, DISTRUSTED),
    ],
)
def test_the_rule(records, born, validity):
    assert index_of(*records).judge(entry(born=born)) is validity


def test_two_records_of_one_millisecond_are_told_apart_by_their_ids():
    first, second = position(5), position(5)._replace(seq=1)
    made = index_of(record(second, url("/a")))

    assert made.judge(entry(born=first)) is DEAD
    assert made.judge(entry(born=second)) is ALIVE


def test_an_epoch_outranks_every_id_of_the_one_before():
    later = position(2, number=2, nonce=0xBEEF)
    made = index_of()
    contents = made.empty(None)
    contents.add(record(GENESIS))
    contents.add(record(later, url("/a")))
    made.replace(contents)

    assert made.judge(entry(born=position(9_999))) is DEAD
    assert made.judge(entry(born=later)) is ALIVE


@pytest.mark.parametrize(
    ("born", "checked", "validity"),
    [
        (position(4), None, DISTRUSTED),
        (position(5), None, ALIVE),
        (position(4), position(5), ALIVE),
        (position(3), position(4), DISTRUSTED),
        (position(5), position(4), ALIVE),
    ],
)
def test_below_the_floor_is_distrusted(born, checked, validity):
    assert index_of(floor=position(5)).judge(entry(born=born), checked) is validity


def test_a_purged_entry_below_the_floor_is_dead_so_that_no_304_revives_it():
    assert index_of(hard(9, url("/a")), floor=position(5)).judge(entry(born=position(4))) is DEAD


def test_records_up_to_the_last_check_are_not_looked_at_again():
    made = index_of(hard(5, url("/a")))

    assert made.judge(entry(born=position(4)), checked=position(5)) is ALIVE


def test_overflow_by_one_distrusts_only_what_was_not_checked_since():
    made = index_of(hard(5, url("/a")), hard(6, url("/b")), bounds=Bounds(narrow=1))

    assert made.judge(entry(born=position(4))) is DISTRUSTED
    assert made.judge(entry(born=position(4)), checked=position(6)) is ALIVE
    assert made.judge(entry(b"/other", born=position(4))) is ALIVE


def test_overflow_of_soft_records_only_makes_stale():
    made = index_of(soft(5, url("/a")), soft(6, url("/b")), soft(7, prefix("/c")), soft(8, prefix("/d")))
    small = index_of(
        soft(5, url("/a")),
        soft(6, url("/b")),
        soft(7, prefix("/c")),
        soft(8, prefix("/d")),
        bounds=Bounds(narrow=1, broad=1),
    )

    assert made.judge(entry(b"/x", born=position(4))) is ALIVE
    assert small.judge(entry(b"/a", born=position(4))) is STALE
    assert small.judge(entry(b"/x", born=position(4))) is STALE
    assert small.judge(entry(b"/x", born=position(7))) is ALIVE


def test_before_the_first_read_a_fetch_of_our_own_has_missed_nothing():
    made = Index(keyed)

    assert not made.was_read
    assert made.judge(entry(born=None)) is ALIVE
    assert made.judge(entry(born=UNKNOWN)) is DISTRUSTED


def test_the_epochs_of_the_last_full_read_are_known():
    index = index_of()
    assert index.knows(position(50))
    assert not index.knows(UNKNOWN)


def test_every_change_raises_the_version_and_every_read_the_generation():
    made = Index(keyed)
    seen = [(made.version, made.generation)]
    made.replace(made.empty(None))
    seen.append((made.version, made.generation))
    made.apply(hard(5, url("/a")))
    seen.append((made.version, made.generation))
    made.touch()
    seen.append((made.version, made.generation))
    made.read_again(keyed)
    seen.append((made.version, made.generation))

    assert seen == [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2)]


def test_a_full_read_leaves_nothing_of_the_old_index_or_floor():
    made = index_of(hard(5, url("/a")), floor=position(5))
    contents = made.empty(None)
    contents.add(record(GENESIS))
    made.replace(contents)

    assert made.judge(entry(born=GENESIS)) is ALIVE


def test_a_reload_reads_the_urls_again():
    made = index_of(hard(5, url("/a?x=1")))
    made.read_again(lambda _host, target: (("product", target + b"!"),))

    assert made.judge(entry(b"/a?x=1!", born=position(4))) is DEAD
    assert made.judge(entry(b"/a", born=position(4))) is ALIVE


def test_a_reload_during_a_full_read_is_not_lost():
    made = index_of()
    contents = made.empty(None)
    contents.add(record(GENESIS, url("/a?x=1")))
    made.read_again(lambda _host, target: (("product", target + b"!"),))
    made.replace(contents)

    assert made.judge(entry(b"/a?x=1!", born=None)) is DEAD


def test_sizes_are_told_by_mode():
    made = index_of(hard(5, url("/a"), url("/b")), soft(6, prefix("/c")), bounds=Bounds(narrow=1))

    assert made.sizes == {"hard": 1, "soft": 1, "folded": 1}


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [(ALIVE, STALE, STALE), (DEAD, DISTRUSTED, DEAD), (STALE, DISTRUSTED, DISTRUSTED), (ALIVE, ALIVE, ALIVE)],
)
def test_the_worse_of_two_answers_holds(one, other, result):
    assert worse(one, other) is worse(other, one) is result


PATHS = [b"/a", b"/a/b", b"/b", b"/b/c"]
TAGS = [b"x", b"y"]
HOSTS = [b"shop", b"other"]

selectors = st.one_of(
    st.builds(
        lambda path, query: url(path.decode() + query), st.sampled_from(PATHS), st.sampled_from(["", "?q"])
    ),
    st.builds(
        lambda host, path: url(f"http://{host.decode()}{path.decode()}"),
        st.sampled_from(HOSTS),
        st.sampled_from(PATHS),
    ),
    st.sampled_from(
        [prefix("/a"), prefix("/b/"), prefix("http://shop/a"), pattern("/a/*"), pattern("http://other/b/**")]
    ),
    st.sampled_from([tag("x"), tag("y"), route("product"), route("cart"), EVERYTHING]),
)
entries = st.builds(
    lambda path, born, host, name, tags: entry(path, born=born, host=host, route=name, tags=tuple(tags)),
    st.sampled_from(PATHS),
    st.one_of(st.none(), st.builds(position, st.integers(1, 40)), st.just(UNKNOWN)),
    st.sampled_from(HOSTS),
    st.sampled_from(["product", "cart"]),
    st.lists(st.sampled_from(TAGS), unique=True),
)
logs = st.lists(st.tuples(st.lists(selectors, min_size=1, max_size=3), st.booleans()), max_size=20)


def records_of(log):
    return [
        record(position(2 * number), *chosen, soft=is_soft)
        for number, (chosen, is_soft) in enumerate(log, start=1)
    ]


@settings(max_examples=300, deadline=None)
@given(logs, st.lists(entries, max_size=5))
def test_unbounded_it_answers_as_a_list_of_all_records(log, stored):
    records = records_of(log)
    made = index_of(*records)

    assert [made.judge(each) for each in stored] == [
        judge_by_force(records, each, {NONCE}) for each in stored
    ]


@settings(max_examples=300, deadline=None)
@given(logs, entries, st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_bounded_it_never_allows_more(log, stored, narrow, broad, is_reloaded):
    records = records_of(log)
    made = index_of(*records, bounds=Bounds(narrow, broad))
    if is_reloaded:
        made.read_again(keyed)
    exact = judge_by_force(records, stored, {NONCE})
    answer = made.judge(stored)

    assert worse(answer, exact) is answer or (exact is DEAD and answer is DISTRUSTED)
    assert made.sizes["hard"] <= narrow + broad
    assert made.sizes["soft"] <= narrow + broad


@settings(max_examples=300, deadline=None)
@given(logs, entries, st.data())
def test_what_was_checked_on_the_way_changes_no_answer(log, stored, data):
    """`checked` is where a copy was found alive; whoever asks with it gets the answer of one who does not."""
    records = records_of(log)
    made = index_of()
    checked = None
    for each in records:
        made.apply(each)
        if data.draw(st.booleans()) and made.judge(stored, checked) is ALIVE:
            checked = each.position

    assert made.judge(stored, checked) is made.judge(stored)


@settings(max_examples=100, deadline=None)
@given(logs, st.lists(entries, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_applying_changes_no_answer(log, stored, random):
    """Own records are applied ahead of the reader (R6)."""
    records = records_of(log)
    shuffled = records[:]
    random.shuffle(shuffled)
    made = index_of(*shuffled)

    assert [made.judge(each) for each in stored] == [
        judge_by_force(records, each, {NONCE}) for each in stored
    ]
