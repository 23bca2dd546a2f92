"""Whether an invalidation concerned an entry that is in no store yet: noticed one by one, as each is applied.

The index cannot tell it afterwards: of records with the same selector it knows the newest only.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from proxy.model import StoredResponse, Validity
from proxy.policy.invalidation import Selector
from proxy.policy.invalidation_index import DEFAULT_BOUNDS, Modes
from proxy.policy.selected import Keyed


class Watches:
    """The watches under way: as many as answers to POST are being stored."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()

    def __len__(self) -> int:
        return len(self._watches)

    def begin(self, entry: StoredResponse) -> Watch:
        """Watch for what concerns the entry, until the watch is left."""
        watch = Watch(self._watches, entry)
        self._watches.add(watch)
        return watch

    def note(self, selectors: Sequence[Selector], keyed: Keyed) -> None:
        """These selectors were applied."""
        if self._watches:
            modes: Modes[float] = Modes(keyed, DEFAULT_BOUNDS)
            modes.add(selectors, 0.0, soft=False)
            for watch in self._watches:
                watch.is_untouched &= modes.judge(watch.entry, None) is Validity.ALIVE

    def note_all(self) -> None:
        """Nobody knows what was applied: the log was read anew."""
        for watch in self._watches:
            watch.is_untouched = False


class Watch:
    """Of one entry; to be left as a context."""

    def __init__(self, watches: set[Watch], entry: StoredResponse) -> None:
        self._watches = watches
        self.entry = entry
        self.is_untouched = True
        """Nothing that was applied since the beginning concerns the entry."""

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watches.discard(self)
