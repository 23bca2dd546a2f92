"""What happens to the log on a real server: trims, flushes, failovers, kills, silence, lost replies."""

import asyncio
from contextlib import AsyncExitStack

import pytest
import redis

from proxy.model import Validity
from proxy.observe.tasks import spawn
from tests.support.cut_link import CutLink
from tests.support.purging import entry, url
from tests.support.replicas import MAX_UNSYNCED, REPLICAS, STREAM, replica
from tests.support.valkey import running_valkey

ALIVE, DEAD = Validity.ALIVE, Validity.DEAD
DISTRUSTED, UNSYNCED = Validity.DISTRUSTED, Validity.UNSYNCED
A, B = url("/a"), url("/b")


@pytest.fixture
async def pair(server):
    """Two replicas that have read the log."""
    async with replica(server.url) as one, replica(server.url, "two", one.clock) as two:
        await one.sync()
        await two.sync()
        yield one, two


def uids(server):
    return [fields[b"u"].decode() for _, fields in server.ask("XRANGE", STREAM, "-", "+") if fields[b"u"]]


async def test_a_quiet_log_that_is_trimmed_to_one_record_keeps_every_copy(server, pair):
    one, two = pair
    await one.purge(A)
    await two.sync()
    copy = two.hold(two.fetch(b"/x"))
    server.ask("XTRIM", STREAM, "MAXLEN", 1)
    await two.sync()
    await one.purge(B)
    server.ask("XTRIM", STREAM, "MAXLEN", 1)
    await two.sync()

    assert two.log.judge_held(copy) is ALIVE
    assert two.metrics.log_rebuilds.values == {("start",): 1}


async def test_a_replica_that_a_trim_has_passed_distrusts_its_copies(server, pair):
    one, two = pair
    missed, other = two.hold(two.fetch(b"/a")), two.hold(two.fetch(b"/x"))
    await one.purge(A)
    await one.purge(B)
    server.ask("XTRIM", STREAM, "MAXLEN", 1)
    await two.sync()

    assert two.log.judge_held(missed) is DISTRUSTED
    assert two.log.judge_held(other) is DISTRUSTED
    assert two.log.judge_held(two.hold(two.fetch(b"/a"))) is ALIVE


@pytest.mark.parametrize("command", [("DEL", STREAM), ("FLUSHALL",), ("DEL", STREAM, REPLICAS)])
async def test_a_log_that_is_gone_distrusts_all_that_is_older_and_gets_its_purges_back(server, pair, command):
    one, two = pair
    copy, l2 = two.hold(two.fetch(b"/x")), two.fetch(b"/x")[0]
    purge = await one.purge(A)
    await two.sync()
    server.ask(*command)
    # A new log that begins in the millisecond of the old one's last record is only noticed by the first poll.
    await two.sync()
    await two.sync()
    await one.sync()
    published = uids(server)

    assert two.log.judge_held(copy) is DISTRUSTED
    assert two.judge(l2) is DISTRUSTED
    assert two.log.judge_held(two.hold(two.fetch(b"/x"))) is ALIVE
    assert purge.published
    assert len(published) == 1


async def test_a_log_that_was_replaced_behind_a_stopped_reader_and_has_grown_past_it_is_noticed(server, pair):
    one, two = pair
    copy = two.hold(two.fetch(b"/x"))
    server.ask("FLUSHALL")
    async with replica(server.url, "three", one.clock) as three:
        await three.sync()
        for _ in range(5):
            await three.purge(B)
    await two.sync()

    assert two.log.judge_held(copy) is DISTRUSTED
    assert ("gap",) in two.metrics.log_rebuilds.values


async def test_an_id_from_the_future_leaves_the_order_of_records(server, pair):
    one, two = pair
    before = two.hold(two.fetch())
    genesis = server.ask("XREVRANGE", STREAM, "+", "-", "COUNT", 1)[0]
    fields = {**genesis[1], b"p": genesis[0], b"u": b"far", b"t": b'{"urls":["/x"]}'}
    server.ask("XADD", STREAM, "99999999999999-0", *(part for pair in fields.items() for part in pair))
    await two.sync()
    between = two.hold(two.fetch())
    await one.sync()
    await one.purge(A)
    await two.sync()
    after = two.hold(two.fetch())

    assert [two.log.judge_held(copy) for copy in (before, between, after)] == [DEAD, DEAD, ALIVE]


async def test_a_killed_connection_costs_one_try(server, pair):
    one, two = pair
    copy = two.hold(two.fetch())
    await one.purge(A)
    server.ask("CLIENT", "KILL", "TYPE", "normal")
    for _ in range(3):
        await two.log.step()

    assert two.log.judge_held(copy) is DEAD


async def test_a_stopped_server_ends_trust_by_the_last_poll_that_was_sent_before(own_server):
    async with replica(own_server.url, timeout=0.05) as one:
        await one.sync()
        copy = one.back_fill(one.fetch()[0])
        own_server.pause()
        try:
            one.clock.advance(MAX_UNSYNCED - 1)
            await one.log.step()
            before = one.log.judge_held(copy)
            one.clock.advance(1)
            after = one.log.judge_held(copy)
        finally:
            own_server.resume()
        for _ in range(5):
            await one.log.step()

        assert (before, after) == (ALIVE, UNSYNCED)
        assert one.log.judge_held(copy) is ALIVE
        assert one.metrics.unsynced.get() == 1


async def test_a_reply_that_was_lost_is_no_second_purge(server):
    async with CutLink(server.port) as link, replica(link.url, timeout=0.05) as one:
        await one.sync()
        link.delay_seconds = 0.2
        pending = spawn("purge", one.log.append([A], soft=False))
        await asyncio.sleep(0)
        await one.log.step()
        answer = await pending
        link.delay_seconds = 0.0
        await one.sync()

        assert not answer.published
        assert uids(server) == [answer.id]


async def test_a_server_that_is_empty_after_a_restart_is_a_new_log(own_server):
    async with replica(own_server.url) as one:
        await one.sync()
        await one.purge(A)
        old = one.fetch(b"/x")[0]
        own_server.kill()
        failed = await one.log.step()
        own_server.start()
        await one.sync()
        await one.sync()

        assert failed
        assert one.judge(old) is DISTRUSTED
        assert len(uids(own_server)) == 1


async def test_a_purge_by_a_process_that_died_at_once_stays_in_the_log(server, pair):
    one, two = pair
    copy = two.hold(two.fetch())
    async with replica(server.url, "three", one.clock) as three:
        await three.sync()
        await three.purge(A)
    await two.sync()

    assert two.log.judge_held(copy) is DEAD


async def test_a_hundred_thousand_records_are_read_in_pages_before_l2_is_trusted(server):
    async with replica(server.url) as one:
        await one.sync()
        born = one.log.capture().born
        server.ask("EVAL", FILL, 1, STREAM, 100_000)
        async with replica(server.url, "two") as two:
            await two.log.step()
            during = two.judge(entry(b"/x", born=born))
            two.log.start()
            is_read = await two.log.first_read(30.0)
            after = two.judge(entry(b"/x", born=born)), two.judge(entry(b"/999", born=born))
            await two.log.aclose()

    assert is_read
    assert during is DISTRUSTED
    assert after == (ALIVE, DEAD)


FILL = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local id, fields = newest[1], {}
for i = 1, #newest[2], 2 do fields[newest[2][i]] = newest[2][i + 1] end
for i = 1, ARGV[1] do
  id = redis.call('XADD', KEYS[1], '*', 'n', fields.n, 'e', fields.e, 'p', id, 'm', fields.m, 'u', 'u' .. i,
    't', '{"urls":["/' .. i % 1000 .. '"]}')
end
"""


class TestFailover:
    """Two servers, one a replica of the other, and a link that moves from one to the other."""

    @pytest.fixture
    async def servers(self):
        async with AsyncExitStack() as stack:
            at_once = {"repl-diskless-sync-delay": "0"}
            with running_valkey(**at_once) as first, running_valkey(**at_once) as second:
                link = await stack.enter_async_context(CutLink(first.port))
                one = await stack.enter_async_context(replica(link.url))
                two = await stack.enter_async_context(replica(link.url, "two", one.clock))
                await one.sync()
                await two.sync()
                one.clock.advance(1)
                self.follow(second, first)
                yield first, second, link, one, two
                await stack.aclose()

    def follow(self, follower, leader):
        """Replicate, and wait until all of it has arrived."""
        follower.ask("REPLICAOF", "127.0.0.1", leader.port)
        self.catch_up(leader)

    def catch_up(self, leader):
        """Wait until all that was written has arrived: WAIT speaks of what its own connection wrote."""
        with redis.Redis(port=leader.port) as client:
            client.set("mark", "1")
            for _ in range(200):
                if client.wait(1, 100):
                    return
        raise AssertionError("the follower never caught up")

    def move(self, link, to):
        link.move(to.port)

    async def read_on(self, *replicas):
        for each in replicas:
            for _ in range(3):
                await each.log.step()
            await each.sync()

    async def test_a_failover_without_loss_keeps_every_copy(self, servers):
        first, second, link, one, two = servers
        await one.purge(A)
        await two.sync()
        alive = two.hold(two.fetch(b"/x"))
        dead = two.hold(two.fetch(b"/b"))
        epoch = two.log.capture().born.number
        self.catch_up(first)
        second.ask("REPLICAOF", "NO", "ONE")
        self.move(link, second)
        await self.read_on(one, two)
        await one.purge(B)
        await two.sync()

        assert two.log.judge_held(alive) is ALIVE
        assert two.log.judge_held(dead) is DEAD
        assert two.log.capture().born.number == epoch + 1

    async def test_records_that_a_failover_lost_are_appended_again_by_who_applied_them(self, servers):
        _first, second, link, one, two = servers
        copy = two.hold(two.fetch())
        l2 = two.fetch()[0]
        second.ask("REPLICAOF", "NO", "ONE")
        lost = await one.purge(A)
        self.move(link, second)
        await self.read_on(one, two)

        assert lost.published
        assert two.log.judge_held(copy) is DEAD
        assert one.judge(l2) is DEAD
        assert len(uids(second)) == 1

    async def test_a_record_that_several_applied_returns_once(self, servers):
        _first, second, link, one, two = servers
        second.ask("REPLICAOF", "NO", "ONE")
        await one.purge(A)
        await two.sync()
        self.move(link, second)
        for _ in range(6):
            await asyncio.gather(one.log.step(), two.log.step())

        assert len(uids(second)) == 1

    async def test_a_restart_after_a_loss_waits_for_what_may_come_back(self, servers):
        _first, second, link, one, _two = servers
        l2 = one.fetch()[0]
        second.ask("REPLICAOF", "NO", "ONE")
        await one.purge(A)
        self.move(link, second)
        async with replica(link.url, "restarted", one.clock) as restarted:
            await self.read_on(restarted)
            before = restarted.judge(l2)
            await self.read_on(one)
            await restarted.sync()
            after = restarted.judge(l2)

        assert (before, after) == (DISTRUSTED, DEAD)

    async def test_back_and_forth_with_the_middle_epoch_lost(self, servers):
        first, second, link, one, two = servers
        second.ask("REPLICAOF", "NO", "ONE")
        self.move(link, second)
        await self.read_on(one, two)
        born_in_middle = two.fetch(b"/x")[0]
        await one.purge(A)
        await two.sync()
        self.move(link, first)
        await self.read_on(one, two)

        assert two.judge(born_in_middle) is DISTRUSTED
        assert len(uids(first)) == 1
        assert two.judge(two.fetch()[0]) is ALIVE
