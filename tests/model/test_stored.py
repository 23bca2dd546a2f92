"""Ages, positions and this replica's copies of entries."""

import gc

import pytest

from proxy.model import VALUES, Fields, Held, Part, Position, VaryRecord
from tests.support.responses import date, entry


@pytest.mark.parametrize(("now", "age"), [(1000.0, 5.0), (1010.0, 15.0), (990.0, 5.0)])
def test_age_grows_with_residence_and_never_shrinks(now: float, age: float) -> None:
    assert entry(received_at=1000.0, initial_age=5.0).age(now) == age


def test_stored_lines_are_fields_again() -> None:
    assert entry(lines=b"ETag: x\r\nA: b: c\r\n").fields() == Fields([(b"ETag", b"x"), (b"A", b"b: c")])


def test_positions_are_ordered_by_epoch_then_id() -> None:
    assert Position(1, 9, 9, 7) < Position(2, 0, 0, 1) < Position(2, 0, 1, 0) < Position(2, 1, 0, 0)


def test_a_new_copy_was_judged_by_nobody() -> None:
    held = Held(VaryRecord((b"accept",), (), 60.0), 100, 7.0)

    assert (held.version, held.generation, held.checked, held.began_at) == (-1, -1, None, None)
    assert (held.kept_at, held.used_at, held.size) == (7.0, 7.0, 100)


def test_the_collector_does_not_know_of_entries_and_copies() -> None:
    stored = entry(tags=(b"a",), born=Position(1, 2, 3, 4))
    record = VaryRecord((b"accept",), (), 60.0)

    assert not any(map(gc.is_tracked, (stored, record, Held(stored, 1, 0.0))))


def test_responses_of_a_route_share_its_name_and_their_reason() -> None:
    first, second = (entry(reason=b"O%b" % b"K", route=b"all".decode()) for _ in range(2))

    assert first.reason is second.reason
    assert first.route is second.route


def test_a_response_with_other_values_keeps_the_rest() -> None:
    stored = entry(etag=b'"a"', tags=(b"a", b"b"), stale_if_error=5.0)

    changed = stored.but(body=b"new", tags=(b"c",))

    assert changed.values() == stored.values() | {"body": b"new", "tags": (b"c",)}
    assert stored.but() == stored


def test_all_values_at_once_are_those_one_by_one() -> None:
    bare, full = (
        entry(),
        entry(
            etag=b'"a"',
            last_modified=date(),
            tags=(b"a", b"b"),
            stale_if_error=5.0,
            refresh_age=7.0,
            fetch_seconds=0.5,
            born=Position(1, 2, 3, 4),
            part=Part(0, 1, 9),
        ),
    )

    assert tuple(bare.values()) == tuple(full.values()) == VALUES
    for stored in (bare, full):
        assert stored.values() == {name: getattr(stored, name) for name in VALUES}
