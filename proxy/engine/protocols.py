"""What the engine needs of the layers below it; `app` plugs the classes in.

The engine knows no Redis, no socket and no log format: only these few methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from proxy.model import (
    Capture,
    Claim,
    Entry,
    Found,
    Held,
    OriginFailure,
    OriginResponse,
    Request,
    StoredResponse,
    Succession,
    Validity,
)
from proxy.policy.invalidation import Selector


class Origin(Protocol):
    """The one API behind this sidecar."""

    async def fetch(self, request: Request, *, route: str) -> OriginResponse | OriginFailure:
        """Send the request, wait for the response's head. Every wait inside has a deadline."""


class Tiers(Protocol):
    """L1 in front of L2."""

    def peek(self, key: bytes, now: float) -> Held | None:
        """L1 only, synchronous: this replica's copy, counted as a use; None when absent, expired or idle."""

    async def look_up(self, key: bytes) -> Entry | None:
        """L2 only; batched with all look-ups of this loop tick. A failure of L2 is None."""

    def ask(self, key: bytes, then: Callable[[Entry | None], None]) -> bool:
        """The same without a wait: `then` is called once, in a later step. False: nothing was asked."""

    def back_fill(self, key: bytes, entry: Entry, now: float, *, idle: float | None) -> Held:
        """Into L1 what L2 answered."""

    def keep(self, key: bytes, entry: Entry, now: float, *, idle: float | None, began_at: float) -> Held:
        """Into L1 at once and into L2 through the write-behind queue."""

    def drop(self, key: bytes, *, cause: str) -> None:
        """Out of L1; `cause` counts the eviction."""


class SharedTier(Protocol):
    """Whether an L2 stands behind L1 and what its loss means."""

    @property
    def is_present(self) -> bool:
        """An L2 is configured."""

    @property
    def must_shed(self) -> bool:
        """L2 cannot be asked and the operator said: rather 503 than expose the origin."""

    def when_written(self, then: Callable[[bool], None]) -> None:
        """Tell `then` once, within a second, that L2 has what was kept so far; False: it may not have it."""


class Leases(Protocol):
    """Which replica fetches a key, where replicas share an L2. Saves fetches; decides nothing else."""

    async def claim(self, key: bytes, entry_key: bytes) -> tuple[Claim, Found]:
        """Take the lease of `key` if nobody has it. Bounded by L2's deadline; a failure is an answer.

        And what L2 has under `entry_key` after that, if it could be asked along.
        """

    def ask(self, key: bytes, entry_key: bytes, then: Callable[[Claim, Found], None]) -> None:
        """The same without a wait: `then` is called once, maybe at once."""

    def release(self, key: bytes, *, lone_seconds: float = 0.0) -> None:
        """Give the lease back; for `lone_seconds`, nobody is to wait for another's fetch of `key`."""


class Log(Protocol):
    """The ordered invalidation log as this replica has read it."""

    def capture(self) -> Capture:
        """Before the first byte of an origin request; again before a retry."""

    def judge_held(self, held: Held) -> Validity:
        """The rule for a copy in L1; cheap when nothing was applied since the last time (R6)."""

    def is_current(self, held: Held) -> bool:
        """It was found alive, nothing was applied since, and the log was read in time (R6)."""

    def judge(self, entry: StoredResponse, *, began_at: float | None = None) -> Validity:
        """The rule for any entry, now (R4, R15); `began_at` for our own fetch, monotonic."""

    @property
    def is_synced(self) -> bool:
        """The log was read in time; False: what is served may be older than a purge elsewhere (R15)."""

    async def append(self, selectors: Sequence[Selector], *, soft: bool) -> object:
        """Apply here at once, then publish to every replica."""

    def purge_soon(self, selectors: Sequence[Selector]) -> Awaitable[object] | None:
        """After an unsafe request: a hard purge, applied here at once and published soon.

        What it gives is to be awaited before the answer; it has a deadline. The same selector is published at
        most once in 100 ms, however often it is asked for.
        """

    def supersede(self, selectors: Sequence[Selector], *, heir: StoredResponse, since: Capture) -> Succession:
        """A hard purge, applied here at once, of what `heir` takes the place of.

        The heir came with the answer to a request that was sent after `since`. Ends with None where anything
        that concerns it may have been appended in between: that may be newer.
        """
