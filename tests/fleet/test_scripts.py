"""The scripts as the server runs them: records, epochs, trims, registrations."""

import pytest
import redis

from proxy.fleet import scripts
from tests.support.replicas import REPLICAS, STREAM
from tests.support.valkey import running_valkey

DAY_MS = 86_400_000


def append(server, *drafts, nonce="a1", retention_ms=DAY_MS, most=1000, after="", roll_call=0):
    values = [value for draft in drafts for value in draft]
    return server.ask(
        "EVAL", scripts.APPEND, 2, STREAM, REPLICAS, nonce, retention_ms, most, after, roll_call, *values
    )


def poll(server, *, name="one", registration="r", first="-", nonce="b1", most=500, most_bytes=100_000):
    return server.ask(
        "EVAL", scripts.POLL, 2, STREAM, REPLICAS, nonce, name, registration, first, most, most_bytes
    )


def survey(server, *, most=1000):
    return server.ask("EVAL", scripts.SURVEY, 2, STREAM, REPLICAS, most)


def said(registrations):
    """Without the instant that the server has added."""
    return {name: text.rpartition(b" ")[0] for name, text in registrations.items()}


def records(server):
    return server.ask("XRANGE", STREAM, "-", "+")


def test_the_first_call_begins_the_first_epoch(server):
    page, tail, _, known = poll(server)
    ((id_, fields),) = records(server)

    assert fields[b"n"] == b"1"
    assert fields[b"e"] == b"b1"
    assert fields[b"p"] == b"0-0"
    assert (fields[b"u"], fields[b"t"]) == (b"", b"")
    assert len(fields[b"m"]) == 40
    assert tail == [id_, b"1", b"b1"]
    assert [entry[0] for entry in page] == [id_]
    assert known == 1


def test_every_record_names_the_one_before(server):
    append(server, ("u1", "", "t1"), ("u2", "", "t2"))
    append(server, ("u3", "", "t3"))
    found = records(server)

    assert [fields[b"p"] for _, fields in found] == [b"0-0", *(id_ for id_, _ in found[:-1])]
    assert [fields[b"u"] for _, fields in found] == [b"", b"u1", b"u2", b"u3"]
    assert {fields[b"e"] for _, fields in found} == {b"a1"}


def test_a_call_tells_where_each_draft_is(server):
    places, replicas, known, tail = append(server, ("u1", "", "t1"), ("u2", "", "t2"))

    assert places == [[id_, b"1", b"a1"] for id_, _ in records(server)[1:]]
    assert (replicas, known) == ([], 0)
    assert tail == places[-1]


def test_a_server_with_another_history_begins_a_new_epoch(server):
    append(server, ("u1", "", "t1"))
    server.ask("XADD", STREAM, "*", "n", "7", "e", "a1", "p", "0-0", "m", "another", "u", "x", "t", "")
    append(server, ("u2", "", "t2"), nonce="c1")
    other, epoch, appended = records(server)[-3:]

    assert epoch[1][b"n"] == appended[1][b"n"] == b"8"
    assert epoch[1][b"e"] == appended[1][b"e"] == b"c1"
    assert epoch[1][b"p"] == other[0]


@pytest.mark.parametrize("fields", [("x", "y"), ("n", "7", "m", ""), ("n", "what", "e", "1", "m", "")])
def test_garbage_at_the_tail_is_followed_by_a_new_epoch(server, fields):
    garbage = server.ask("XADD", STREAM, "*", *fields)
    poll(server)

    assert records(server)[-1][1][b"p"] == garbage
    assert records(server)[-1][1][b"e"] == b"b1"


def test_a_draft_is_appended_once_however_often_it_is_tried(server):
    first, *_ = append(server, ("u0", "", "t"))
    places, *_ = append(server, ("u1", "", "t"))
    behind, *_ = append(server, ("u1", "", "t"), after=first[0][0])
    at_its_place, *_ = append(server, ("u1", places[0][0], "t"))
    elsewhere, *_ = append(server, ("u1", "5-5", "t"), after=first[0][0])
    twice_in_one, *_ = append(server, ("u2", "", "t"), ("u2", "", "t"))

    assert behind == at_its_place == elsewhere == places
    assert twice_in_one[0] == twice_in_one[1]
    assert len(records(server)) == 4


def test_a_place_that_another_record_has_is_not_believed(server):
    places, *_ = append(server, ("u1", "", "t"))
    again, *_ = append(server, ("u2", places[0][0], "t"))

    assert again != places


def test_a_roll_call_is_of_the_same_run(server):
    poll(server, name="one", registration="r1")
    poll(server, name="two", registration="r2")
    _, replicas, known, _ = append(server, ("u1", "", "t"), roll_call=1)

    assert said(dict(zip(replicas[::2], replicas[1::2], strict=True))) == {b"one": b"r1", b"two": b"r2"}
    assert known == 2


def test_a_roll_call_is_refused_where_no_replica_of_the_server_would_know_of_a_write(own_server):
    """What polls it accepts no longer it must not count either: another master may be in charge."""
    append(own_server, ("u1", "", "t"))
    own_server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    append(own_server)

    for call in (lambda: append(own_server, roll_call=1), lambda: poll(own_server)):
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            call()


@pytest.fixture
def small_nodes(server):
    """Trims are exact where each record has a node of its own."""
    server.ask("CONFIG", "SET", "stream-node-max-entries", "1")
    yield
    server.ask("CONFIG", "SET", "stream-node-max-entries", "100")


@pytest.mark.usefixtures("small_nodes")
def test_records_older_than_the_retention_are_trimmed(server):
    for old in ("5-1", "5-2"):
        server.ask("XADD", STREAM, old, "u", "old")
    append(server, ("u1", "", "t"))
    append(server, ("u2", "", "t"))

    assert [fields[b"u"] for _, fields in records(server)] == [b"", b"u1", b"u2"]
    assert records(server)[0][1][b"p"] == b"5-2"


@pytest.mark.usefixtures("small_nodes")
def test_an_idle_log_keeps_its_newest_record(server):
    places, *_ = append(server, ("u1", "", "t"), retention_ms=0)
    append(server, ("u1", places[0][0], "t"), retention_ms=0)
    poll(server)

    assert records(server)[-1][1][b"u"] == b"u1"


@pytest.mark.usefixtures("small_nodes")
def test_the_log_is_trimmed_to_its_most_records(server):
    for number in range(20):
        append(server, (f"u{number}", "", "t"), most=5)

    assert len(records(server)) == 5


@pytest.mark.usefixtures("small_nodes")
def test_a_call_that_adds_nothing_trims_nothing(server):
    places, *_ = append(server, ("u1", "", "t"))
    append(server, ("u1", places[0][0], "t"), most=0)
    append(server, roll_call=1, most=0)

    assert len(records(server)) == 2


def test_ids_grow_although_the_clock_goes_back(server):
    append(server, ("u1", "", "t"))
    far = "99999999999999-7"
    tail = records(server)[-1]
    server.ask("XADD", STREAM, far, *(part for pair in tail[1].items() for part in pair))
    places, *_ = append(server, ("u2", "", "t"))

    assert places[0][0] == b"99999999999999-8"
    assert records(server)[-1][1][b"p"] == far.encode()


@pytest.mark.parametrize(
    ("most", "most_bytes", "found"), [(500, 100_000, 4), (2, 100_000, 2), (500, 1, 1), (500, 1_200, 2)]
)
def test_a_page_is_bounded_by_records_and_by_bytes(server, most, most_bytes, found):
    append(server, *((f"u{number}", "", "t" * 1_000) for number in range(3)))
    page, tail, _, _ = poll(server, most=most, most_bytes=most_bytes)

    assert len(page) == found
    assert tail[0] == records(server)[-1][0]


def test_a_poll_gives_what_follows_an_id(server):
    first, *_ = append(server, ("u1", "", "t"))
    second, *_ = append(server, ("u2", "", "t"))

    assert [entry[0] for entry in poll(server, first="(" + first[0][0].decode())[0]] == [second[0][0]]
    assert poll(server, first="(" + second[0][0].decode())[0] == []


def test_registrations_are_counted(server):
    known = [poll(server, name=name)[3] for name in ("one", "two", "one")]

    assert known == [1, 2, 2]


def test_a_full_server_can_still_be_read_by_who_is_registered():
    with running_valkey(maxmemory_policy="noeviction") as full:
        append(full, ("u1", "", "t"))
        poll(full, registration="old")
        full.ask("CONFIG", "SET", "maxmemory", "1")
        page, *_ = poll(full, registration="new")

        assert len(page) == 2
        assert said(full.ask("HGETALL", REPLICAS)) == {b"one": b"old"}
        with pytest.raises(redis.OutOfMemoryError):
            poll(full, name="newcomer")
        with pytest.raises(redis.OutOfMemoryError):
            append(full, ("u2", "", "t"))


def test_a_registration_is_forgotten_only_as_it_was_seen(server):
    poll(server, registration="now")
    stored = server.ask("HGET", REPLICAS, "one")
    kept = server.ask("EVAL", scripts.FORGET, 2, STREAM, REPLICAS, "one", "now")
    left = server.ask("HLEN", REPLICAS)
    server.ask("EVAL", scripts.FORGET, 2, STREAM, REPLICAS, "one", stored)

    assert (kept, left) == (None, 1)
    assert server.ask("HLEN", REPLICAS) == 0


def test_a_registration_is_dated_by_the_server(server):
    before = server.ask("TIME")
    *_, now_ms, _ = poll(server, registration="1 a1 5 0 9")
    after = server.ask("TIME")
    text, _, dated = server.ask("HGET", REPLICAS, "one").rpartition(b" ")

    assert (text, dated) == (b"1 a1 5 0 9", now_ms)
    assert before[0] * 1000 <= int(dated) <= (after[0] + 1) * 1000


def registered(id_):
    ms, _, seq = id_.decode().partition("-")
    return f"1 a1 {ms} {seq} 1"


def test_a_survey_gives_what_the_last_replica_lacks_and_changes_nothing(server):
    append(server, *((f"u{number}", "", "t") for number in range(5)))
    ids = [id_ for id_, _ in records(server)]
    for name, registration in (
        ("new", "0 0 0 0 1"),
        ("two", registered(ids[2])),
        ("three", registered(ids[3])),
    ):
        poll(server, name=name, registration=registration)
    before = server.ask("DUMP", REPLICAS)
    newest, tail, replicas, now_ms = survey(server)

    assert newest == [ids[5], ids[4], ids[3]]
    assert tail == [ids[5], b"1", b"a1"]
    assert sorted(replicas[::2]) == [b"new", b"three", b"two"]
    assert abs(int(now_ms) - server.ask("TIME")[0] * 1000) < 5_000
    assert server.ask("DUMP", REPLICAS) == before
    assert len(records(server)) == 6
    assert survey(server, most=2)[0] == [ids[5], ids[4]]


def test_the_oldest_position_is_found_by_number_not_by_text(server):
    for id_ in ("9-1", "10-2", "10-10"):
        server.ask("XADD", STREAM, id_, "n", "1", "e", "a1", "p", "0-0", "m", "m", "u", "u", "t", "t")
    for name, ms, seq in (("a", 10, 10), ("b", 10, 2), ("c", 9, 1)):
        server.ask("HSET", REPLICAS, name, f"1 a1 {ms} {seq} 1")

    assert survey(server)[0] == [b"10-10", b"10-2"]
    server.ask("HDEL", REPLICAS, "c")
    assert survey(server)[0] == [b"10-10"]
    server.ask("HDEL", REPLICAS, "b")
    assert survey(server)[0] == []


@pytest.mark.parametrize("fields", [(), ("x", "y")])
def test_a_survey_of_a_log_without_records_of_ours_has_no_tail(server, fields):
    if fields:
        server.ask("XADD", STREAM, "*", *fields)

    assert survey(server)[:3] == [[], [], []]


def test_a_server_that_refuses_writes_can_be_surveyed(own_server):
    poll(own_server, registration="1 a1 5 0 9")
    own_server.ask("CONFIG", "SET", "maxmemory", "1")
    own_server.ask("CONFIG", "SET", "min-replicas-to-write", "1")

    assert survey(own_server)[2][0] == b"one"


def test_a_replica_of_the_server_refuses_both_scripts(server):
    server.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        for call in (lambda: append(server, ("u", "", "t")), lambda: poll(server)):
            with pytest.raises(redis.ReadOnlyError):
                call()
    finally:
        server.ask("REPLICAOF", "NO", "ONE")
