import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from proxy.fleet.log import Draft, LogFailure, Page, Registration
from proxy.fleet.log_server import SURVEY_RECORDS, RedisLogServer, Retention, record_of
from proxy.model import Position
from proxy.policy.invalidation import EVERYTHING, Record
from proxy.store.redis_client import connect
from proxy.store.redis_servers import PerServer
from proxy.store.redis_topology import OneServer
from tests.support.cut_link import CutLink
from tests.support.purging import tag, url
from tests.support.replicas import NAMESPACE, REPLICAS, STREAM
from tests.support.valkey import free_port

A = Draft("u1", (url("/a"), tag("é")), soft=True)
B = Draft("u2", (url("/b"),), soft=False)


RIGHTS = (
    "+@connection +evalsha +eval +info +time +xadd +xrange +xrevrange +xtrim"
    " +hset +hget +hgetall +hlen +hexists +hdel"
)
"""As docs/invalidation.md tells operators."""


@pytest.fixture
async def connected():
    clients = []

    def make(link, *, deadline_seconds=2.0, timeout=2.0, **options):
        servers = PerServer(OneServer(link), lambda url: connect(url, timeout=timeout))
        clients.append(servers)
        given_options = {"namespace": NAMESPACE, "name": "one", "nonce": lambda: 0xAB, **options}
        return RedisLogServer(servers, deadline_seconds=deadline_seconds, **given_options)

    yield make
    for client in clients:
        await client.aclose()


def ms_seq(position):
    return position.ms, position.seq


async def test_what_is_appended_is_read(server, connected):
    log = connected(server.url)
    roll = await log.append([A, B], after=None)
    page = await log.poll(None, "r")
    genesis, first, second = page.records

    assert [record.position for record in (first, second)] == list(roll.positions)
    assert (first.uid, first.selectors, first.soft) == ("u1", A.selectors, True)
    assert (second.uid, second.selectors, second.soft) == ("u2", B.selectors, False)
    assert first.predecessor == ms_seq(genesis.position)
    assert genesis.selectors == ()
    assert (page.tail, page.last) == (roll.positions[1], ms_seq(roll.positions[1]))
    assert (genesis.position.number, genesis.position.nonce) == (1, 0xAB)
    assert abs(page.server_ms - genesis.position.ms) < 60_000
    assert page.known == 1


async def test_only_what_follows_is_read(server, connected):
    log = connected(server.url)
    roll = await log.append([A, B], after=None)
    page = await log.poll(ms_seq(roll.positions[1]), "r")

    assert page.records == []
    assert page.last is None


async def test_a_draft_is_appended_once(server, connected):
    log = connected(server.url)
    (genesis, *_) = (await log.poll(None, "r")).records
    first = await log.append([A], after=ms_seq(genesis.position))
    behind = await log.append([A, B], after=ms_seq(genesis.position))
    at_place = await log.append([A, B], after=None, at=behind.positions)

    assert behind.positions[0] == first.positions[0]
    assert at_place == behind
    assert server.ask("XLEN", STREAM) == 3


async def test_a_roll_call_gives_registrations(server, connected):
    one, two = connected(server.url), connected(server.url, name="zwei é")
    await one.poll(None, "r1")
    await two.poll(None, "r2")
    roll = await one.append((), after=None, roll_call=True)

    assert roll[:3] == ((), dict(roll.replicas), 2)
    assert {name: text.split(" ")[0] for name, text in roll.replicas.items()} == {"one": "r1", "zwei é": "r2"}
    assert roll.tail == (await one.poll(None, "r3")).tail


async def test_registrations_end_by_leaving_and_by_being_forgotten(server, connected):
    one, two = connected(server.url), connected(server.url, name="two")
    await one.poll(None, "r1")
    await two.poll(None, "r2")
    stored = server.ask("HGET", REPLICAS, "two").decode()
    answers = [await one.forget("two", "other"), await one.forget("two", stored), await one.leave()]

    assert answers == [None, None, None]
    assert server.ask("HLEN", REPLICAS) == 0


async def test_a_survey_tells_who_is_registered_and_what_they_lack(server, connected):
    log = connected(server.url)
    roll = await log.append([A, B], after=None)
    (genesis, *_) = (await log.poll(None, "r")).records
    await log.poll(None, Registration(genesis.position, 1).encode())
    survey = await log.survey()
    said = Registration.decode(survey.replicas["one"])

    assert survey.newest == (ms_seq(roll.positions[1]), ms_seq(roll.positions[0]))
    assert (survey.tail, survey.most) == (roll.positions[1], SURVEY_RECORDS)
    assert (said.position, said.beat) == (genesis.position, 1)
    assert 0 <= survey.server_ms - said.polled_ms < 5_000


async def test_a_survey_of_an_empty_server_finds_nobody(server, connected):
    survey = await connected(server.url).survey()

    assert (survey.replicas, survey.newest, survey.tail) == ({}, (), None)


async def test_the_log_is_kept_as_long_as_it_was_said(server, connected):
    server.ask("CONFIG", "SET", "stream-node-max-entries", "1")
    log = connected(server.url, retention=Retention(seconds=3600.0, most_records=2))
    await log.append([A, B, Draft("u3", (EVERYTHING,), soft=False)], after=None)
    server.ask("CONFIG", "SET", "stream-node-max-entries", "100")
    page = await log.poll(None, "r")

    assert [record.uid for record in page.records] == ["u2", "u3"]


def test_both_keys_are_in_one_slot_of_a_cluster():
    assert key_slot(STREAM.encode()) == key_slot(REPLICAS.encode())


async def test_a_server_that_forgot_the_scripts_is_told_them_again(server, connected):
    log = connected(server.url)
    await log.poll(None, "r")
    server.ask("SCRIPT", "FLUSH")
    again = await log.poll(None, "r")
    server.ask("CONFIG", "RESETSTAT")
    await log.poll(None, "r")

    assert isinstance(again, Page)
    assert server.calls("evalsha") == 1
    assert server.calls("eval") == 0


async def test_a_user_with_the_documented_rights_can_do_all_of_it(server, connected):
    server.ask("ACL", "SETUSER", "cache", "on", ">pw", f"~{STREAM}", f"~{REPLICAS}", *RIGHTS.split())
    log = connected(server.url.replace("//", "//cache:pw@"))
    answers = [
        await log.append([A], after=(0, 0), roll_call=True),
        await log.poll(None, "r"),
        await log.survey(),
        await log.forget("x", "y"),
        await log.leave(),
    ]
    server.ask("ACL", "DELUSER", "cache")

    assert not [answer for answer in answers if isinstance(answer, LogFailure)]


async def test_a_user_without_rights_is_a_failure_that_says_so(server, connected):
    server.ask("ACL", "SETUSER", "none", "on", ">pw", "~*", "+@connection", "+eval", "+evalsha")
    failure = await connected(server.url.replace("//", "//none:pw@")).poll(None, "r")
    server.ask("ACL", "DELUSER", "none")

    assert isinstance(failure, LogFailure)
    assert "permission" in failure.detail or "NOPERM" in failure.detail


async def test_another_type_of_value_at_our_key_is_a_failure(server, connected):
    server.ask("SET", STREAM, "x")
    failure = await connected(server.url).append([A], after=None)

    assert isinstance(failure, LogFailure)
    assert "WRONGTYPE" in failure.detail


async def test_a_server_that_is_not_there_is_a_failure(connected):
    log = connected(f"redis://127.0.0.1:{free_port()}")
    failures = [
        await log.poll(None, "r"),
        await log.append([A], after=None),
        await log.survey(),
        await log.forget("x", "y"),
        await log.leave(),
    ]

    assert all(isinstance(failure, LogFailure) and failure.detail for failure in failures)


async def test_a_silent_link_ends_at_the_deadline(server, connected):
    async with CutLink(server.port) as link:
        link.stall()
        failure = await connected(link.url, deadline_seconds=0.05, timeout=30.0).poll(None, "r")

        looked = await connected(link.url, deadline_seconds=0.05, timeout=30.0).survey()

    assert failure == looked == LogFailure("TimeoutError")


async def test_a_reply_of_another_form_is_a_failure(server, connected, monkeypatch):
    log = connected(server.url)
    monkeypatch.setattr("proxy.fleet.log_server._POLL._text", "return 7")
    monkeypatch.setattr("proxy.fleet.log_server._POLL._digest", "0" * 40)
    failure = await log.poll(None, "r")

    assert failure.detail.startswith("a reply that no script of ours gives")


SOUND = {b"n": b"2", b"e": b"ff", b"p": b"4-1", b"u": b"uid", b"t": b'{"urls":["/a"]}'}


def flat(fields):
    return [part for pair in fields.items() for part in pair]


def test_an_entry_is_a_record():
    assert record_of(b"5-6", flat(SOUND)) == Record(Position(2, 5, 6, 0xFF), (4, 1), "uid", (url("/a"),))


@pytest.mark.parametrize(
    "changes",
    [
        {b"n": b"x"},
        {b"n": b"0"},
        {b"n": b"-1"},
        {b"n": b"9007199254740993"},
        {b"e": b"zz"},
        {b"e": b"-1"},
        {b"e": b"1" + b"0" * 16},
        {b"p": b"4"},
        {b"p": b""},
        {b"u": b"\xff"},
    ],
)
def test_an_entry_with_a_faulty_field_is_none(changes):
    assert record_of(b"5-6", flat({**SOUND, **changes})) is None


@pytest.mark.parametrize("name", [b"n", b"e", b"p", b"u"])
def test_an_entry_without_a_field_is_none(name):
    assert record_of(b"5-6", flat({key: value for key, value in SOUND.items() if key != name})) is None


@pytest.mark.parametrize(
    ("text", "selectors"), [(b"", ()), (None, ()), (b"{", (EVERYTHING,)), (b'{"cookies":[]}', (EVERYTHING,))]
)
def test_a_text_that_cannot_be_read_selects_everything(text, selectors):
    fields = {key: value for key, value in {**SOUND, b"t": text}.items() if value is not None}

    assert record_of(b"5-6", flat(fields)).selectors == selectors


@given(st.lists(st.tuples(st.sampled_from([*SOUND]) | st.binary(), st.binary())))
def test_any_entry_is_a_record_or_none(pairs):
    record_of(b"5-6", [part for pair in pairs for part in pair])
