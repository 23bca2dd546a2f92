"""A purge is one append; a dry run counts what the selectors name in L1, and nothing else."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.admin.invalidation import CHOOSING_SECONDS, SLICE_SECONDS, LogInvalidation
from proxy.admin.protocols import PurgeReport
from proxy.fleet.local_log import LocalLog
from proxy.model import Held, StoredResponse, VaryRecord
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Selector, SelectorKind
from tests.support.responses import NOW, entry


def keyed(host: bytes | None, target: bytes) -> Sequence[tuple[str, bytes]]:
    return [("product", target)]


@dataclass
class Refreshing:
    """Takes all but one; remembers them."""

    keys: list[bytes] = field(default_factory=list)

    async def refresh(self, entries: Iterable[tuple[bytes, StoredResponse]]) -> int:
        self.keys = [key for key, _ in entries]
        return len(self.keys) - 1


def invalidation(
    entries: Iterable[tuple[bytes, Held]], metrics: Metrics | None = None, **options: Any
) -> LogInvalidation:
    log = LocalLog(keyed=keyed, nonce=7, metrics=metrics or Metrics())
    given = {"refreshing": Refreshing(), "most_refreshed": 1, "clock": lambda: NOW, **options}
    return LogInvalidation(log, entries=lambda: entries, keyed=lambda: keyed, **given)


@dataclass
class StepClock:
    """Each look takes one step."""

    step: float
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def held(number: int) -> tuple[bytes, Held]:
    return b"%d" % number, Held(
        entry(target=b"/p/%d" % number, tags=(b"even",) if number % 2 == 0 else ()), 1, 0.0
    )


async def test_a_purge_is_applied_and_says_so() -> None:
    metrics = Metrics()
    report = await invalidation([], metrics).purge(
        [Selector(SelectorKind.TAG, "even")], soft=True, wait_seconds=None
    )

    assert report == PurgeReport("1", published=True, known=1, acknowledged=1, complete=True)
    assert metrics.invalidations.get("tags", "soft") == 1


async def test_a_dry_run_counts_each_entry_once() -> None:
    entries = [held(number) for number in range(100)]
    entries.append((b"vary", Held(VaryRecord((b"accept",), (), 60.0), 1, 0.0)))
    selectors = [
        Selector(SelectorKind.TAG, "even"),
        Selector(SelectorKind.URL, "/p/0"),
        Selector(SelectorKind.URL, "/p/1"),
    ]

    assert await invalidation(entries).count(selectors) == 50 + 1


async def test_others_have_their_turn_however_long_an_entry_takes() -> None:
    clock = StepClock(SLICE_SECONDS)
    turns: list[int] = []
    loop = asyncio.get_running_loop()

    def entries() -> Iterator[tuple[bytes, Held]]:
        for number in range(5):
            loop.call_soon(turns.append, number)
            yield held(number)

    named = invalidation(entries(), monotonic=clock)
    assert await named.count([Selector(SelectorKind.EVERYTHING)]) == 5
    assert turns == [0, 1, 2, 3, 4]


async def test_everything_counts_all_responses() -> None:
    assert await invalidation([held(1), held(2)]).count([Selector(SelectorKind.EVERYTHING)]) == 2


def used(number: int, seconds_ago: float, **changes: Any) -> tuple[bytes, Held]:
    """An entry under /p/ that was used so long ago."""
    copy = Held(entry(target=b"/p/%d" % number, **changes), 1, NOW - 100)
    copy.used_at = NOW - seconds_ago
    return b"%d" % number, copy


EVERYTHING = [Selector(SelectorKind.EVERYTHING)]


async def test_the_hottest_of_what_was_purged_are_fetched_again() -> None:
    entries = [used(0, 30), used(1, 10), used(2, 50), used(3, -5), used(4, 20), used(5, 40)]
    refreshing = Refreshing()
    purging = invalidation(entries, refreshing=refreshing)

    report = await purging.purge(EVERYTHING, soft=False, wait_seconds=None, refresh=True)

    assert refreshing.keys == [b"3", b"1", b"4", b"0"]  # four times as many as may be fetched
    assert report.refreshing == 3


async def test_how_hot_they_are_is_the_estimates_to_say() -> None:
    refreshing = Refreshing()
    purging = invalidation(
        [used(0, 30), used(1, 10)],
        refreshing=refreshing,
        seconds_idle=lambda key, since_use: 1.0 if key == b"0" else since_use,
    )
    await purging.purge(EVERYTHING, soft=True, wait_seconds=None, refresh=True)

    assert refreshing.keys == [b"0", b"1"]


async def test_what_was_not_purged_or_has_ended_is_not_fetched_again() -> None:
    refreshing = Refreshing()
    entries = [used(0, 1), used(1, 1, expires_at=NOW), used(2, 1)]
    await invalidation(entries, refreshing=refreshing).purge(
        [Selector(SelectorKind.URL, "/p/0"), Selector(SelectorKind.URL, "/p/1")],
        soft=False,
        wait_seconds=None,
        refresh=True,
    )

    assert refreshing.keys == [b"0"]


async def test_the_hottest_are_chosen_among_those_found_in_time() -> None:
    refreshing = Refreshing()
    clock = StepClock(CHOOSING_SECONDS / 2)
    purging = invalidation([used(0, 30), used(1, 20), used(2, 10)], refreshing=refreshing, monotonic=clock)
    await purging.purge(EVERYTHING, soft=False, wait_seconds=None, refresh=True)

    assert refreshing.keys == [b"1", b"0"]


async def test_nothing_is_fetched_again_unasked() -> None:
    refreshing = Refreshing()
    report = await invalidation([used(0, 1)], refreshing=refreshing).purge(
        EVERYTHING, soft=False, wait_seconds=None
    )

    assert (report.refreshing, refreshing.keys) == (None, [])
