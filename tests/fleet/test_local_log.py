import pytest

from proxy.fleet.local_log import LocalLog
from proxy.fleet.log import Appended
from proxy.model import Held, Validity, VaryRecord
from proxy.observe.metrics import Metrics
from tests.support.purging import entry, keyed, tag, url
from tests.support.replicas import SteppedClock

ALIVE, STALE, DEAD, DISTRUSTED = Validity.ALIVE, Validity.STALE, Validity.DEAD, Validity.DISTRUSTED


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def log(metrics):
    return LocalLog(keyed=keyed, nonce=7, metrics=metrics, clock=SteppedClock(1_000.0))


def held(log):
    return Held(entry(born=log.capture().born), 1, 0.0)


async def test_a_fetch_that_began_before_the_purge_is_dead_and_one_after_it_is_not(log):
    before = entry(born=log.capture().born)
    await log.append([url("/a")], soft=False)
    after = entry(born=log.capture().born)

    assert log.judge(before) is DEAD
    assert log.judge(before, began_at=1_000.0) is DEAD
    assert log.judge(after) is ALIVE


async def test_a_soft_invalidation_makes_stale_and_never_hides_a_purge(log):
    copy = held(log)
    await log.append([url("/a")], soft=True)
    stale = log.judge_held(copy)
    await log.append([url("/a")], soft=False)
    await log.append([url("/a")], soft=True)

    assert stale is STALE
    assert log.judge_held(copy) is DEAD


async def test_a_copy_is_judged_once_for_each_change(log):
    copy = held(log)
    first = log.judge_held(copy)
    version = copy.version
    assert log.is_current(copy)
    again = log.judge_held(copy)
    await log.append([url("/b")], soft=False)
    assert not log.is_current(copy)
    after = log.judge_held(copy)

    assert [first, again, after] == [ALIVE] * 3
    assert copy.version == version + 1
    assert copy.checked == log.capture().born


async def test_what_was_checked_under_other_routes_is_judged_anew(log):
    copy = Held(entry(b"/a?x!", born=log.capture().born), 1, 0.0)
    await log.append([url("/a?x")], soft=False)
    before = log.judge_held(copy)
    log.read_again(lambda _host, target: (("product", target + b"!"),))

    assert before is ALIVE
    assert log.judge_held(copy) is DEAD


async def test_vary_records_are_alive(log):
    await log.append([url("/a")], soft=False)

    assert log.judge_held(Held(VaryRecord((), (), 0.0), 1, 0.0)) is ALIVE


async def test_an_unsafe_request_purges_at_once_each_time(log):
    copies = []
    for _ in range(3):
        copies.append(held(log))
        log.purge_soon([url("/a")])

    assert [log.judge_held(copy) for copy in copies] == [DEAD] * 3


async def test_entries_of_another_process_are_distrusted(log):
    assert log.judge(entry()) is DISTRUSTED


async def test_the_answer_says_that_this_process_is_alone(log):
    answer = await log.append([url("/a")], soft=False, wait=5.0)

    assert answer == Appended("1", published=True, known=1, acknowledged=1, missing=(), complete=True)


async def test_nothing_has_to_be_started_or_waited_for(log):
    log.start()
    is_read = await log.first_read(0.0)
    await log.aclose()

    assert is_read
    assert log.is_synced


async def test_selectors_are_counted_by_kind_and_mode(log, metrics):
    await log.append([url("/a"), url("/b"), tag("x")], soft=False)
    await log.append([tag("x")], soft=True)

    assert metrics.invalidations.values == {("urls", "hard"): 2, ("tags", "hard"): 1, ("tags", "soft"): 1}
    assert metrics.gauges["log_records"]() == {("hard",): 3.0, ("soft",): 1.0, ("folded",): 0.0}
    assert metrics.gauges["log_trusted"]() == {(): 1.0}
    assert repr(log) == "<LocalLog at 2 {'hard': 3, 'soft': 1, 'folded': 0}>"


async def test_an_heir_is_born_after_the_purge_that_makes_room(log):
    before = entry(born=log.capture().born)
    capture = await log.supersede([url("/a")], heir=entry(), since=log.capture())

    assert log.judge(before) is DEAD
    assert log.judge(entry(born=capture.born)) is ALIVE


async def test_the_purge_that_makes_room_is_applied_before_anybody_waits(log):
    before = entry(born=log.capture().born)
    succession = log.supersede([url("/a")], heir=entry(), since=log.capture())

    assert log.judge(before) is DEAD
    assert await succession is not None


@pytest.mark.parametrize(("selector", "has_heir"), [(url("/a"), False), (tag("t"), False), (url("/b"), True)])
async def test_what_another_purge_concerned_has_no_heir(log, selector, has_heir):
    since = log.capture()
    await log.append([selector], soft=True)
    before = entry(born=log.capture().born)
    capture = await log.supersede([url("/a")], heir=entry(tags=(b"t",)), since=since)

    assert (capture is not None) is has_heir
    assert log.judge(before) is DEAD
