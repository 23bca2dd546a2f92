"""The command's client against real ports, and against servers that are none."""

from __future__ import annotations

import pytest

from proxy.admin import client
from proxy.admin.client import AdminPort, Reach, Reply, Unreachable
from proxy.admin.ops import ops_application
from proxy.admin.protocols import PurgeReport
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Selector, SelectorKind
from tests.support.operators import FakeLifecycle, FakeOperator
from tests.support.served import answering, served


def purge(port: AdminPort, **options: object) -> Reply | Unreachable:
    values = {"soft": False, "dry_run": False, "wait_seconds": 0.5, **options}
    return port.invalidate({"urls": ["/a?b=c"]}, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("soft", [False, True])
def test_an_invalidation_reaches_the_port_as_it_was_meant(soft):
    operator = FakeOperator()

    with served(operator.application("s3cret")) as url:
        reply = purge(AdminPort(url, "s3cret"), soft=soft)

    assert isinstance(reply, Reply)
    assert reply.status == 200
    assert operator.invalidation.calls == [((Selector(SelectorKind.URL, "/a?b=c"),), soft, 0.5)]


def test_a_dry_run_is_asked_for():
    operator = FakeOperator()

    with served(operator.application()) as url:
        reply = purge(AdminPort(f"{url}/"), dry_run=True)

    assert reply == Reply(200, {"dry_run": True, "matched": 3})


def test_without_the_token_the_port_says_what_it_needs():
    with served(FakeOperator().application("s3cret")) as url:
        reply = purge(AdminPort(url))

    assert isinstance(reply, Reply)
    assert reply.status == 401
    assert "Authorization: Bearer" in reply.detail


def test_faults_are_told_with_their_fields():
    with served(FakeOperator().application()) as url:
        reply = AdminPort(url).invalidate({"tagz": ["x"]}, soft=False, dry_run=False, wait_seconds=0)

    assert isinstance(reply, Reply)
    assert reply.status == 422
    assert "tagz: " in reply.detail


def report(**changes: object) -> dict[str, object]:
    values = {"id": "7-1", "published": True, "known": 4, "acknowledged": 4, "missing": (), **changes}
    made = PurgeReport(**values)  # type: ignore[arg-type]
    replicas = {"known": made.known, "acknowledged": made.acknowledged, "missing": list(made.missing)}
    return {
        "id": made.id,
        "published": made.published,
        "complete": made.complete,
        "replicas": replicas,
    }


@pytest.mark.parametrize(
    ("reply", "reach"),
    [
        (Reply(200, report(complete=True)), Reach("applied by 4 of 4 replicas", is_done=True)),
        (
            Reply(200, {"dry_run": True, "matched": 0}),
            Reach("would match 0 entries of this replica's L1", is_done=True),
        ),
        (
            Reply(200, {**report(complete=True), "refreshing": 12}),
            Reach("applied by 4 of 4 replicas; fetching 12 entries again", is_done=True),
        ),
        (Reply(403, {"detail": "not you"}), Reach("not you", is_done=False)),
        (Reply(200, {"detail": "<html>"}), Reach("<html>", is_done=False)),
        (Reply(500, {}), Reach("500", is_done=False)),
    ],
)
def test_what_an_answer_means(reply, reach):
    assert client.reach(reply) == reach


@pytest.mark.parametrize(
    ("reply", "is_done", "first_line", "advice"),
    [
        (
            Reply(200, report(acknowledged=2, missing=("a", "b"))),
            False,
            "applied by 2 of 4 replicas; missing: a, b",
            "What to do: repeat the command with a longer --wait.",
        ),
        (
            Reply(202, report(published=False, known=1, acknowledged=1)),
            False,
            "applied by the replica that was asked and by no other: Redis did not take the record",
            "What to do: send it to another replica too, with --admin URL;",
        ),
        (
            Reply(200, report(acknowledged=1)),
            False,
            "applied by 1 of 4 replicas; Redis does not say by which",
            "What to do: repeat the command once Redis answers,",
        ),
        (
            Reply(200, report()),
            True,
            "applied by 4 of 4 replicas",
            "To be certain, repeat the command later.",
        ),
        (
            Unreachable("http://x/purge?w=1", "refused"),
            False,
            "http://x/purge does not answer: refused",
            "What to do: ask another replica,",
        ),
    ],
)
def test_where_it_is_not_done_or_not_certain_it_says_what_to_do(reply, is_done, first_line, advice):
    reach = client.reach(reply)
    first, *further = reach.text.splitlines()

    assert (reach.is_done, first) == (is_done, first_line)
    assert advice in " ".join(further)
    assert max(map(len, further)) <= 105


@pytest.mark.parametrize(
    ("lifecycle", "status", "word"),
    [(FakeLifecycle(), 200, "ready"), (FakeLifecycle(is_ready=False, is_draining=True), 503, "draining")],
)
def test_health_is_readiness(lifecycle, status, word):
    with served(ops_application(lifecycle, Metrics().exposition)) as url:
        reply = client.health(url)

    assert isinstance(reply, Reply)
    assert (reply.status, reply.detail) == (status, word)


def test_drain_drains():
    lifecycle = FakeLifecycle()

    with served(ops_application(lifecycle, Metrics().exposition)) as url:
        reply = client.drain(f"{url}/")

    assert isinstance(reply, Reply)
    assert (reply.status, reply.detail) == (200, "draining")
    assert lifecycle.is_draining


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("127.0.0.1:9902", "expected a URL"),
        ("ftp://127.0.0.1/", "expected a URL"),
        ("http://", "expected a URL"),
        ("http://127.0.0.1:port", "Port could not be cast"),
        ("http://127.0.0.1:1", "Connection refused"),
    ],
)
def test_a_port_that_is_none_is_named_with_the_reason(url, reason):
    reply = client.health(url)

    assert isinstance(reply, Unreachable)
    assert reason in str(reply)


def test_a_server_that_speaks_no_http_is_unreachable():
    with answering(b"SSH-2.0-OpenSSH\r\n") as url:
        reply = client.health(url)

    assert isinstance(reply, Unreachable)


def test_an_answer_that_is_no_json_is_its_text():
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1]\n") as url:
        reply = client.health(url)

    assert reply == Reply(200, {"detail": "[1]"})


def test_silence_ends_at_the_deadline():
    with answering(None) as url:
        reply = client.ask("GET", url, deadline_seconds=0.05)

    assert isinstance(reply, Unreachable)
    assert reply.reason == "nothing came within 0.05 s"


def test_a_warm_call_is_told_line_by_line():
    operator = FakeOperator()

    with served(operator.application("s3cret")) as url:
        lines = list(
            AdminPort(f"{url}/", "s3cret").warm(["/a"], headers={"Host": "shop"}, concurrency=2, seconds=5)
        )

    assert lines[0] == {"url": "/a", "result": "stored"}
    assert lines[1]["total"] == 1
    ((_, cause, at_once, seconds),) = operator.prefetching.calls
    assert (cause, at_once, seconds) == ("warm", 2, 5.0)


def test_a_warm_call_that_is_refused_is_a_reply():
    with served(FakeOperator().application()) as url:
        (said,) = AdminPort(url).warm(["/a"], headers={}, concurrency=2, seconds=5)

    assert isinstance(said, Reply)
    assert (said.status, "urls[0]" in said.detail) == (422, True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:9902"])
def test_a_warm_call_that_nobody_answers_is_unreachable(url):
    (said,) = AdminPort(url).warm(["/a"], headers={}, concurrency=2, seconds=5)

    assert isinstance(said, Unreachable)


def test_a_warm_call_ends_at_its_deadline(monkeypatch):
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 0.05)
    with answering(None) as url:
        (said,) = AdminPort(url).warm(["/a"], headers={}, concurrency=2, seconds=0)

    assert str(said).endswith("nothing came within 0.05 s")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"url": "/a", "result": "stored"}, "stored     /a"),
        ({"url": "/a", "result": "not-stored", "reason": "route"}, "not-stored /a (route)"),
        (
            {"total": 3, "stored": 2, "fresh": 0, "failed": 1, "seconds": 0.5},
            "3 fetches in 0.5 s: 2 stored, 1 failed",
        ),
        ({"detail": "<html>"}, "?          {'detail': '<html>'}"),
    ],
)
def test_what_a_line_of_a_warm_call_means(line, text):
    assert client.warmed(line) == text
