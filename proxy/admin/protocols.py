"""What the operator's two ports need of the process; `app` plugs the objects in.

Values are ready to be shown: nothing here knows a tier, a log or a socket.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.config.reloading import Result
from proxy.config.schema import Config
from proxy.model import Held, Request
from proxy.policy.invalidation import Selector

Facts = Mapping[str, object]
"""A JSON object of numbers, words and further such objects."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """How far an invalidation has come; this replica has applied it in any case."""

    id: str
    """The record's id in the log; its uid while it is not published."""
    published: bool
    """The record is in the shared log. False: kept, and appended once Redis answers again."""
    known: int
    """Registered replicas, this one included."""
    acknowledged: int
    missing: tuple[str, ...] = ()
    """Replicas that have not said in time that they applied it."""
    complete: bool = False
    """No replica, also no future one, serves what was invalidated. Never so without a wait in a fleet."""
    refreshing: int | None = None
    """Entries of this replica's L1 that are fetched again; None: nobody asked for that."""


class Invalidation(Protocol):
    """Removing entries, or making them stale, on every replica."""

    async def purge(
        self, selectors: Sequence[Selector], *, soft: bool, wait_seconds: float | None, refresh: bool = False
    ) -> PurgeReport:
        """Apply here, publish, and wait at most `wait_seconds` (None: not at all) for the others.

        With `refresh`, have the hottest of what was invalidated here fetched again.
        """

    async def count(self, selectors: Sequence[Selector]) -> int:
        """How many entries of this replica's L1 the selectors match; changes nothing."""


Prefetched = tuple[str, str | None]
"""What became of a fetch, and why it is neither fresh nor stored."""


class Prefetching(Protocol):
    """Fetching what no client has asked for yet."""

    def fetch_all(
        self, requests: Sequence[Request], *, cause: str, at_once: int, seconds: float
    ) -> AsyncGenerator[tuple[int, Prefetched], None]:
        """What became of each, by its number, as they end."""


class Inspection(Protocol):
    """What the process holds and does now. Each answer is a snapshot."""

    def entries(self) -> Iterable[tuple[bytes, Held]]:
        """Keys and copies of L1, most recently used first, without counting as a use.

        The reader yields to the loop while it iterates: a snapshot of the order, not a live view.
        """

    def stats(self) -> Facts:
        """Sizes and sums of this process."""

    async def fleet(self) -> Facts | None:
        """The replicas that share the invalidation log, within a deadline; None: it is shared with nobody."""

    def routes(self) -> Sequence[Facts]:
        """The routes in force, in order of matching."""

    def pool(self) -> Facts:
        """The connections to the origin."""


class Configuration(Protocol):
    """The configuration in force; `config.reloading.Reloader` is one."""

    @property
    def config(self) -> Config:
        """As loaded; the admin port masks its secrets."""

    async def reload(self) -> Result:
        """Read the file again and apply it if it has no fault; Rejected also where there is no file."""


class Lifecycle(Protocol):
    """Where the process stands between start and end."""

    @property
    def is_started(self) -> bool:
        """The policy is loaded and the sockets are bound."""

    @property
    def is_live(self) -> bool:
        """The process can go on; False asks for a restart."""

    @property
    def is_ready(self) -> bool:
        """New requests are welcome: started, filled and not draining. Asks neither the origin nor Redis."""

    @property
    def is_warming(self) -> bool:
        """L1 is being filled."""

    @property
    def is_draining(self) -> bool:
        """Told to drain, or ending."""

    def drain(self) -> None:
        """Begin to drain; again has no effect. Undone after five minutes unless SIGTERM follows."""
