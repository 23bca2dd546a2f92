"""The workers: as many as were asked for, each replaced when it ends, all asked as one.

Owns when a worker is started again, and the rule that a purge reaches every L1: who does not answer in time
is killed, and its successor begins with nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Protocol

import structlog

from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.observe.totals import Snapshot, add_sums, combined, snapshot
from proxy.workers.backoff import Backoff
from proxy.workers.channel import Call, Reply, Silence

START_SECONDS = 30.0
"""For a worker to read its order, build everything and answer; the container's start may be slow."""
ASK_SECONDS = 0.05
"""Between two questions whether a worker that starts is ready."""
BEAT_SECONDS = 1.0
"""Between two looks at what a worker has counted: so much is lost when it is killed."""
STUCK_SECONDS = 30.0
"""Without an answer for so long a worker is replaced: the kubelet asks only us whether we live."""
KILL_SECONDS = 5.0

_log = structlog.get_logger("sidecache.workers")


class Worker(Protocol):
    """A process that was started; `child.Child` is one."""

    @property
    def last_snapshot(self) -> Snapshot | None:
        """What it had counted when it was asked last; None: it has not served yet."""

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs."""

    async def ask(self, call: Call, *, seconds: float) -> Reply | Silence:
        """Its answer, within `seconds`."""

    async def answers(self) -> bool:
        """Whether it says how it is, within a deadline."""

    def tell_to_end(self) -> None:
        """Drain and end."""

    def kill(self) -> None:
        """End it now."""

    async def ends_within(self, seconds: float) -> bool:
        """Whether it has ended, waiting for at most so long."""


class Hiring(Protocol):
    """Where workers come from."""

    async def hire(self, index: int) -> Worker:
        """Start one. Raises OSError."""

    def stay_away(self, index: int) -> None:
        """It ended again soon after its start: no successor comes at once."""


class Crew:
    """`on_serving` is told of each worker that has begun to serve, before it counts as one that does."""

    def __init__(
        self,
        hiring: Hiring,
        size: int,
        metrics: Metrics,
        *,
        on_serving: Callable[[int, Worker], Awaitable[object]],
        backoff: Callable[[], Backoff] = Backoff,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._hiring = hiring
        self._size = size
        self._metrics = metrics
        """Our own; what workers had counted when they ended is added to it."""
        self._on_serving = on_serving
        self._clock = clock
        self._pause = pause
        self._backoffs = [backoff() for _ in range(size)]
        self._living: dict[int, Worker] = {}
        self._serving: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False
        self._changed = asyncio.Event()
        metrics.gauges["workers"] = lambda: {(): float(self.serving)}

    def __repr__(self) -> str:
        return f"<Crew {self.serving} of {self._size} serve>"

    @property
    def serving(self) -> int:
        """How many workers serve now."""
        return len(self._serving)

    def start(self) -> None:
        """Start all of them, and watch them from now on. On the main thread."""
        self._tasks = [spawn(f"worker {index}", self._keep(index)) for index in range(self._size)]

    async def until_serving(self, *, all_within: float) -> None:
        """Wait until all serve; past `all_within` seconds one is enough, and that has no deadline."""
        try:
            async with asyncio.timeout(all_within):
                await self._until(self._size)
        except TimeoutError:
            await self._until(1)

    def totals(self) -> Metrics:
        """What all have counted so far, as one."""
        read = (worker.last_snapshot for worker in self._living.values())
        # Our own gauges live too; our counters are those of the ended.
        own = {**snapshot(Metrics()), "gauges": snapshot(self._metrics)["gauges"]}
        return combined(self._metrics, [own, *(taken for taken in read if taken is not None)])

    async def refresh(self) -> None:
        """Have `totals` be of now, as far as workers answer."""
        await asyncio.gather(*(self._living[index].answers() for index in tuple(self._serving)))

    async def ask_all(
        self, call: Call, *, seconds: float, besides: int | None = None, must_reach: bool = True
    ) -> Sequence[tuple[int, Reply]]:
        """The answers, by worker. With `must_reach` who is silent is dead before this returns."""
        asked = [(index, worker) for index, worker in self._living.items() if index != besides]
        replies = await asyncio.gather(
            *(self._ask(worker, call, seconds=seconds, must_reach=must_reach) for _, worker in asked)
        )
        return [(index, reply) for (index, _), reply in zip(asked, replies, strict=True) if reply is not None]

    def tell_to_end(self) -> None:
        """All drain and end, and none is replaced; a second time: they end at once."""
        self._is_ending = True
        for index, task in enumerate(self._tasks):
            if index not in self._living:
                task.cancel()
        for worker in self._living.values():
            worker.tell_to_end()

    async def end_within(self, seconds: float) -> None:
        """Wait for the end of all, then make the rest end."""
        self._is_ending = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for worker in self._living.values():
            _log.warning("worker killed: it did not end in time", worker=repr(worker))
            worker.kill()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=KILL_SECONDS)
            for task in pending:
                task.cancel()

    async def _ask(self, worker: Worker, call: Call, *, seconds: float, must_reach: bool) -> Reply | None:
        reply = await worker.ask(call, seconds=seconds)
        if isinstance(reply, Reply):
            return reply
        # One that does not listen yet has nothing stored, and begins no fetch before what was asked.
        is_yet_to_serve = reply.is_unheard and worker.last_snapshot is None
        if must_reach and not is_yet_to_serve and not await worker.ends_within(0):
            _log.error("worker killed: it did not answer", worker=repr(worker), reason=reply.reason)
            worker.kill()
            await worker.ends_within(KILL_SECONDS)
        return None

    async def _keep(self, index: int) -> None:
        while not self._is_ending:
            self._backoffs[index].started()
            cause = await self._employ(index)
            await self._rest(index, cause)

    async def _rest(self, index: int, cause: str) -> None:
        """After a worker's end, before its successor's start; nothing when we end."""
        if self._is_ending:
            return
        backoff = self._backoffs[index]
        seconds = backoff.ended()
        self._metrics.worker_ends.add(cause)
        # One line for the first end, not one for each of a worker that cannot live.
        if backoff.ends == 1:
            _log.error("worker ended, another is started", index=index, cause=cause)
        else:
            self._hiring.stay_away(index)
        await self._pause(seconds)

    async def _employ(self, index: int) -> str:
        """From a worker's start to its end; why it ended."""
        try:
            worker = await self._hiring.hire(index)
        except OSError as error:
            _log.error("worker not started", index=index, error=str(error))
            return "not-started"
        self._living[index] = worker
        try:
            if self._is_ending:
                worker.tell_to_end()
            return await self._attend(index, worker)
        finally:
            self._serving.discard(index)
            del self._living[index]
            if worker.last_snapshot is not None:
                add_sums(self._metrics, worker.last_snapshot)

    async def _attend(self, index: int, worker: Worker) -> str:
        if not await self._is_ready(worker):
            return await self._removed(worker, "start-timeout")
        await self._on_serving(index, worker)
        self._serving.add(index)
        self._changed.set()
        heard_at = self._clock()
        while not await worker.ends_within(BEAT_SECONDS):
            if await worker.answers():
                heard_at = self._clock()
            elif self._clock() - heard_at >= STUCK_SECONDS:
                return await self._removed(worker, "stuck")
        return _cause(worker)

    async def _is_ready(self, worker: Worker) -> bool:
        began_at = self._clock()
        while not await worker.answers():
            if await worker.ends_within(ASK_SECONDS):
                return False
            if self._clock() - began_at >= START_SECONDS:
                return False
        return True

    async def _removed(self, worker: Worker, why: str) -> str:
        if await worker.ends_within(0):
            return _cause(worker)
        worker.kill()
        await worker.ends_within(KILL_SECONDS)
        return why

    async def _until(self, serving: int) -> None:
        while self.serving < serving:
            self._changed.clear()
            await self._changed.wait()


def _cause(worker: Worker) -> str:
    code = worker.exit_code
    return "killed" if code is not None and code < 0 else "exited"
