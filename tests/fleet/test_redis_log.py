import asyncio

import pytest

from proxy.fleet import redis_log
from proxy.fleet.log import Appended, LogFailure, Registration, Roll
from proxy.fleet.redis_log import POLL_SECONDS, RETRY_SECONDS
from proxy.model import Validity
from proxy.observe.tasks import running, spawn
from tests.support.cut_link import CutLink
from tests.support.purging import entry, position, tag, url
from tests.support.replicas import MAX_UNSYNCED, REPLICAS, STREAM, SteppedClock, replica
from tests.support.streams import Stream
from tests.support.valkey import free_port

ALIVE, STALE, DEAD, DISTRUSTED = Validity.ALIVE, Validity.STALE, Validity.DEAD, Validity.DISTRUSTED
A, B = url("/a"), url("/b")
NOWHERE = "redis://127.0.0.1"


class ListServer:
    """A log that is a list: answers at once, fails when told to."""

    def __init__(self):
        self.stream = Stream()
        self.stream.now_ms += 3_600_000
        self.replicas = {}
        self.known = 1
        self.most = 500
        self.is_down = False
        self.calls = []

    async def poll(self, after, registration):
        self.calls.append("poll")
        if self.is_down:
            return LogFailure("down")
        return self.stream.page(after, most=self.most, known=self.known)

    async def append(self, drafts, *, after, at=(), roll_call=False):
        self.calls.append("append")
        if self.is_down:
            return LogFailure("down")
        placed = {record.uid: record.position for record in self.stream.records if record and record.uid}
        for draft in drafts:
            if draft.uid not in placed:
                record = self.stream.append(*draft.selectors, uid=draft.uid, soft=draft.soft)
                placed[draft.uid] = record.position
        positions = tuple(placed[draft.uid] for draft in drafts)
        return Roll(positions, dict(self.replicas) if roll_call else {}, self.known, self.stream.tail)

    async def forget(self, name, registration):
        if self.replicas.get(name) == registration:
            del self.replicas[name]

    async def leave(self):
        self.calls.append("leave")


@pytest.fixture
async def alone():
    """A replica of a log that is a list."""
    async with replica(NOWHERE, server=ListServer()) as made:
        made.list = made.log._server
        yield made


async def test_a_purge_reaches_the_other_replica_and_is_applied_here_when_it_is_answered(server):
    async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
        await one.sync()
        await two.sync()
        here, there = one.hold(one.fetch()), two.hold(two.fetch())
        answer = await one.purge(A)
        before = one.log.judge_held(here), two.log.judge_held(there)
        await two.sync()

        assert answer.published
        assert answer.known == 2
        assert server.ask("XRANGE", STREAM, answer.id, answer.id)[0][1][b"u"]
        assert before == (DEAD, ALIVE)
        assert two.log.judge_held(there) is DEAD


async def test_a_soft_invalidation_reaches_the_other_replica(server):
    async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
        await one.sync()
        await two.sync()
        there = two.hold(two.fetch())
        await one.purge(A, soft=True)
        await two.sync()

        assert two.log.judge_held(there) is STALE


async def test_many_selectors_are_one_call_and_several_records(server):
    async with replica(server.url) as one:
        await one.sync()
        answer = await one.purge(*(url("/" + "x" * 8_000 + str(number)) for number in range(9)))

        assert server.ask("XLEN", STREAM) == 4
        assert answer.id.encode() == server.ask("XREVRANGE", STREAM, "+", "-", "COUNT", 1)[0][0]


async def test_without_a_server_a_purge_is_applied_here_and_kept_under_its_uid(server):
    async with CutLink(server.port) as link, replica(link.url) as one, replica(server.url, "two") as two:
        await one.sync()
        await two.sync()
        here, there = one.hold(one.fetch()), two.hold(two.fetch())
        link.cut()
        answer = await one.purge(A)
        judged = one.log.judge_held(here)
        link.restore()
        await one.sync()
        await two.sync()
        uids = [fields[b"u"].decode() for _, fields in server.ask("XRANGE", STREAM, "-", "+")]

        assert answer == Appended(answer.id, published=False, known=1, acknowledged=1)
        assert judged is DEAD
        assert two.log.judge_held(there) is DEAD
        assert uids == ["", answer.id]
        assert one.metrics.log_errors.values == {("append",): 1}


async def test_what_is_fetched_while_the_server_is_away_stays_usable(alone):
    await alone.sync()
    alone.list.is_down = True
    await alone.purge(A)
    alone.clock.advance(1)
    later = alone.hold(alone.fetch())

    assert alone.log.judge_held(later) is ALIVE


async def test_a_purge_before_the_first_read_is_published_after_it(alone):
    answer = await alone.purge(A)

    assert answer.published
    assert alone.list.calls[:2] == ["poll", "append"]


@pytest.mark.parametrize(("dice", "pause"), [(0.0, POLL_SECONDS / 2), (0.5, POLL_SECONDS * 0.75)])
async def test_polls_are_spread(dice, pause):
    async with replica(NOWHERE, server=ListServer(), dice=lambda: dice) as one:
        assert await one.log.step() == pytest.approx(pause)


@pytest.mark.parametrize(("known", "pause"), [(450, POLL_SECONDS), (1_000, 0.2), (10_000, 2.0)])
async def test_a_large_fleet_polls_less_often(alone, known, pause):
    alone.list.known = known

    assert await alone.log.step() == pytest.approx(pause)


async def test_what_is_left_is_read_at_once(alone):
    alone.list.most = 1
    alone.list.stream.append(A)

    assert await alone.log.step() == 0.0
    assert await alone.log.step() == POLL_SECONDS


async def test_a_server_that_answers_nothing_is_not_asked_in_a_tight_loop(alone):
    alone.list.most = 0

    assert await alone.log.step() == POLL_SECONDS


async def test_tries_come_less_often_but_never_more_than_a_quarter_second_apart(alone):
    await alone.log.step()
    alone.list.is_down = True
    pauses = [await alone.log.step() for _ in range(12)]
    alone.list.is_down = False
    await alone.log.step()
    alone.list.is_down = True
    after_success = await alone.log.step()

    assert pauses == pytest.approx([0.05, 0.1, 0.2] + [RETRY_SECONDS] * 9)
    assert after_success == 0.05
    assert alone.metrics.log_errors.get("poll") == 13


async def test_after_an_outage_the_log_is_read_before_anything_is_appended(alone):
    await alone.sync()
    alone.list.is_down = True
    await alone.purge(A)
    alone.list.is_down = False
    alone.list.calls.clear()
    first_pause = await alone.log.step()
    await alone.log.step()

    assert first_pause == 0.0
    assert alone.list.calls == ["poll", "append", "poll"]


async def test_unsafe_requests_share_a_record_within_the_pace(alone):
    await alone.sync()
    for _ in range(50):
        alone.log.purge_soon([A])
        alone.log.purge_soon([B])
    await alone.sync()
    alone.log.purge_soon([A])
    await alone.log.step()
    first = len(alone.list.stream.records)
    alone.clock.advance(0.1)
    await alone.log.step()

    assert first == 2
    assert len(alone.list.stream.records) == 3
    assert alone.list.stream.records[1].selectors == (A, B)


async def test_gauges_tell_trust_and_sizes(alone):
    before = alone.metrics.gauges["log_trusted"]()
    await alone.sync()
    await alone.purge(A, tag("x"))

    assert (before, alone.metrics.gauges["log_trusted"]()) == ({(): 0.0}, {(): 1.0})
    assert alone.log.is_synced
    assert alone.metrics.gauges["log_records"]() == {("hard",): 2.0, ("soft",): 0.0, ("folded",): 0.0}
    assert repr(alone.log).startswith("<RedisLog <LogCopy at Position(")


class TestWait:
    """R19: what the answer of `?wait` says."""

    @pytest.fixture(autouse=True)
    def _no_pauses(self, monkeypatch):
        monkeypatch.setattr(redis_log, "ACKNOWLEDGE_SECONDS", 0)

    async def answer(self, publisher, *others, wait=5.0, tick=0.05, on_tick=lambda: None):
        """Append and wait; meanwhile all named replicas poll, and time passes."""
        pending = spawn("purge", publisher.log.append([A], soft=False, wait=wait))
        while not pending.done():
            on_tick()
            for each in (publisher, *others):
                await each.log.step()
            publisher.clock.advance(tick)
        return await pending

    async def test_all_that_are_registered_have_applied_it(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await one.sync()
            await two.sync()
            one.clock.advance(MAX_UNSYNCED)
            there = two.hold(two.fetch())
            answer = await self.answer(one, two)

            assert (answer.known, answer.acknowledged, answer.missing) == (2, 2, ())
            assert answer.complete
            assert two.log.judge_held(there) is DEAD

    async def test_a_publisher_that_does_not_know_the_epoch_for_long_cannot_be_sure(self, server):
        async with replica(server.url) as one:
            await one.sync()
            answer = await self.answer(one, wait=1.0)

            assert (answer.known, answer.acknowledged, answer.complete) == (1, 1, False)

    async def test_the_silent_are_named(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await two.sync()
            await one.sync()
            one.clock.advance(MAX_UNSYNCED)
            answer = await self.answer(one, wait=1.0)

            assert (answer.known, answer.acknowledged, answer.missing) == (2, 1, ("two",))
            assert not answer.complete

    async def test_a_replica_that_only_registered_before_applying_has_not_acknowledged(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await one.sync()
            one.clock.advance(MAX_UNSYNCED)
            await two.server.poll(None, Registration(None, 1).encode())
            answer = await self.answer(one, wait=1.0)

            assert answer.missing == ("two",)

    async def test_once_every_silent_replica_has_lost_its_trust_all_obey(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await two.sync()
            await one.sync()
            answer = await self.answer(one, wait=2 * MAX_UNSYNCED, tick=1.0)

            assert answer.missing == ("two",)
            assert answer.complete
            assert not two.log.is_synced

    async def test_who_joins_after_the_append_reads_it_and_is_not_waited_for_long(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await one.sync()
            one.clock.advance(MAX_UNSYNCED)
            answer = await self.answer(one, two)

            assert (answer.known, answer.missing) == (2, ())

    async def test_a_restart_under_the_same_name_acknowledges_nothing_it_has_not_read(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await one.sync()
            await two.sync()
            async with replica(server.url, "two", one.clock) as restarted:
                await restarted.server.poll(None, Registration(None, 1).encode())
                one.clock.advance(MAX_UNSYNCED)
                answer = await self.answer(one, wait=1.0)
                distrusted = restarted.judge(one.fetch()[0])

            assert answer.missing == ("two",)
            assert distrusted is DISTRUSTED

    async def test_a_flush_while_waiting_appends_again_and_starts_the_clock_anew(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await two.sync()
            await one.sync()
            waited = iter(range(1_000))

            def flush_late():
                if next(waited) == 20:
                    server.ask("FLUSHALL")

            began_at = one.clock.now
            answer = await self.answer(one, wait=3 * MAX_UNSYNCED, tick=1.0, on_tick=flush_late)
            uids = [fields[b"u"] for _, fields in server.ask("XRANGE", STREAM, "-", "+")]

            assert answer.complete
            assert one.clock.now - began_at >= MAX_UNSYNCED + 19
            assert len([uid for uid in uids if uid]) == 1
            assert server.ask("XRANGE", STREAM, answer.id, answer.id)

    async def test_an_epoch_that_begins_while_waiting_has_nobody_to_count_before_it_was_read(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await two.sync()
            await one.sync()
            one.clock.advance(MAX_UNSYNCED)
            pending = await self.waiting(one, wait=1.0)
            server.ask("FLUSHALL")
            answer = await self.ended(one, pending)

            assert (answer.published, answer.missing, answer.complete) == (True, (), False)

    async def test_a_deposed_master_tells_nobody_that_all_obey(self, own_server):
        async with replica(own_server.url) as one, replica(own_server.url, "two", one.clock) as two:
            await two.sync()
            await one.sync()
            pending = await self.waiting(one, wait=2 * MAX_UNSYNCED)
            own_server.ask("CONFIG", "SET", "min-replicas-to-write", 1)
            answer = await self.ended(one, pending, tick=1.0)

            assert (answer.published, answer.complete) == (True, False)
            assert one.metrics.log_errors.get("roll-call")

    async def test_however_long_the_server_is_away_nobody_knows_that_all_obey(self, alone):
        await alone.sync()
        pending = await self.waiting(alone, wait=2 * MAX_UNSYNCED)
        alone.list.is_down = True
        answer = await self.ended(alone, pending, tick=1.0)

        assert (answer.published, answer.complete) == (True, False)

    async def waiting(self, publisher, *, wait):
        """A purge that was published, and waits to be acknowledged."""
        pending = spawn("purge", publisher.log.append([A], soft=False, wait=wait))
        await asyncio.sleep(0)
        await publisher.sync()
        return pending

    async def ended(self, publisher, pending, *, tick=0.05):
        """Its answer, while nobody polls."""
        while not pending.done():
            publisher.clock.advance(tick)
            await asyncio.sleep(0.001)
        return await pending

    async def test_a_server_that_is_lost_while_waiting_leaves_what_is_known(self, alone):
        await alone.sync()
        pending = spawn("purge", alone.log.append([A], soft=False, wait=1.0))
        await asyncio.sleep(0)
        await alone.sync()
        alone.list.is_down = True
        while not pending.done():
            alone.clock.advance(0.1)
            await asyncio.sleep(0)
        answer = await pending

        assert answer.published
        assert not answer.complete
        assert alone.metrics.log_errors.get("roll-call")


class TestTask:
    """The task that runs in production."""

    async def test_the_log_is_ready_once_it_was_read(self, server):
        async with replica(server.url) as one:
            one.log.start()
            is_read = await one.log.first_read(5.0)
            synced = one.log.is_synced
            await one.log.aclose()

            assert is_read
            assert synced
            assert not running()

    async def test_without_a_server_the_wait_ends_and_the_tries_go_on(self):
        async with replica(f"redis://127.0.0.1:{free_port()}") as one:
            one.log.start()
            is_read = await one.log.first_read(0.01)
            answer = await one.log.append([A], soft=False)
            await one.log.aclose()

            assert not is_read
            assert not answer.published
            assert not running()

    async def test_an_append_wakes_the_task(self, server, monkeypatch):
        monkeypatch.setattr(redis_log, "POLL_SECONDS", 3600.0)
        async with replica(server.url) as one:
            one.log.start()
            await one.log.first_read(5.0)
            answer = await one.log.append([A], soft=False)
            await one.log.aclose()

            assert answer.published

    async def test_an_unsafe_request_wakes_the_task(self, server, monkeypatch):
        monkeypatch.setattr(redis_log, "POLL_SECONDS", 3600.0)
        async with replica(server.url) as one:
            one.log.start()
            await one.log.first_read(5.0)
            one.log.purge_soon([A])
            await one.log.append([B], soft=False)
            await one.log.aclose()

            assert server.ask("XLEN", STREAM) == 3

    async def test_an_entry_of_an_unknown_epoch_wakes_the_task_but_not_again_and_again(self, monkeypatch):
        monkeypatch.setattr(redis_log, "POLL_SECONDS", 3600.0)
        async with replica(NOWHERE, server=ListServer()) as one:
            one.log.start()
            await one.log.first_read(5.0)
            calls = one.log._server.calls
            unknown, _ = one.fetch()
            unknown = unknown.but(born=position(9, number=2, nonce=0xBEEF))
            for _ in range(3):
                one.judge(unknown)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            too_soon = calls.count("poll")
            one.clock.advance(0.02)
            one.judge(unknown)
            for _ in range(5):
                await asyncio.sleep(0)
            in_time = calls.count("poll")
            await one.log.aclose()

            assert (too_soon, in_time) == (1, 2)

    async def test_the_end_publishes_what_waits_and_deregisters(self, server):
        async with replica(server.url) as one:
            one.log.start()
            await one.log.first_read(5.0)
            one.clock.advance(1)
            one.log.purge_soon([A])
            registered = server.ask("HLEN", REPLICAS)
            await one.log.aclose()

            assert registered == 1
            assert server.ask("HLEN", REPLICAS) == 0
            assert server.ask("XLEN", STREAM) == 2

    async def test_a_log_that_was_never_started_can_be_closed(self, alone):
        await alone.log.aclose()

        assert alone.list.calls == []

    async def test_the_dead_are_forgotten_by_our_own_clock(self, server, monkeypatch):
        monkeypatch.setattr(redis_log, "POLL_SECONDS", 0.001)
        async with replica(server.url) as one, replica(server.url, "dead", one.clock) as dead:
            await dead.sync()
            one.log.start()
            await one.log.first_read(5.0)
            known = []
            for _ in range(5):
                one.clock.advance(MAX_UNSYNCED + 1)
                await _polls(server, 10)
                known.append(server.ask("HLEN", REPLICAS))
            await one.log.aclose()

            assert known[0] == 2
            assert known[-1] == 1

    async def test_a_census_that_fails_is_counted_and_taken_again(self, alone, monkeypatch):
        monkeypatch.setattr(redis_log, "POLL_SECONDS", 0.0)
        await alone.log.step()
        alone.list.is_down = True
        await alone.log._take_census()
        alone.list.is_down = False
        alone.list.replicas = {"dead": "r"}
        await alone.log._take_census()
        alone.clock.advance(2 * MAX_UNSYNCED + 1)
        await alone.log._take_census()

        assert alone.metrics.log_errors.get("roll-call") == 1
        assert alone.list.replicas == {}


async def _polls(server, more):
    """Wait until the server has run so many more scripts."""
    wanted = server.calls("evalsha") + more
    async with asyncio.timeout(5):
        while server.calls("evalsha") < wanted:  # noqa: ASYNC110 - the server cannot wake us
            await asyncio.sleep(0.002)


async def test_the_clock_is_given(server):
    clock = SteppedClock(5.0)
    async with replica(server.url, clock=clock) as one:
        await one.sync()
        clock.advance(MAX_UNSYNCED)

        assert not one.log.is_synced


async def superseding(one, *selectors, since=None, heir=None):
    """Begin, and let the first step of it happen."""
    since = since or one.log.capture()
    pending = spawn("supersede", one.log.supersede(selectors, heir=heir or entry(), since=since))
    await asyncio.sleep(0)
    return pending


class TestSuperseding:
    """Content that comes with the answer to an unsafe request, on a real server."""

    @pytest.fixture
    async def pair(self, server):
        async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
            await one.sync()
            await two.sync()
            yield one, two

    async def test_an_heir_is_born_after_its_own_purge_everywhere(self, pair):
        one, two = pair
        before = one.fetch()[0]
        pending = await superseding(one, A)
        await one.sync()
        capture = await pending
        await two.sync()
        content = entry(born=capture.born)

        assert (one.judge(before), two.judge(before)) == (DEAD, DEAD)
        assert (one.judge(content), two.judge(content)) == (ALIVE, ALIVE)

    async def test_the_purge_is_applied_here_before_anybody_waits(self, pair):
        one, _ = pair
        before = one.fetch()
        succession = one.log.supersede([A], heir=entry(), since=one.log.capture())

        assert one.log.judge(before[0], began_at=before[1]) is DEAD

        pending = spawn("supersede", succession)
        await asyncio.sleep(0)
        await one.sync()
        assert await pending is not None

    @pytest.mark.parametrize(("selector", "has_heir"), [(A, False), (tag("t"), False), (B, True)])
    async def test_a_purge_that_another_replica_appended_in_between_counts(self, pair, selector, has_heir):
        one, two = pair
        since = one.log.capture()
        await two.purge(selector)
        pending = await superseding(one, A, since=since, heir=entry(tags=(b"t",)))
        await one.sync()

        assert (await pending is not None) is has_heir

    @pytest.mark.parametrize(("selector", "has_heir"), [(A, False), (B, True)])
    async def test_a_purge_that_was_read_before_the_answer_counts(self, pair, selector, has_heir):
        one, two = pair
        since = one.log.capture()
        await two.purge(selector)
        await one.sync()
        pending = await superseding(one, A, since=since)
        await one.sync()

        assert (await pending is not None) is has_heir

    @pytest.mark.parametrize(("selector", "has_heir"), [(A, False), (B, True)])
    async def test_a_purge_of_our_own_meanwhile_counts(self, pair, selector, has_heir):
        one, _ = pair
        pending = await superseding(one, A)
        one.log.purge_soon([selector])
        await one.sync()

        assert (await pending is not None) is has_heir

    async def test_a_purge_behind_our_own_is_newer_than_the_heir(self, pair):
        one, two = pair
        pending = await superseding(one, A)
        await one.log.step()
        await two.purge(A)
        await one.sync()
        capture = await pending
        await one.sync()

        assert capture is None or one.judge(entry(born=capture.born)) is DEAD

    async def test_an_heir_is_alive_though_older_purges_of_ours_wait(self, pair):
        one, _ = pair
        one.log.purge_soon([B])
        await one.sync()
        since = one.log.capture()
        one.clock.advance(0.01)
        one.log.purge_soon([B])  # paced: not published before another tenth of a second
        one.clock.advance(0.01)
        pending = await superseding(one, A, since=since)
        await one.sync()
        capture = await pending
        content = entry(born=capture.born)
        newer = one.log.judge(content, began_at=capture.began_at)
        one.clock.advance(0.01)
        one.log.purge_soon([A])

        assert newer is ALIVE
        assert one.log.judge(content, began_at=capture.began_at) is DEAD

    async def test_a_log_that_was_read_anew_meanwhile_has_no_heir(self, server, pair):
        one, _ = pair
        pending = await superseding(one, A)
        server.ask("FLUSHALL")
        await one.sync()
        await one.sync()
        one.clock.advance(redis_log.PUBLISH_SECONDS)

        assert await pending is None

    async def test_without_the_server_there_is_no_heir(self, alone, monkeypatch):
        await alone.sync()
        alone.list.is_down = True
        monkeypatch.setattr(redis_log, "PUBLISH_SECONDS", 0.01)

        assert await (await superseding(alone, A)) is None

    async def test_what_is_never_read_has_no_heir(self, alone):
        await alone.sync()
        pending = await superseding(alone, A)
        alone.list.most = 0
        await alone.log.step()
        for _ in range(5):
            await asyncio.sleep(0)
        alone.clock.advance(redis_log.PUBLISH_SECONDS)

        assert await pending is None
