"""Replicas, a shared L2, an origin and a log in virtual time: the dice choose each step of each actor.

The product's own `LogCopy` judges; what surrounds it (who asks when, what is stored where) is written here as
the engine does it, and wrongly in a mutant. An origin's answer is a version number. Applying a purge
obliges a replica: whatever it serves from a cache to a request that arrives later is not older than the
origin's version when that purge was asked for. Obligations outlive a restart, but not the last one who knows
of the purge: neither the log nor any process.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random

from proxy.fleet.log_copy import LogCopy
from proxy.model import Capture, Held, Position, StoredResponse, Validity
from proxy.observe.metrics import Metrics
from proxy.policy.invalidation import EVERYTHING, Selector
from tests.support.purging import entry, is_named, keyed, prefix, tag, url
from tests.support.replicas import MAX_UNSYNCED, SteppedClock
from tests.support.streams import Stream

Actor = Generator[None, None, None]

TARGETS = (b"/a", b"/b")
SELECTORS = (url("/a"), url("/b"), prefix("/a"), tag("/b"), EVERYTHING)


@dataclass
class Flight:
    """A fetch that others may wait for."""

    capture: Capture
    result: StoredResponse | None = None


class Process:
    """One replica, as the engine uses its log."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.obliged: dict[str, dict[bytes, int]] = {}
        """Uid of a purge that was applied here -> the least versions to serve."""
        self.restart()

    def restart(self) -> None:
        """Memory is lost, obligations are not."""
        self.l1: dict[bytes, Held] = {}
        self.flights: dict[bytes, Flight] = {}
        self.copy = LogCopy(
            keyed=keyed,
            max_unsynced=MAX_UNSYNCED,
            when_unsynced="short",
            metrics=Metrics(),
            new_uid=self.world.new_uid,
            hurry=lambda: None,
            clock=self.world.clock,
        )
        self.life = object()

    def oblige(self, uid: str) -> None:
        """A record was applied here: a purge, or a mere new epoch."""
        if uid in self.world.asked:
            self.obliged[uid] = self.world.asked[uid]

    def bound(self, target: bytes) -> int:
        """The least version that a request may get from a cache, if it arrives now."""
        return max((versions.get(target, 0) for versions in self.obliged.values()), default=0)

    def knows(self, uid: str) -> bool:
        """Would this process append the purge again if the log had lost it?"""
        return self.copy.outbox.holds(uid) or self.copy.reader._recent.get(uid) is not None


@dataclass
class World:
    """Everything, and the order in which it happens."""

    seed: int
    mutant: Mutant
    has_trouble: bool = False
    stale: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.clock = SteppedClock()
        self.stream = Stream()
        self.stream.now_ms += 3_600_000
        self.stream.tick_ms = 0
        self.uids = 0
        self.origin = dict.fromkeys(TARGETS, 0)
        self.l2: dict[bytes, StoredResponse] = {}
        self.asked: dict[str, dict[bytes, int]] = {}
        """Uid -> the origin's versions when the purge was asked for."""
        self.trimmed: set[str] = set()
        self.processes = [Process(self, name) for name in ("one", "two")]
        self.actors: list[Actor] = []
        self.served = 0

    def new_uid(self) -> str:
        self.uids += 1
        return f"uid {self.uids}"

    def run(self, steps: int = 400) -> World:
        """Let the dice choose who goes on, and when somebody new comes."""
        links = {process.name: self._link(process) for process in self.processes}
        for _ in range(steps):
            self.clock.advance(0.001)
            self.stream.now_ms += self.dice.random() < 0.3
            chance = self.dice.random()
            if chance < 0.15:
                self.actors.append(self._some_request())
            elif chance < 0.19:
                self._some_purge()
            elif chance < 0.21 and self.has_trouble:
                self._some_trouble()
            elif chance < 0.4:
                next(self.dice.choice(list(links.values())))
            elif self.actors:
                self._advance(self.dice.choice(self.actors))
        return self

    def serve(self, process: Process, stored: StoredResponse, bound: int, how: str) -> None:
        """A cached answer to a request that was bound when it arrived."""
        self.served += 1
        if int(stored.body) < bound:
            self.stale.append(
                f"{process.name} served {stored.target!r} {int(stored.body)} < {bound} by {how}"
            )

    def _advance(self, actor: Actor) -> None:
        try:
            next(actor)
        except StopIteration:
            self.actors.remove(actor)

    def _some_request(self) -> Actor:
        return self._request(self.dice.choice(self.processes), self.dice.choice(TARGETS))

    def _some_purge(self) -> None:
        """The origin changes, and somebody says so."""
        process, selector = self.dice.choice(self.processes), self.dice.choice(SELECTORS)
        for target in named_by(selector):
            self.origin[target] += 1
        (draft,) = process.copy.stage([selector], soft=False)
        self.asked[draft.uid] = {target: self.origin[target] for target in named_by(selector)}
        self.mutant.applied(process, selector)
        process.oblige(draft.uid)

    def _some_trouble(self) -> None:
        match self.dice.randrange(5):
            case 0:
                kept = self.dice.randint(1, 3)
                self.trimmed |= {record.uid for record in self.stream.records[:-kept] if record}
                self.stream.trim(kept)
            case 1:
                self._begin_epoch()
            case 2:
                self._lose_last_records()
            case 3:
                self.dice.choice(self.processes).restart()
            case 4:
                self.clock.advance(MAX_UNSYNCED / 3)
                self.stream.now_ms += int(MAX_UNSYNCED / 3 * 1000)
        self._drop_forgotten()

    def _drop_forgotten(self) -> None:
        """Nothing is promised of a purge that nobody remembers: its publisher died with it."""
        remembered = self.trimmed | {record.uid for record in self.stream.records if record}
        for process in self.processes:
            for uid in list(process.obliged):
                if uid not in remembered and not any(each.knows(uid) for each in self.processes):
                    del process.obliged[uid]

    def _begin_epoch(self) -> None:
        self.stream.now_ms += 1
        self.stream.begin_epoch(self.dice.getrandbits(64))

    def _lose_last_records(self) -> None:
        """A failover to a replica of the server that misses them."""
        for _ in range(min(self.dice.randint(1, 2), len(self.stream.ids) - 1)):
            self.stream.records.pop()
            self.stream.ids.pop()
        survivor = self.stream.records[-1]
        if survivor is not None:
            self.stream.number = survivor.position.number
        self._begin_epoch()

    def _link(self, process: Process) -> Actor:
        """What RedisLog.step does, over and over, as three moments: sent, answered, applied."""
        is_caught_up = False
        while True:
            life, copy = process.life, process.copy
            if is_caught_up:
                yield from self._publish(process)
            sent_at = self.clock()
            page = self.stream.page(copy.after, most=self.dice.choice((1, 2, 500)))
            yield
            if process.life is life:
                progress = copy.accept(page, sent_at=sent_at)
                is_caught_up = progress.is_complete
                for record in progress.seen:
                    self.mutant.applied(process, *record.selectors)
                    process.oblige(record.uid)
            else:
                is_caught_up = False
            yield

    def _publish(self, process: Process) -> Actor:
        life, copy = process.life, process.copy
        drafts = copy.outbox.take(now=self.clock())
        present = {record.uid: record for record in self.stream.records if record is not None}
        placed = [
            present.get(draft.uid) or self.stream.append(*draft.selectors, uid=draft.uid, soft=draft.soft)
            for draft in drafts
        ]
        yield
        if process.life is life:
            for draft, record in zip(drafts, placed, strict=True):
                copy.published(draft, record.position)

    def _request(self, process: Process, target: bytes) -> Actor:
        life, bound = process.life, process.bound(target)
        held = process.l1.get(target)
        if held is not None and self.mutant.may_use_held(process, held):
            self.serve(process, held.entry, bound, "l1")
            return
        flight = process.flights.get(target)
        if flight is not None:
            version = process.copy.index.version
            while flight.result is None and process.life is life:
                yield
            if process.life is not life:
                return
            if self.mutant.may_share(process, flight, version):
                self.serve(process, flight.result, bound, "a flight")
                return
        if (yield from self._ask_l2(process, target, bound)):
            return
        yield from self._fetch(process, target)

    def _ask_l2(self, process: Process, target: bytes, bound: int) -> Generator[None, None, bool]:
        life, stored = process.life, self.l2.get(target)
        early = self.mutant.judged_when_asked(process, stored)
        yield
        is_usable = stored is not None and process.life is life
        if not is_usable or not self.mutant.may_use_l2(process, stored, early):
            return False
        kept = self.mutant.back_filled(process, stored)
        process.l1[target] = Held(kept, 1, 0.0)
        self.serve(process, stored, bound, "l2")
        return True

    def _fetch(self, process: Process, target: bytes) -> Actor:
        life = process.life
        capture = self.mutant.captured(process, self)
        flight = Flight(capture)
        process.flights.setdefault(target, flight)
        yield
        version = self.origin[target]
        yield
        capture = self.mutant.captured_late(process, capture)
        stored = entry(target, born=capture.born, tags=(target,)).but(body=str(version).encode())
        if process.life is not life:
            return
        if self.mutant.may_store(process, stored, capture):
            held = process.l1[target] = Held(stored, 1, 0.0)
            held.began_at = capture.began_at
            self.actors.append(self._write_behind(target, stored))
        flight.result = stored
        if process.flights.get(target) is flight:
            del process.flights[target]

    def _write_behind(self, target: bytes, stored: StoredResponse) -> Actor:
        for _ in range(self.dice.randrange(4)):
            yield
        self.l2[target] = stored


class Mutant:
    """The right way at each of its places; a mutant overrides one of them."""

    def applied(self, process: Process, *selectors: Selector) -> None:
        """Nothing is dropped when a purge is applied: entries are judged when they are used."""

    def captured(self, process: Process, world: World) -> Capture:
        return process.copy.capture()

    def captured_late(self, process: Process, capture: Capture) -> Capture:
        return capture

    def may_store(self, process: Process, stored: StoredResponse, capture: Capture) -> bool:
        return process.copy.judge(stored, began_at=capture.began_at) is not Validity.DEAD

    def may_use_held(self, process: Process, held: Held) -> bool:
        return process.copy.judge_held(held) is Validity.ALIVE

    def judged_when_asked(self, process: Process, stored: StoredResponse | None) -> bool:
        return False

    def may_use_l2(self, process: Process, stored: StoredResponse, early: bool) -> bool:
        return process.copy.judge(stored) is Validity.ALIVE

    def back_filled(self, process: Process, stored: StoredResponse) -> StoredResponse:
        return stored

    def may_share(self, process: Process, flight: Flight, version: int) -> bool:
        assert flight.result is not None
        if version == flight.capture.version:
            return True
        judged = process.copy.judge(flight.result, began_at=flight.capture.began_at)
        return judged is Validity.ALIVE


def named_by(selector: Selector) -> list[bytes]:
    """Which of the origin's targets the selector names."""
    return [target for target in TARGETS if is_named(selector, entry(target, tags=(target,)))]


def timed(position: Position | None, now_ms: int) -> Position | None:
    """The server's clock in place of an id."""
    return None if position is None else max(position, position._replace(ms=now_ms, seq=2**63))
