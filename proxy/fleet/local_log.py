"""The invalidation log of a single process: nothing to share, so nothing to lose and nobody to wait for.

The same rule as in a fleet; ids are a counter, and the log needs no trust: it is this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.fleet.log import Appended, boot_clock
from proxy.model import Capture, Held, Position, StoredResponse, Succession, Validity, VaryRecord
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Record, Selector
from proxy.policy.invalidation_index import Index
from proxy.policy.selected import Keyed


class LocalLog:
    """Applies what it is told at once. `nonce` has 64 random bits: no entry of another process fits."""

    def __init__(
        self,
        *,
        keyed: Keyed,
        nonce: int,
        metrics: Metrics,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._newest = Position(number=1, ms=0, seq=0, nonce=nonce)
        self._index = Index(keyed)
        contents = self._index.empty(None)
        contents.add(Record(self._newest, (0, 0), ""))
        self._index.replace(contents)
        self.read_again = self._index.read_again
        metrics.gauges["log_trusted"] = lambda: {(): 1.0}
        metrics.gauges["log_records"] = lambda: {
            (mode,): float(count) for mode, count in self._index.sizes.items()
        }

    def __repr__(self) -> str:
        return f"<LocalLog at {self._newest.ms} {self._index.sizes}>"

    def start(self) -> None:
        """Nothing runs."""

    @property
    def is_synced(self) -> bool:
        """Always: this process is the log."""
        return True

    async def first_read(self, timeout: float) -> bool:
        """There is nothing to wait for."""
        return True

    async def aclose(self) -> None:
        """Nothing ran."""

    def capture(self) -> Capture:
        """Before the first byte of an origin request; again before a retry (R3)."""
        return Capture(self._newest, self._index.version, self._clock())

    def is_current(self, held: Held) -> bool:
        """Found alive, and nothing was applied since (R6)."""
        return held.version == self._index.version

    def judge_held(self, held: Held) -> Validity:
        """The rule for a copy in L1; one comparison when nothing was applied since the last time (R6)."""
        if self.is_current(held) or isinstance(held.entry, VaryRecord):
            return Validity.ALIVE
        checked = held.checked if held.generation == self._index.generation else None
        validity = self._index.judge(held.entry, checked)
        if validity is Validity.ALIVE:
            held.version = self._index.version
            held.checked = self._newest
            held.generation = self._index.generation
        return validity

    def judge(self, entry: StoredResponse, *, began_at: float | None = None) -> Validity:
        """The rule for any entry, now; whose fetch it was makes no difference here."""
        return self._index.judge_born(entry, entry.born, None)

    async def append(
        self, selectors: Sequence[Selector], *, soft: bool, wait: float | None = None
    ) -> Appended:
        """Apply them; there is nobody to wait for."""
        self._apply(selectors, soft=soft)
        return Appended(str(self._newest.ms), published=True, known=1, acknowledged=1, complete=True)

    def supersede(self, selectors: Sequence[Selector], *, heir: StoredResponse, since: Capture) -> Succession:
        """A hard purge, and where its heir is born; None: another purge concerned that since `since`."""
        is_alive = self.judge(heir.but(born=since.born)) is Validity.ALIVE
        self._apply(selectors, soft=False)
        return self._succession(self.capture() if is_alive else None)

    def purge_soon(self, selectors: Sequence[Selector]) -> None:
        """After an unsafe request: a hard purge."""
        self._apply(selectors, soft=False)

    async def _succession(self, capture: Capture | None) -> Capture | None:
        return capture

    def _apply(self, selectors: Sequence[Selector], *, soft: bool) -> None:
        before = self._newest
        self._newest = before._replace(ms=before.ms + 1)
        uid = str(self._newest.ms)
        self._index.apply(Record(self._newest, (before.ms, 0), uid, tuple(selectors), soft))
        for selector in selectors:
            self._metrics.invalidations.add(selector.kind.value, "soft" if soft else "hard")
