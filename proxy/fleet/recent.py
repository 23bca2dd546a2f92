"""What this process applied or published lately: a log that lost its last records gets them back (R17)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from proxy.policy.invalidation import Record

REMEMBERED_SECONDS = 600.0
MOST_SELECTORS = 20_000
"""About 5 MB of URLs. A faster stream of purges is remembered for less than ten minutes."""


class Recent:
    """Records by uid, oldest first."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[Record, float]] = {}
        self._selectors = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return (record for record, _ in self._records.values())

    def get(self, uid: str) -> Record | None:
        """The record as it was last seen or published."""
        remembered = self._records.get(uid)
        return remembered[0] if remembered else None

    def add(self, record: Record, *, at: float) -> None:
        """Remember it from the monotonic instant `at` on; a later sight of the same uid replaces it."""
        self._remove(record.uid)
        self._records[record.uid] = (record, at)
        self._selectors += len(record.selectors)
        while self._selectors > MOST_SELECTORS or self._has_outlived(at - REMEMBERED_SECONDS):
            self._remove(next(iter(self._records)))

    def _has_outlived(self, instant: float) -> bool:
        return any(added_at < instant for _, added_at in islice(self._records.values(), 1))

    def _remove(self, uid: str) -> None:
        removed = self._records.pop(uid, None)
        if removed is not None:
            self._selectors -= len(removed[0].selectors)
