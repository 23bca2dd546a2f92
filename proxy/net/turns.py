"""Who has begun goes first: new requests have a share of some passes of the event loop, and no more.

A pass reads whatever has come on all connections, and each step of an answer under way (what L2 said, what
the origin said) takes another pass. Under load, a miss of a dozen steps would wait for a dozen passes full of
others' requests. So what is new beyond its share waits, in the order in which it came, and after each share
come passes for who has begun alone, which are short where there is nothing to do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import structlog

PASS_SECONDS = 0.001
"""For new requests, of a pass in which others are under way."""
REST_PASSES = 8
"""Without new requests, behind each that had some. Of 256 connections, with 5 % misses at an origin of 8 ms,
P99 was 68 ms with none, 44 with one, 35 with two, 28 with five, 27 with eight and with twelve; throughput the
same."""


_log = structlog.get_logger("sidecache.requests")


class Waiting(Protocol):
    """A connection with a request that waits for its turn; it reads no other one meanwhile."""

    def resume(self, data: bytes) -> None:
        """It has come."""

    def abort(self) -> None:
        """Cut it off."""


class Turns:
    """The requests that wait: at most one a connection."""

    __slots__ = ("_clock", "_ends_at", "_rest", "_waiting")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Waiting, bytes]] = deque()
        self._ends_at = 0.0
        """When new requests have had their share of this pass; 0: none has come in it, or in those before."""
        self._rest = 0
        """Passes still to come without new requests."""

    def __len__(self) -> int:
        return len(self._waiting)

    def is_over(self, now: float) -> bool:
        """Has a request that comes now, on the clock, to wait for another pass?"""
        if not self._ends_at:
            self._begin(now + PASS_SECONDS)
            return False
        return now >= self._ends_at

    def add(self, connection: Waiting, data: bytes) -> None:
        """It waits: a later pass calls its `resume`. Only after `is_over` has said so."""
        self._waiting.append((connection, data))

    def _begin(self, ends_at: float) -> None:
        self._ends_at = ends_at
        self._rest = REST_PASSES
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._rest:
            self._rest -= 1
            self._ends_at = _OVER
            asyncio.get_running_loop().call_soon(self._go_on)
        else:
            self._resume_waiting()

    def _resume_waiting(self) -> None:
        waiting, ends_at = self._waiting, self._clock() + PASS_SECONDS
        self._ends_at = 0.0
        while waiting:
            connection, data = waiting.popleft()
            _resume(connection, data)
            if self._clock() >= ends_at:
                break
        if waiting:
            self._begin(_OVER)


def _resume(connection: Waiting, data: bytes) -> None:
    try:
        connection.resume(data)
    except Exception:  # noqa: BLE001 - a defect of ours: it must not leave the others waiting
        _log.exception("a request that waited crashed")
        connection.abort()


_OVER = -1.0
"""Of a pass without new requests, or with those only who wait from earlier ones."""
