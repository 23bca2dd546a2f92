"""What the admin port shows of the process, read from the metrics and the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from proxy.admin.protocols import Facts
from proxy.config.schema import Config
from proxy.model import Held
from proxy.observe.metrics import COUNTERS, GAUGES, Counter, Metrics, Row


class ProcessInspection:
    """Snapshots for `/entries`, `/stats`, `/routes` and `/pool`."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        entries: Callable[[], Iterable[tuple[bytes, Held]]],
        config: Callable[[], Config],
        fleet: Callable[[], Awaitable[Facts | None]],
    ) -> None:
        self.entries = entries
        self._fleet = fleet
        self._metrics = metrics
        self._config = config

    def stats(self) -> Facts:
        """Every counter and gauge of the metrics table, labels as keys."""
        sums: dict[str, object] = {row.name: self._counted(row) for row in COUNTERS}
        return sums | {row.name: _facts(row, self._gauge(row.name)) for row in GAUGES}

    async def fleet(self) -> Facts | None:
        """The replicas that share the invalidation log; None: it is shared with nobody."""
        return await self._fleet()

    def routes(self) -> Sequence[Facts]:
        """The routes in force, in order of matching."""
        return [route.model_dump(mode="json", by_alias=True) for route in self._config().routes]

    def pool(self) -> Facts:
        """The connections to the origin, and who waits for one."""
        names = ("origin_pool", "origin_in_flight", "origin_queue", "tunnels_open")
        rows = {row.name: row for row in GAUGES}
        return {name: _facts(rows[name], self._gauge(name)) for name in names}

    def _counted(self, row: Row) -> object:
        counter: Counter = getattr(self._metrics, row.name)
        return _facts(row, counter.values)

    def _gauge(self, name: str) -> Mapping[tuple[str, ...], float]:
        read = self._metrics.gauges.get(name)
        return read() if read is not None else {}


async def no_fleet() -> None:
    """The fleet of a process that shares its log with nobody."""


def fleet_of(parts: Sequence[Mapping[str, Any] | None]) -> Facts | None:
    """What several workers say of their fleet, as one: each is a replica, any of them knows the others."""
    told = [part for part in parts if part is not None]
    if not told:
        return None
    # Rather one that Redis has answered.
    best = max(told, key=lambda part: part["replicas"] is not None)
    here = [own for part in told for own in part["here"]]
    return {**best, "here": here, "known": max(part["known"] for part in told)}


def _facts(row: Row, values: Mapping[tuple[str, ...], float]) -> object:
    if not row.labels:
        return values.get((), 0)
    return {" ".join(labels): value for labels, value in values.items()}
