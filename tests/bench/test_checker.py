"""What the checker takes for a right answer."""

from __future__ import annotations

import pytest

from bench.bodies import ITEMS
from bench.load.checker import Answer, Expected, Faults
from bench.servers import ours
from bench.servers.server import Server, says_hit

PATH = ITEMS.path(1)
BODY = ITEMS.body(PATH)
PEER = Server("nginx", 1, 1, says_hit)
OURS = Server("sidecache", 1, 1, ours.says_hit, ops_port=2)
HIT = Expected(is_hit=True)


@pytest.mark.parametrize(
    ("expected", "answer", "server", "fault"),
    [
        (HIT, Answer(200, {"x-cache": "HIT"}, BODY), PEER, None),
        (HIT, Answer(200, {"x-cache": "MISS"}, BODY), PEER, "no hit: MISS"),
        (HIT, Answer(200, {}, BODY), PEER, "no hit: says nothing"),
        (HIT, Answer(200, {"x-cache": "HIT"}, BODY[:-1]), PEER, "status 200, 1023 bytes"),
        (HIT, Answer(200, {"x-cache": "HIT"}, ITEMS.body(ITEMS.path(2))), PEER, "not the right answer"),
        (HIT, Answer(503, {"x-cache": "HIT"}, BODY), PEER, "status 503"),
        (HIT, Answer(200, {"cache-status": "sidecache; hit; ttl=4; detail=l1"}, BODY), OURS, None),
        (HIT, Answer(200, {"cache-status": "sidecache; fwd=uri-miss"}, BODY), OURS, "no hit"),
        (Expected(is_hit=False), Answer(200, {"x-cache": "HIT"}, BODY), PEER, "a hit: HIT"),
        (Expected(is_hit=True, status=304), Answer(304, {"x-cache": "HIT"}, b""), PEER, None),
        (Expected(is_hit=True, status=304), Answer(200, {"x-cache": "HIT"}, BODY), PEER, "status 200"),
        (
            Expected(is_hit=True, detail="l2"),
            Answer(200, {"cache-status": "sidecache; hit; ttl=4; detail=l1"}, BODY),
            OURS,
            "not l2",
        ),
        (Expected(is_hit=True, detail="l2"), Answer(200, {"x-cache": "HIT"}, BODY), PEER, None),
    ],
)
def test_fault_is_named(expected: Expected, answer: Answer, server: Server, fault: str | None) -> None:
    found = expected.fault(PATH, ITEMS, answer, server)

    assert (found is None) == (fault is None)
    assert (fault or "") in (found or "")


def test_all_faults_are_counted_and_the_first_kept() -> None:
    faults = Faults()
    for number in range(10):
        faults.note(f"fault {number}" if number % 2 else None)

    assert (faults.checked, faults.count, faults.examples[0]) == (10, 5, "fault 1")
