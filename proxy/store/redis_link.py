"""The one way to ask a server of L2 anything: with a deadline, behind its breaker, failures as values.

Owns the client of one server, the breaker and its probes. Every exception of redis-py ends here. Must not
know what is stored. A failure is logged when it changes the state, never once per operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import NamedTuple, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.store.breaker import PROBE_SECONDS, Breaker
from proxy.store.redis_client import Command, exchange

T = TypeVar("T")
Question = Callable[[Redis], Awaitable[T]]

CLOSE_SECONDS = 1.0
"""How long a stop waits for the connections to close."""

_log = structlog.get_logger("sidecache.l2")

FOREIGN = (RedisError, RedisClusterException, OSError, TimeoutError, RuntimeError)
"""What redis-py raises for a server that fails. RedisClusterException is no RedisError; RuntimeError is
uvloop's word when a closed transport is written to, and would end the probes for ever."""


class Fault(Enum):
    """How L2 failed; the word is the metrics' label."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    OOM = "oom"
    """The server is full and may not evict."""
    READ_ONLY = "read-only"
    """A replica, or a master that was replaced."""
    NO_REPLICAS = "no-replicas"
    """A master that may not write while too few replicas follow it."""
    MOVED = "moved"
    """Another node of the cluster has the key by now."""
    ASK = "ask"
    """The key is on its way to another node of the cluster."""
    REFUSED = "refused"
    """The server answered with another error: no permission, say."""
    BREAKER = "breaker"
    """Not asked: the breaker is open."""


class Failure(NamedTuple):
    """A failed operation, as a value."""

    fault: Fault
    detail: str


_NOT_ASKED = Failure(Fault.BREAKER, "the breaker is open")
_FAULTS: tuple[tuple[type[BaseException], Fault], ...] = (
    (TimeoutError, Fault.TIMEOUT),
    (RedisTimeoutError, Fault.TIMEOUT),
    (OutOfMemoryError, Fault.OOM),
    (ReadOnlyError, Fault.READ_ONLY),
    (AuthenticationError, Fault.REFUSED),
    (ClusterDownError, Fault.UNREACHABLE),
    (MovedError, Fault.MOVED),
    (AskError, Fault.ASK),
    (TryAgainError, Fault.ASK),
    (ResponseError, Fault.REFUSED),
)
"""The first row that fits counts; everything else is Fault.UNREACHABLE."""


_NO_REPLICAS = "NOREPLICAS"
"""The one error that we know by its word: redis-py has no class for it."""
_WRONG_SERVER = frozenset({Fault.UNREACHABLE, Fault.READ_ONLY})
"""Replies to one command that hold for all: its cluster is down, or the name leads to another server by now,
which only new connections ask again."""


def failure_of(error: BaseException) -> Failure:
    """What an exception of redis-py, or one below it, means to us."""
    detail = str(error) or type(error).__name__
    if isinstance(error, ResponseError) and detail.startswith(_NO_REPLICAS):
        return Failure(Fault.NO_REPLICAS, detail)
    fault = next((fault for kind, fault in _FAULTS if isinstance(error, kind)), Fault.UNREACHABLE)
    return Failure(fault, detail)


class RedisLink:
    """One server, asked with one deadline. `clock` and `pause` are asyncio's but for tests.

    `doubt` is told when the server fails, or says that it is not the one to ask.
    """

    def __init__(
        self,
        client: Redis,
        *,
        timeout: float,
        probe: Question[object],
        metrics: Metrics,
        doubt: Callable[[], None],
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._doubt = doubt
        self._timeout = timeout
        self._probe_command = probe
        self._metrics = metrics
        self._clock = clock
        self._pause = pause
        self._breaker = Breaker(clock)
        self._prober: asyncio.Task[None] | None = None
        self._is_closing = False

    def __repr__(self) -> str:
        return f"<RedisLink {self._breaker!r}>"

    @property
    def is_open(self) -> bool:
        """The breaker is open: the server is not asked."""
        return self._breaker.is_open

    async def start(self) -> None:
        """Learn whether the server answers, within one deadline. It need not: the probes go on."""
        failure = await self._probe()
        if failure is not None:
            self.trip(failure)

    async def ask(self, operation: str, command: Question[T]) -> T | Failure:
        """What the server answers within the deadline. A failure opens the breaker."""
        if self._breaker.is_open:
            return _NOT_ASKED
        answer = await self._timed(operation, command)
        if isinstance(answer, Failure):
            self.trip(answer)
        return answer

    async def ask_all(self, operation: str, commands: Sequence[Command]) -> list[object] | Failure:
        """One reply a command, in one round trip; a Failure among them belongs to its own command only."""
        replies = await self.ask(operation, lambda client: exchange(client, commands))
        if isinstance(replies, Failure):
            return replies
        read = [failure_of(reply) if isinstance(reply, Exception) else reply for reply in replies]
        for failure in read:
            if isinstance(failure, Failure):
                self._heed(failure)
        return read

    def trip(self, failure: Failure) -> None:
        """Stop asking; go on once a probe on fresh connections is answered."""
        if self._is_closing or not self._breaker.failed():
            return
        self._doubt()
        _log.warning("L2 failed, going on without it", fault=failure.fault.value, detail=failure.detail)
        self._prober = spawn("l2 probe", self._probe_until_answered())

    async def aclose(self) -> None:
        """End the probes and the connections; what is asked meanwhile fails."""
        self._is_closing = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.wait({self._prober}, timeout=CLOSE_SECONDS)
        with suppress(*FOREIGN):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._client.aclose()

    def _heed(self, failure: Failure) -> None:
        if failure.fault is Fault.MOVED:
            self._doubt()
        elif failure.fault in _WRONG_SERVER:
            self.trip(failure)

    async def _timed(self, operation: str, command: Question[T]) -> T | Failure:
        started_at = self._clock()
        try:
            async with asyncio.timeout(self._timeout):
                return await command(self._client)
        except FOREIGN as error:
            return failure_of(error)
        finally:
            self._metrics.l2_seconds.observe(self._clock() - started_at, operation)

    async def _probe_until_answered(self) -> None:
        # Every question has this deadline, and none begins while the breaker is open: after it the
        # connections are all idle. They may lead to a server that is gone; new ones ask its name again.
        await self._pause(max(self._timeout, self._breaker.seconds_to_first_probe()))
        with suppress(*FOREIGN):
            await self._client.connection_pool.disconnect(inuse_connections=False)
        while await self._probe() is not None:
            self._doubt()
            await self._pause(PROBE_SECONDS)
        self._breaker.recovered()
        _log.warning("L2 answers again")

    async def _probe(self) -> Failure | None:
        answer = await self._timed("probe", self._probe_command)
        failure = answer if isinstance(answer, Failure) else None
        self._metrics.l2_operations.add("probe", failure.fault.value if failure else "ok")
        return failure
