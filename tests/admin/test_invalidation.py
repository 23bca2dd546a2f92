"""A purge is one append; a dry run counts what the selectors name in L1, and nothing else."""

from collections.abc import Sequence

from proxy.admin.invalidation import SLICE, LogInvalidation
from proxy.admin.protocols import PurgeReport
from proxy.fleet.local_log import LocalLog
from proxy.model import Held, VaryRecord
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Selector, SelectorKind
from tests.support.responses import entry


def keyed(host: bytes | None, target: bytes) -> Sequence[tuple[str, bytes]]:
    return [("product", target)]


def invalidation(entries: list[tuple[bytes, Held]], metrics: Metrics | None = None) -> LogInvalidation:
    log = LocalLog(keyed=keyed, nonce=7, metrics=metrics or Metrics())
    return LogInvalidation(log, entries=lambda: entries, keyed=lambda: keyed)


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
    entries = [held(number) for number in range(SLICE + 10)]
    entries.append((b"vary", Held(VaryRecord((b"accept",), (), 60.0), 1, 0.0)))
    selectors = [
        Selector(SelectorKind.TAG, "even"),
        Selector(SelectorKind.URL, "/p/0"),
        Selector(SelectorKind.URL, "/p/1"),
    ]

    assert await invalidation(entries).count(selectors) == SLICE // 2 + 5 + 1


async def test_everything_counts_all_responses() -> None:
    assert await invalidation([held(1), held(2)]).count([Selector(SelectorKind.EVERYTHING)]) == 2
