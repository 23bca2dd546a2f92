"""Reads answers whole, before and while they are measured: the load itself does not look at them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from bench.bodies import ETAG, Family
from bench.load.plan import Plan
from bench.servers.server import Server

_PAUSE_SECONDS = 0.05
_NOT_MODIFIED = 304
_MOST_FAULTS_KEPT = 5


@dataclass(slots=True)
class Faults:
    """What was wrong: a count, and the first few in words."""

    checked: int = 0
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, fault: str | None) -> None:
        self.checked += 1
        if fault is None:
            return
        self.count += 1
        if len(self.examples) < _MOST_FAULTS_KEPT:
            self.examples.append(fault)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the answers of a plan must be."""

    is_hit: bool
    status: int = 200
    detail: str | None = None
    """A word that sidecache's own Cache-Status must hold."""

    def fault(self, path: str, family: Family, answer: Answer, server: Server) -> str | None:
        """What is wrong with this answer, in words; None when it is right."""
        right_body = b"" if self.status == _NOT_MODIFIED else family.body(path)
        if answer.status != self.status or answer.body != right_body:
            return f"{path}: status {answer.status}, {len(answer.body)} bytes, not the right answer"
        if server.was_hit(answer.fields) != self.is_hit:
            return f"{path}: {'no hit' if self.is_hit else 'a hit'}: {_word(answer)}"
        if self.detail and server.ops_port and f"detail={self.detail}" not in _word(answer):
            return f"{path}: not {self.detail}: {_word(answer)}"
        return None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the names of its fields are lower-case."""

    status: int
    fields: dict[str, str]
    body: bytes


def ask(connection: HTTPConnection, plan: Plan, path: str) -> Answer:
    fields = dict(line.split(": ", 1) for line in plan.fields)
    connection.request(plan.method, path, plan.body or None, {"Host": "shop.example", **fields})
    response = connection.getresponse()
    body = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def check_all(server: Server, plan: Plan, expected: Expected | None) -> Faults:
    """Ask once for each path of the plan; without an expectation this only fills the cache."""
    faults = Faults()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    for source in plan.sources:
        for number in range(source.first, source.first + source.count):
            path = source.family.path(number)
            answer = ask(connection, plan, path)
            faults.note(expected.fault(path, source.family, answer, server) if expected else None)
    connection.close()
    return faults


@contextmanager
def checking(server: Server, plan: Plan, expected: Expected) -> Iterator[Faults]:
    """Check some answers a second while the block runs."""
    faults, ended = Faults(), threading.Event()
    thread = threading.Thread(target=_check, args=(server, plan, expected, faults, ended), daemon=True)
    thread.start()
    try:
        yield faults
    finally:
        ended.set()
        thread.join(15)


def _check(server: Server, plan: Plan, expected: Expected, faults: Faults, ended: threading.Event) -> None:
    source, turn = plan.sources[0], plan.sources[0].start
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    while not ended.wait(_PAUSE_SECONDS):
        path = source.family.path(source.first + turn % source.count)
        turn += 1
        try:
            faults.note(expected.fault(path, source.family, ask(connection, plan, path), server))
        except (OSError, HTTPException) as error:
            faults.note(f"{path}: {error!r}")
            connection.close()
    connection.close()


def not_modified_field() -> str:
    return f"If-None-Match: {ETAG}"


def _word(answer: Answer) -> str:
    return answer.fields.get("cache-status") or answer.fields.get("x-cache") or "says nothing"
