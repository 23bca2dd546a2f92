"""Whether the server takes writes at the moment. Look-ups go on while it does not.

Owns how long a server that said no is left alone. The clock is injected, no I/O. Logs when it changes.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from proxy.store.redis_link import Failure, Fault

PAUSE_SECONDS = {Fault.OOM: 1.0, Fault.NO_REPLICAS: 1.0, Fault.READ_ONLY: 15.0, Fault.REFUSED: 15.0}
"""A full server evicts or expires soon, replicas come back. A replica that is asked to write, or a missing
permission, needs somebody to act."""

_log = structlog.get_logger("sidecache.l2")


class WritePause:
    """The last refusal, and until when it holds."""

    __slots__ = ("_clock", "_ends_at", "_failure")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failure: Failure | None = None
        self._ends_at = 0.0

    def __repr__(self) -> str:
        return f"<WritePause {self._failure.fault.value if self._failure else 'none'}>"

    @property
    def failure(self) -> Failure | None:
        """Why no write is sent now; None when writes may be tried."""
        return self._failure if self._clock() < self._ends_at else None

    def refused(self, failure: Failure) -> None:
        """The server refused a write."""
        if self._failure is None:
            _log.warning("L2 refuses writes", fault=failure.fault.value, detail=failure.detail)
        self._failure = failure
        self._ends_at = self._clock() + PAUSE_SECONDS.get(failure.fault, 0.0)

    def accepted(self) -> None:
        """The server took all writes of a batch."""
        if self._failure is not None:
            _log.warning("L2 takes writes again")
        self._failure = None
