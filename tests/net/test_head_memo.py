"""Which heads are remembered, for how long, and of whom they are looked for."""

from __future__ import annotations

import pytest

from proxy.net import head_memo
from proxy.net.head_memo import MOST_HEAD_BYTES, SKIPPED, TRUST, HeadMemo


class Client:
    """Sends heads."""

    def __init__(self, memo: HeadMemo[str]) -> None:
        self.trust = 0
        self._memo = memo

    def send(self, head: bytes, made: str | None = "made") -> str | None:
        """What the memo knows of it before it is read."""
        known = self._memo.recall(self, head)
        if known is None:
            self._memo.consider(self, head, made)
        return known


def test_a_head_is_known_from_its_third_time_on() -> None:
    client = Client(HeadMemo())

    assert [client.send(b"a") for _ in range(4)] == [None, None, "made", "made"]


def test_what_one_client_has_sent_is_known_of_all() -> None:
    memo: HeadMemo[str] = HeadMemo()
    for _ in range(2):
        Client(memo).send(b"a")

    assert Client(memo).send(b"a") == "made"


def test_another_head_is_another() -> None:
    client = Client(HeadMemo())
    for _ in range(2):
        client.send(b"a", "A")

    assert [client.send(b"b", "B") for _ in range(3)] == [None, None, "B"]
    assert client.send(b"a") == "A"


def test_heads_that_come_once_push_nothing_out() -> None:
    memo: HeadMemo[str] = HeadMemo()
    client = Client(memo)
    for _ in range(2):
        client.send(b"a")
    for number in range(20_000):
        client.send(b"%d" % number)

    assert len(memo) == 1
    assert client.send(b"a") == "made"


def test_the_least_recently_used_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_memo, "MOST_HEADS", 2)
    memo: HeadMemo[str] = HeadMemo()
    client = Client(memo)
    for head in (b"a", b"b"):
        client.send(head)
        client.send(head)
    client.send(b"a")
    client.send(b"c")
    client.send(b"c")

    assert len(memo) == 2
    assert [memo.recall(client, head) for head in (b"a", b"b", b"c")] == ["made", None, "made"]


def test_two_heads_in_one_place_are_still_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_memo, "_MARKS", 1)
    client = Client(HeadMemo())

    assert [client.send(head) for head in (b"a", b"b", b"a", b"b")] == [None] * 4
    assert [client.send(b"b"), client.send(b"b")] == [None, "made"]


def test_a_long_head_is_not_remembered() -> None:
    client = Client(HeadMemo())
    longest, longer = b"a" * MOST_HEAD_BYTES, b"a" * (MOST_HEAD_BYTES + 1)

    assert [client.send(longest) for _ in range(3)] == [None, None, "made"]
    assert [client.send(longer) for _ in range(3)] == [None] * 3
    assert client.trust == -SKIPPED


def test_what_is_not_to_be_remembered_is_not() -> None:
    client = Client(HeadMemo())

    assert [client.send(b"a", None) for _ in range(3)] == [None] * 3
    assert client.trust == -SKIPPED


def test_who_does_not_repeat_itself_loses_trust() -> None:
    client = Client(HeadMemo())
    client.send(b"a")
    assert client.trust == -SKIPPED
    client.send(b"a")
    assert client.trust == TRUST

    for number in range(TRUST):
        client.send(b"%d" % number)
    assert client.trust == 0
    client.send(b"b")
    assert client.trust == -SKIPPED
    client.send(b"a")
    assert client.trust == TRUST
