"""One run of one replica: the product's log and engine, on a network and a machine that the dice trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from proxy.engine.assembly import assemble
from proxy.engine.coalescing import Ending, Fetched, Flight, Found
from proxy.engine.lookup import Lookup
from proxy.fleet.log import Draft, Id, LogFailure, Page, Roll
from proxy.fleet.reach import Reach
from proxy.fleet.redis_log import RedisLog
from proxy.model import NOT_ASKED, Answer, Claim, Entry, Position, StoredResponse
from proxy.model import Found as InL2
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import Selector
from proxy.store.memory import MemoryStore
from proxy.store.tiered import TieredStore
from proxy.store.write_behind import WriteBehind
from tests.simulation.fills import Fill, Fills
from tests.simulation.log_store import LogStore
from tests.simulation.promises import Purge
from tests.support.telling import told

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_UNSYNCED = 1.0
DEADLINE_SECONDS = 0.25
LEASE_SECONDS = 1.0
EPOCH_SECONDS = 1_000_000_000.0

T = TypeVar("T")


class Process:
    """A replica from its start to its end. Its name may outlive it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.is_dead = False
        self.paused_until = 0.0
        self.read_at = -1.0
        """When it last came to the end of the log that counts."""
        self.pauses_before_reply = 0.0
        """For how long, once a reply of the log's server is on its way."""
        self.cut_until = 0.0
        self.fills = Fills(world.races)
        self.refreshing: set[bytes] = set()
        self.acknowledged: dict[str, set[str]] = {}
        """Id of a record -> who was counted as having applied it."""
        self.staging: Purge | None = None
        """The purge that is asked for now: what is staged next is its."""
        self._boot = world.dice.uniform(0, 1_000)
        self._skew = world.dice.uniform(-1, 1) if world.kind.has_skew else 0.0
        self.metrics = Metrics()
        self.log = RedisLog(
            SimulatedServer(self),
            keyed=world.keyed,
            max_unsynced=MAX_UNSYNCED,
            when_unsynced="short",
            metrics=self.metrics,
            bits=lambda: world.dice.getrandbits(64),
            dice=world.dice.random,
            clock=self.clock,
        )
        self.copy = self.log._copy
        self.copy.process = self  # type: ignore[attr-defined]
        memory = MemoryStore(self.metrics, max_entries=100, max_bytes=1_000_000, max_entry_bytes=10_000)
        self.shared = SharedTier(self)
        self.tiers = TieredStore(memory, self.shared, on_error="open")  # type: ignore[arg-type]
        self.flow = assemble(
            world.config,
            origin=world.origin_of(self),
            tiers=self.tiers,
            shared=self.tiers,
            log=self.log,
            leases=Leases(self),
            metrics=self.metrics,
            spool_bytes=1_000_000,
            clock=self.wall,
            monotonic=self.clock,
            dice=world.dice.random,
        )
        self._watch()

    def __repr__(self) -> str:
        return self.name

    def clock(self) -> float:
        """This machine's own, which began at its boot."""
        return self.world.now + self._boot

    def wall(self) -> float:
        """Epoch seconds."""
        return EPOCH_SECONDS + self.world.now + self._skew

    @property
    def is_paused(self) -> bool:
        return self.world.now < self.paused_until

    @property
    def is_cut(self) -> bool:
        """From Redis: its log, its L2 and its leases."""
        return self.world.now < self.cut_until

    async def travel(self, seconds: float) -> None:
        """A message's way out of the process or into it: neither happens while it is stopped."""
        await asyncio.sleep(seconds)
        while self.is_paused:  # noqa: ASYNC110 - it may be stopped for longer meanwhile
            await asyncio.sleep(self.paused_until - self.world.now)
        if self.is_dead:
            await asyncio.Event().wait()

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.paused_until = self.world.now + seconds
        self.world.note(f"{self} is stopped until {self.paused_until * 1000:.0f} ms")

    def kill(self) -> None:
        """As by SIGKILL: whatever it waits for never comes."""
        self.is_dead = True

    def knows(self, purge: Purge) -> bool:
        """Would it append the purge again if the log had lost it?"""
        recent = self.copy.reader._recent
        return any(self.copy.outbox.holds(uid) or recent.get(uid) is not None for uid in purge.uids)

    def applied(self, purge: Purge) -> None:
        """Here, now."""
        self.world.promises.applied(self, self.name, purge)
        self.fills.meet(purge, "elsewhere")

    def _watch(self) -> None:
        """Learn which purges are staged and applied here."""
        accept, stage, reach_of = self.copy.accept, self.copy.stage, self.copy.reach_of

        def staged(selectors: Sequence[Selector], *, soft: bool) -> list[Draft]:
            drafts, purge = stage(selectors, soft=soft), self.staging
            self.staging = None
            if purge is not None:
                purge.uids += [draft.uid for draft in drafts]
                self.world.purges.update(dict.fromkeys(purge.uids, purge))
                self.applied(purge)
            return drafts

        def counted(position: Position, replicas: Mapping[str, str], tail: Position) -> Reach:
            reach = reach_of(position, replicas, tail)
            self.acknowledged[f"{position.ms}-{position.seq}"] = replicas.keys() - set(reach.missing)
            return reach

        def watched(page: Page, *, sent_at: float) -> object:
            progress = accept(page, sent_at=sent_at)
            if progress.is_complete and page.tail.nonce == self.world.primary.nonce:
                self.read_at = self.world.now
            for record in progress.seen:
                purge = self.world.purges.get(record.uid)
                if purge is not None:
                    self.applied(purge)
            if progress.seen and self.world.trace is not None:
                self.world.note(f"{self} applied", *(self.world.word_of(r.uid) for r in progress.seen))
            return progress

        self.copy.accept = watched  # type: ignore[assignment,method-assign]
        refresh = self.flow._refresher._run

        async def refreshed(flight: Flight, lookup: Lookup) -> Ending:
            self.refreshing.add(lookup.request.target)
            try:
                return await refresh(flight, lookup)
            finally:
                self.refreshing.discard(lookup.request.target)

        share = self.flow._origin_flow._share

        def shared(lookup: Lookup, flight: Flight, ending: Ending, arrived_version: int) -> Answer | None:
            stored = ending.stored if isinstance(ending, Fetched | Found) else None
            owed = self.world.promises.debts(self, self.name, lookup.request.target, self.world.now).fresh
            self.world.races["follower"] += stored is not None and int(stored.body) < owed.version
            return share(lookup, flight, ending, arrived_version)

        self.flow._refresher._run = refreshed  # type: ignore[method-assign]
        self.flow._origin_flow._share = shared  # type: ignore[method-assign]
        self.copy.reach_of = counted  # type: ignore[method-assign]
        self.copy.stage = staged  # type: ignore[method-assign]


class SimulatedServer:
    """A replica's way to the log's server: behind the same protocol as RedisLogServer."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    async def poll(self, after: Id | None, registration: str) -> Page | LogFailure:
        """As RedisLogServer does."""
        nonce = self._world.new_nonce()
        name = self._process.name
        return await self._exchange(lambda store: store.poll(nonce, name, registration, after))

    async def append(
        self,
        drafts: Sequence[Draft],
        *,
        after: Id | None,
        at: Sequence[Position] = (),
        roll_call: bool = False,
    ) -> Roll | LogFailure:
        """As RedisLogServer does."""
        nonce = self._world.new_nonce()
        return await self._exchange(lambda store: store.append(nonce, drafts, after, at, roll_call=roll_call))

    async def forget(self, name: str, registration: str) -> LogFailure | None:
        """As RedisLogServer does."""
        return await self._exchange(lambda store: store.forget(name, registration))

    async def leave(self) -> LogFailure | None:
        """As RedisLogServer does."""
        return await self._exchange(lambda store: store.leave(self._process.name))

    async def _exchange(self, run: Callable[[LogStore], T]) -> T | LogFailure:
        process, world = self._process, self._world
        loss = world.kind.loss
        chance = world.dice.random()
        await process.travel(world.latency())
        if process.is_cut:
            await process.travel(world.dice.choice((0.001, DEADLINE_SECONDS)))
            return LogFailure("cut")
        if chance < loss:
            return await self._silence("request lost")
        wait = max(world.server_paused_until - world.now, 0.0)
        if chance < 2 * loss or wait > DEADLINE_SECONDS:
            # Nobody waits for it any more, but it is on its way, and will be run.
            world.later(max(wait, world.dice.uniform(0.3, 1.5)), lambda: run(world.store_of(process)))
            return await self._silence("request late")
        await process.travel(wait)
        result = run(world.store_of(process))
        if process.pauses_before_reply:
            process.pause(process.pauses_before_reply)
            process.pauses_before_reply = 0.0
        if chance < 3 * loss:
            return await self._silence("reply lost")
        await process.travel(world.latency())
        return LogFailure("cut") if process.is_cut else result

    async def _silence(self, word: str) -> LogFailure:
        await self._process.travel(DEADLINE_SECONDS)
        return LogFailure(word)


class SharedTier:
    """A replica's way to L2: the product's write-behind queue, and a dict that everybody shares."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._writes = WriteBehind(self._write, process.metrics, is_taken=lambda: not process.is_cut)
        self._queued: dict[bytes, Fill] = {}
        self.is_open = False

    async def look_up(self, key: bytes) -> Entry | None:
        """As RedisStore does: what still waits to be written is found, too."""
        pending = self._writes.pending(key)
        if pending is not None:
            return pending
        process, world = self._process, self._world
        await process.travel(world.latency())
        if process.is_cut:
            await process.travel(0.05)
            return None
        return await self.bring(key)

    async def bring(self, key: bytes) -> Entry | None:
        """What the server has now, on its way back."""
        process = self._process
        entry = self.read(key)
        fill = self._fill("back-fill", entry)
        try:
            await process.travel(self._world.latency())
        except BaseException:
            process.fills.drop(fill)
            raise
        process.fills.land(fill)
        return entry

    def is_written(self, key: bytes) -> bool:
        """It waits for its write, or is being written."""
        return self._writes.pending(key) is not None

    def read(self, key: bytes) -> Entry | None:
        """At the server."""
        return self._world.l2.get(key)

    def put(self, key: bytes, entry: Entry) -> None:
        """Behind the request's back."""
        overtaken = self._queued.pop(key, None)
        if overtaken is not None:
            self._process.fills.drop(overtaken)
        self._queued[key] = self._fill("write-behind", entry)
        self._writes.put(key, entry)

    def when_written(self, then: Callable[[bool], None]) -> None:
        """Once all of it is there."""
        self._writes.when_settled(then)

    async def written(self) -> None:
        """Until all of it is there, however long that takes."""
        while not await told(self.when_written) and not self._process.is_cut:
            pass

    async def _write(self, batch: Mapping[bytes, Entry]) -> None:
        process, world = self._process, self._world
        batch = dict(batch)
        fills = [self._queued.pop(key) for key in batch]
        has_landed = False
        try:
            await process.travel(world.latency() * world.dice.choice((1, 1, 10)))
            has_landed = not process.is_cut
        finally:
            for fill in fills:
                (process.fills.land if has_landed else process.fills.drop)(fill)
        if has_landed:
            world.l2.update(batch)
        await process.travel(world.latency())

    def _fill(self, sort: str, entry: Entry | None) -> Fill:
        if isinstance(entry, StoredResponse):
            return self._process.fills.begin(sort, entry.target, int(entry.body))
        return self._process.fills.begin(sort, b"")


class Leases:
    """Who fetches what, on the shared server."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    async def claim(self, key: bytes, entry_key: bytes) -> tuple[Claim, InL2]:
        """SET NX GET PX; for every second key, behind it, what L2 has: as if one of two servers had both."""
        process, world = self._process, self._world
        await process.travel(world.latency())
        if process.is_cut:
            return Claim.UNAVAILABLE, NOT_ASKED
        holder, until = world.leases.get(key, (None, 0.0))
        is_renewed = holder is not None and not (holder.is_dead or holder.is_paused)
        is_taken = is_renewed or until > world.now
        if not is_taken:
            world.leases[key] = process, world.now + LEASE_SECONDS
        claim = Claim.TAKEN if is_taken else Claim.HELD
        if entry_key[0] % 2 or process.shared.is_written(entry_key):
            await process.travel(world.latency())
            return claim, NOT_ASKED
        return claim, await process.shared.bring(entry_key)

    def release(self, key: bytes, *, lone_seconds: float = 0.0) -> None:
        """DEL, if it is still ours."""
        del lone_seconds
        if self._world.leases.get(key, (None,))[0] is self._process:
            del self._world.leases[key]
