"""`pauses` without a network: the longest single step of an L1 with a million entries, by kind of step.

The steps are those that a loop takes between two looks at its sockets: store, use, sweep, collect, list.
The scenario of the same name measures whole processes under load; this one says which step it was:

    python -m bench.pauses 1000000
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

from bench.memory import made
from proxy.observe import collector
from proxy.observe.metrics import Metrics
from proxy.store.memory import MemoryStore

ENTRIES = 1_000_000
_CHURN = 0.3
"""So many more entries than there is room for come in, each pushing one out."""
_SWEPT = 1_000


class Worst:
    """The longest step of each kind, in milliseconds of this thread: turns of others do not count."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def timed(self, kind: str, step: Callable[[], object]) -> None:
        """Run it and keep the time if it is the longest yet."""
        began_at = time.thread_time()
        step()
        taken = (time.thread_time() - began_at) * 1000
        self.ms[kind] = max(self.ms.get(kind, 0.0), taken)


def bare(worst: Worst, steps: int) -> None:
    """What the machine itself interrupts: the same loop around nothing."""
    for _ in range(steps):
        worst.timed("nothing", int)


def measured(entries: int) -> Worst:
    """Fill, churn, use and sweep."""
    plenty = 1 << 40
    store = MemoryStore(Metrics(), max_entries=entries * 10 // 9, max_bytes=plenty, max_entry_bytes=plenty)
    worst = Worst()
    collector.settle()
    for number, (key, entry, now) in enumerate(made(round(entries * (1 + _CHURN)))):
        digest = key.digest
        worst.timed("put", partial(store.put, digest, entry, now))
        worst.timed("peek", partial(store.peek, digest, now))
        if number % _SWEPT == 0:
            worst.timed("sweep", partial(store.sweep, now, _SWEPT))
            bare(worst, 10)
    remaining = store.entries()
    for _ in range(entries // _SWEPT):
        worst.timed("list", lambda: list(islice(remaining, _SWEPT)))
    worst.timed("collect all", gc.collect)
    bare(worst, entries)
    return worst


def main() -> None:
    """Print the longest step of each kind."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    for kind, taken in sorted(measured(entries).ms.items()):
        print(f"{kind:<12} {taken:8.2f} ms")


if __name__ == "__main__":
    main()
