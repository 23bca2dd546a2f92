"""The invalidation log of a fleet, kept on a shared server (docs/invalidation.md).

One task does all reading and publishing, one exchange after the other; the engine's questions are answered
from what it has read, without waiting (log_copy.py). What the server is, `server` knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf, nextafter

import structlog

from proxy.fleet.log import Appended, Draft, LogFailure, LogServer, Roll, WhenUnsynced, boot_clock
from proxy.fleet.log_copy import LogCopy
from proxy.fleet.reach import Census
from proxy.fleet.watching import Watch
from proxy.model import Capture, Position, StoredResponse, Succession, Validity
from proxy.observe.metrics import Metrics
from proxy.observe.tasks import spawn
from proxy.policy.invalidation import Selector
from proxy.policy.selected import Keyed

POLL_SECONDS = 0.09
"""The longest pause between two polls: a purge is applied everywhere within it and one round trip."""
POLLS_PER_SECOND = 5_000
"""Of the whole fleet: 24 µs each, 12 to 16 % of the server's core. A larger fleet polls less often."""
FIRST_RETRY_SECONDS = 0.05
RETRY_SECONDS = 0.25
"""The longest pause after a failure; with the deadline of a call, attempts are at most 0.5 s apart."""
HURRY_SECONDS = 0.01
"""The shortest time between two polls, whoever hurries."""
PUBLISH_SECONDS = 1.0
ACKNOWLEDGE_SECONDS = 0.02
CLOSE_SECONDS = 1.0

_log = structlog.get_logger("sidecache.log")


class RedisLog:
    """The log as one replica reads and writes it.

    `dice` is uniform in [0, 1), `bits` gives 64 random bits, `clock` is monotonic and counts suspend.
    """

    def __init__(
        self,
        server: LogServer,
        *,
        keyed: Keyed,
        max_unsynced: float,
        when_unsynced: WhenUnsynced,
        metrics: Metrics,
        bits: Callable[[], int],
        dice: Callable[[], float],
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._server = server
        self._max_unsynced = max_unsynced
        self._metrics = metrics
        self._dice = dice
        self._clock = clock
        self._copy = LogCopy(
            keyed=keyed,
            max_unsynced=max_unsynced,
            when_unsynced=when_unsynced,
            metrics=metrics,
            new_uid=lambda: f"{bits():016x}",
            hurry=self._hurry,
            clock=clock,
        )
        # The methods themselves, not ones around them: a hit asks the first of them and nothing else here.
        self.judge_held = self._copy.judge_held
        self.is_current = self._copy.is_current
        self.judge = self._copy.judge
        self.capture = self._copy.capture
        self.read_again = self._copy.read_again
        self.condition = self._copy.condition
        self.places_of = self._copy.places_of

        self._census = Census(2 * max_unsynced)
        self._census_at = clock() + max_unsynced
        self._known = 1
        self._failures = 0
        self._is_caught_up = False
        self._is_closing = False
        self._polled_at = -inf
        self._places: dict[str, asyncio.Future[Position | None]] = {}
        """Uid -> where it is published; None once a try has failed. For those who wait for it."""
        self._wake = asyncio.Event()
        self._was_read = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        metrics.gauges["log_trusted"] = lambda: {(): float(self._copy.is_synced)}
        metrics.gauges["log_lag_seconds"] = self._lag
        metrics.gauges["replicas_known"] = lambda: {(): float(self._known)}
        metrics.gauges["log_records"] = lambda: {
            (mode,): float(count) for mode, count in self._copy.index.sizes.items()
        }

    def __repr__(self) -> str:
        return f"<RedisLog {self._copy!r} failures={self._failures}>"

    @property
    def is_synced(self) -> bool:
        """The log was read in time (R15)."""
        return self._copy.is_synced

    @property
    def known(self) -> int:
        """How many replicas were registered when the server answered last; 1 before."""
        return self._known

    def start(self) -> None:
        """Begin to read; the log is of use at once, and in step after `first_read`."""
        self._task = spawn("invalidation log", self._run())

    async def first_read(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the log was read in full; False: not yet, reading goes on."""
        try:
            async with asyncio.timeout(timeout):
                return await self._was_read.wait()
        except TimeoutError:
            return False

    async def aclose(self) -> None:
        """Stop reading, publish what is left, deregister. Nothing may be served from here on."""
        # Told, not cancelled: redis-py may swallow a cancellation (asyncio.wait_for before Python 3.12).
        self._is_closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            self._task.cancel()
        if self._is_caught_up:
            await self._publish()
            await self._server.leave()

    async def append(
        self, selectors: Sequence[Selector], *, soft: bool, wait: float | None = None
    ) -> Appended:
        """Apply here at once, then publish; wait at most `wait` seconds for the others to apply it."""
        drafts = self._copy.stage(selectors, soft=soft)
        places = await self._until_published(drafts)
        if places is None:
            return Appended(drafts[-1].uid, False, self._known, 1)
        if wait is None:
            return Appended(_text_of(places[-1]), True, self._known, 1)
        return await self._until_acknowledged(drafts, places, wait)

    def purge_soon(self, selectors: Sequence[Selector]) -> None:
        """After an unsafe request: a hard purge, applied here at once and published within the pace."""
        if self._copy.stage_paced(selectors):
            self._wake.set()

    def supersede(self, selectors: Sequence[Selector], *, heir: StoredResponse, since: Capture) -> Succession:
        """A hard purge, and where its heir is born; None: nobody can tell in time.

        It can be told once our own record was read in order: what stood before it was noticed by then.
        """
        is_alive = self._copy.judge(heir.but(born=since.born), began_at=since.began_at) is Validity.ALIVE
        drafts = self._copy.stage(selectors, soft=False)
        if not is_alive:
            return self._purge(drafts)
        # As if it had been fetched right after its own purge: what was staged before was judged just now,
        # what is appended before is watched for, and what is staged later is newer.
        as_fetched = since._replace(began_at=nextafter(self._clock(), inf))
        return self._succession(drafts, self._copy.watch(heir), as_fetched)

    async def step(self) -> float:
        """One exchange: publish what waits, then read what is new. Seconds until the next one is due."""
        if self._is_caught_up and (failure := await self._publish()):
            return self._failed("append", failure)
        sent_at = self._polled_at = self._clock()
        page = await self._server.poll(self._copy.after, self._copy.registration())
        if isinstance(page, LogFailure):
            return self._failed("poll", page)
        progress = self._copy.accept(page, sent_at=sent_at)
        self._known = max(page.known, 1)
        self._is_caught_up = progress.is_complete
        self._succeeded()
        has_more = self._copy.outbox.has_drafts if progress.is_complete else bool(page.records)
        if has_more:
            return 0.0
        return max(POLL_SECONDS, self._known / POLLS_PER_SECOND) * (0.5 + 0.5 * self._dice())

    def _lag(self) -> dict[tuple[str, ...], float]:
        seconds = self.condition().lag_seconds
        return {} if seconds is None else {(): seconds}

    async def _run(self) -> None:
        while not self._is_closing:
            pause = await self.step()
            if self._is_caught_up and self._clock() >= self._census_at:
                await self._take_census()
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    def _hurry(self) -> None:
        is_allowed = not self._failures and self._clock() - self._polled_at >= HURRY_SECONDS
        if is_allowed:
            self._wake.set()

    async def _publish(self) -> LogFailure | None:
        drafts = self._copy.outbox.take(now=self._clock())
        if not drafts:
            return None
        # What stands before our cursor we would have seen: only what is behind it can be ours already.
        roll = await self._server.append(drafts, after=self._copy.after)
        if isinstance(roll, LogFailure):
            return roll
        self._note_places(drafts, roll)
        return None

    def _note_places(self, drafts: Sequence[Draft], roll: Roll) -> None:
        self._known = max(roll.known, 1)
        for draft, position in zip(drafts, roll.positions, strict=True):
            self._copy.published(draft, position)
            self._tell(draft.uid, position)

    def _tell(self, uid: str, position: Position | None) -> None:
        place = self._places.get(uid)
        if place is not None and not place.done():
            place.set_result(position)

    def _failed(self, operation: str, failure: LogFailure) -> float:
        self._metrics.log_errors.add(operation)
        if not self._failures:
            _log.warning("invalidation log out of reach", operation=operation, detail=failure.detail)
        self._failures += 1
        self._is_caught_up = False
        for uid in self._places:
            self._tell(uid, None)
        longest = min(FIRST_RETRY_SECONDS * (1 << min(self._failures - 1, 8)), RETRY_SECONDS)
        return longest * (0.5 + 0.5 * self._dice())

    def _succeeded(self) -> None:
        if self._failures:
            _log.warning("invalidation log answers again", after_failures=self._failures)
        self._failures = 0
        if self._is_caught_up:
            self._was_read.set()

    async def _until_published(self, drafts: Sequence[Draft]) -> tuple[Position, ...] | None:
        """Where they stand in the log; None: a try has failed, and the tries go on."""
        loop = asyncio.get_running_loop()
        waiting = {draft.uid: loop.create_future() for draft in drafts}
        self._places |= waiting
        self._wake.set()
        try:
            await asyncio.wait(waiting.values(), timeout=PUBLISH_SECONDS)
            places = [place.result() for place in waiting.values() if place.done()]
        finally:
            for uid in waiting:
                del self._places[uid]
        known = tuple(place for place in places if place is not None)
        return known if len(known) == len(drafts) else None

    async def _succession(self, drafts: Sequence[Draft], watch: Watch, capture: Capture) -> Capture | None:
        with watch:
            places = await self._until_published(drafts)
            if places is None or not await self._until_read(places[-1], PUBLISH_SECONDS):
                return None
            # Not the newest place known: what stands behind our own record may be newer than the heir.
            return capture._replace(born=places[-1]) if watch.is_untouched else None

    async def _purge(self, drafts: Sequence[Draft]) -> None:
        await self._until_published(drafts)

    async def _until_read(self, place: Position, timeout: float) -> bool:
        """Wait until the record at `place`, and all before it, were read in order."""
        until = self._clock() + timeout
        while (cursor := self._copy.reader.cursor) is None or cursor < place:
            if self._clock() >= until:
                return False
            self._wake.set()
            await asyncio.sleep(ACKNOWLEDGE_SECONDS)
        return True

    async def _until_acknowledged(
        self, drafts: Sequence[Draft], places: tuple[Position, ...], wait: float
    ) -> Appended:
        """Ask until every registered replica has said that it applied the last of them (R19)."""
        appended_at = self._clock()
        until = appended_at + wait
        answer = Appended(_text_of(places[-1]), True, self._known, 1)
        while True:
            roll = await self._server.append(drafts, after=self._copy.after, at=places, roll_call=True)
            now = self._clock()
            all_obey = False
            if isinstance(roll, LogFailure):
                self._metrics.log_errors.add("roll-call")
            else:
                if roll.positions != places:  # the log had lost them: they were appended again just now
                    places, appended_at = roll.positions, now
                    self._note_places(drafts, roll)
                answer = self._answer(places[-1], roll)
                # Who was silent until here has distrusted the log since: the same log, which still has it.
                all_obey = answer.complete or now - appended_at >= self._max_unsynced
            if all_obey or now >= until:
                return replace(answer, complete=all_obey)
            await asyncio.sleep(ACKNOWLEDGE_SECONDS)

    def _answer(self, place: Position, roll: Roll) -> Appended:
        reach = self._copy.reach_of(place, roll.replicas, roll.tail)
        is_complete = not reach.missing and self._copy.knows_all_replicas(roll.tail)
        return Appended(_text_of(place), True, reach.known, reach.acknowledged, reach.missing, is_complete)

    async def _take_census(self) -> None:
        """Forget replicas that died without a word: nobody must wait for them."""
        roll = await self._server.append((), after=None, roll_call=True)
        now = self._clock()
        if isinstance(roll, LogFailure):
            self._metrics.log_errors.add("roll-call")
        else:
            for name, registration in self._census.silent(roll.replicas, now=now).items():
                await self._server.forget(name, registration)
        # The larger the fleet, the more of us count it.
        self._census_at = now + self._max_unsynced * (1 + self._known / 100)


def _text_of(position: Position) -> str:
    return f"{position.ms}-{position.seq}"
