"""Short memories of keys: when a mark ends and which goes first."""

from __future__ import annotations

import pytest

from proxy.engine.marks import Marks


@pytest.mark.parametrize(("at", "expected"), [(100.0, True), (109.9, True), (110.0, False)])
def test_a_mark_holds_until_its_seconds_have_passed(at: float, expected: bool) -> None:
    marks = Marks(seconds=10, limit=5)
    marks.add(b"a", at=100.0)
    assert marks.has(b"a", at=at) is expected


def test_a_mark_that_has_ended_is_forgotten() -> None:
    marks = Marks(seconds=10, limit=5)
    marks.add(b"a", at=100.0)
    marks.has(b"a", at=110.0)
    assert len(marks) == 0


def test_a_key_that_was_never_marked_has_no_mark() -> None:
    assert not Marks(seconds=10, limit=5).has(b"a", at=0.0)


def test_the_oldest_mark_goes_first_above_the_limit() -> None:
    marks = Marks(seconds=10, limit=2)
    for key in (b"a", b"b", b"a", b"c"):
        marks.add(key, at=0.0)
    assert [marks.has(key, at=1.0) for key in (b"a", b"b", b"c")] == [True, False, True]


def test_a_mark_can_be_removed_and_removing_nothing_is_fine() -> None:
    marks = Marks(seconds=10, limit=2)
    marks.add(b"a", at=0.0)
    marks.remove(b"a")
    marks.remove(b"b")
    assert len(marks) == 0
