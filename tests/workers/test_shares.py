"""What all workers may use together is what the configuration allows one process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.container import OWN_BYTES
from proxy.config.schema import Config
from proxy.workers.shares import SUPERVISOR_BYTES, part, worker_config
from tests.support.configs import config

MIB = 1 << 20
URL = "unix:///private.sock"


def shares(whole: Config, *, container_bytes: int | None = None) -> list[Config]:
    return [
        worker_config(whole, index, container_bytes=container_bytes, l2_url=URL)
        for index in range(whole.workers)
    ]


@given(st.integers(0, 10_000), st.integers(1, 200))
def test_parts_make_the_total_and_differ_by_one_at_most(total: int, count: int) -> None:
    parts = [part(total, index, count) for index in range(count)]

    assert sum(parts) == total
    assert max(parts) - min(parts) <= 1


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 20))
def test_a_part_of_less_is_never_more(one: int, other: int, count: int) -> None:
    less, more = sorted((one, other))

    assert all(part(less, index, count) <= part(more, index, count) for index in range(count))


def test_bounds_of_the_whole_are_divided() -> None:
    whole = config(
        workers=3,
        l1={"max_entries": 10, "max_bytes": 9 * MIB},
        limits={"connections": 100, "tunnels": 2, "spool": 30 * MIB},
        origin={
            "url": "http://h:1",
            "max_in_flight": 8,
            "pool": {"max_connections": 16, "min_idle": 1},
            "queue": {"size": 7},
        },
    )

    divided = [
        (
            each.l1.max_entries,
            each.l1.max_bytes,
            each.limits.connections,
            each.limits.tunnels,
            each.limits.spool,
            each.origin.max_in_flight,
            each.origin.pool.max_connections,
            each.origin.pool.min_idle,
            each.origin.queue.size,
        )
        for each in shares(whole)
    ]

    assert divided == [
        (4, 3 * MIB, 34, 1, 10 * MIB, 3, 6, 1, 3),
        (3, 3 * MIB, 33, 1, 10 * MIB, 3, 5, 0, 2),
        (3, 3 * MIB, 33, 0, 10 * MIB, 2, 5, 0, 2),
    ]


def test_a_share_of_the_container_leaves_room_for_every_process() -> None:
    container = SUPERVISOR_BYTES + 2 * (OWN_BYTES + 100 * MIB)

    one, other = shares(config(workers=2, l1={"max_bytes": "40%"}), container_bytes=container)

    assert one.l1.max_bytes == other.l1.max_bytes == 40 * MIB
    assert one.limits.spool == 32 * MIB


def test_without_a_limit_of_the_container_the_default_is_divided() -> None:
    one, other = shares(config(workers=2))

    assert one.l1.max_bytes == other.l1.max_bytes == 128 * MIB


def test_a_small_container_gives_each_the_least_that_works() -> None:
    one, _ = shares(config(workers=2), container_bytes=128 * MIB)

    assert one.l1.max_bytes == 8 * MIB
    assert one.limits.spool == 8 * MIB


def test_all_else_stays_but_where_the_private_server_is() -> None:
    whole = config(workers=2, l2={"url": "embedded"}, routes=[{"name": "x", "match": {"path": "/x"}}])
    one, _ = shares(whole)

    assert one.l2.url == URL
    assert one.routes == whole.routes
    assert one.l1.max_entry_bytes == whole.l1.max_entry_bytes
    assert (
        one.model_copy(update={key: getattr(whole, key) for key in ("l1", "l2", "limits", "origin")}) == whole
    )
