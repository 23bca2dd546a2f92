"""Replicas, clients, purges and trouble in virtual time; all that happens follows from the seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random

from proxy.config.schema import Config
from proxy.model import Entry, Position
from proxy.policy.invalidation import Selector
from proxy.policy.selected import Keyed
from tests.simulation.kinds import Kind
from tests.simulation.log_store import LogStore
from tests.simulation.origin import NAMED, TARGETS, Origin
from tests.simulation.process import MAX_UNSYNCED, Process
from tests.simulation.promises import Promises, Purge
from tests.support.configs import config
from tests.support.purging import keyed

SIZES = (2, 2, 3, 3, 4, 6, 10)


class World:
    """Everything there is. `trace`: what happened, in words; None: nobody wants to know."""

    def __init__(
        self, seed: int, kind: Kind, *, replicas: int | None = None, is_traced: bool = False
    ) -> None:
        self.seed = seed
        self.kind = kind
        self.dice = Random(f"{kind.name} {seed}")
        self.trace: list[str] | None = [] if is_traced else None
        self.faults: list[str] = []
        self.broken: set[str] = set()
        """The promises that were."""
        self.is_broken = asyncio.Event()
        self.races: Counter[str] = Counter()
        """What brought old content behind a purge that named it, by sort: see fills.py, and followers."""
        self.answers = 0
        self.cached = 0
        self.bound = 0
        """Answers from a cache that a purge had a say in."""
        self.config = _config(self.dice.choice(("fleet", "process")), self.dice.choice(("0.1s", "60s")))
        self.keyed: Keyed = keyed
        self.promises = Promises()
        self.purges: dict[str, Purge] = {}
        self.asked = 0
        self.versions = dict.fromkeys(TARGETS, 1)
        self.origin_fails_until = 0.0
        self.l2: dict[bytes, Entry] = {}
        self.l2_snapshot: dict[bytes, Entry] = {}
        self.leases: dict[bytes, tuple[Process, float]] = {}
        self.server_paused_until = 0.0
        self.nonce_at: dict[int, float] = {}
        self.has_min_replicas = True
        self.is_splitting = False
        self.purge_rate = self.dice.choice(kind.purge_rates)
        self.slowness = self.dice.choice((0.2, 1.0, 3.0))
        self._loop: asyncio.AbstractEventLoop
        size = self.dice.choice(SIZES)  # drawn in any case: a replay that names it goes the same way
        self.replicas = size if replicas is None else replicas
        self._names = 0
        self.processes: list[Process] = []

    @property
    def now(self) -> float:
        return self._loop.time()

    def begin(self) -> None:
        """The first replicas start."""
        self._loop = asyncio.get_running_loop()
        self.primary = LogStore(lambda: self.now, self.dice.getrandbits(64))
        self.primary.tick_ms = 20 if self.kind.has_skew else 1
        self.primary.page_records = self.dice.choice((1, 3, 500))
        self.primary.on_append = self._appended_to(self.primary)
        self.deposed: LogStore | None = None
        self.deposed_side: frozenset[Process] = frozenset()
        self.snapshot = self.primary.follower(self.primary.replid, until=0.0)
        for _ in range(self.replicas):
            self.start()

    def start(self, name: str | None = None) -> Process:
        """A replica begins to run, under a new name or that of one that ended."""
        if name is None:
            name, self._names = f"r{self._names}", self._names + 1
        process = Process(self, name)
        self.processes.append(process)
        process.log.start()
        self.note(f"{name} starts")
        return process

    def kill(self, process: Process) -> None:
        """A replica ends without a word."""
        process.kill()
        self.processes.remove(process)
        self.note(f"{process} is killed")
        self.void([purge for purge in self.all_purges() if self._died_with_its_publisher(purge)])

    def change(self, selector: Selector, *, soft: bool) -> Purge:
        """What the selector names changes at the origin; the purge that is to say so."""
        for target in NAMED[selector]:
            self.versions[target] += 1
        versions = {target: self.versions[target] for target in NAMED[selector]}
        self.asked += 1
        return Purge(self.asked, selector, soft, versions)

    def origin_of(self, process: Process) -> Origin:
        """As this process reaches it."""
        return Origin(process)

    def store_of(self, process: Process) -> LogStore:
        """Which server of the log this process reaches."""
        is_on_old_side = self.deposed is not None and process in self.deposed_side
        return self.deposed if is_on_old_side and self.deposed else self.primary

    def latency(self) -> float:
        """Seconds, one way, to Redis."""
        roll = self.dice.random()
        return roll * 0.002 * self.slowness if roll < 0.9 else (roll - 0.9) * 0.4 * self.slowness

    def origin_latency(self) -> float:
        """Seconds to the origin's read, or from there."""
        return self.dice.random() ** 2 * 0.1

    def new_nonce(self) -> int:
        """For an epoch that may begin."""
        nonce = self.dice.getrandbits(64)
        self.nonce_at[nonce] = self.now
        return nonce

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Nobody waits for it."""
        self._loop.call_later(seconds, act)

    def note(self, *words: object) -> None:
        """Into the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.now * 1000:10.3f} ms  {' '.join(map(str, words))}")

    def blame(self, promise: str, fault: str) -> None:
        """A promise was broken."""
        self.broken.add(promise)
        self.is_broken.set()
        self.faults.append(f"{fault}: {promise}")
        self.note("BROKEN:", self.faults[-1])

    def word_of(self, uid: str) -> str:
        """A record, for the trace."""
        return str(self.purges.get(uid, "epoch"))

    def all_purges(self) -> list[Purge]:
        """Each once."""
        return list(dict.fromkeys(self.purges.values()))

    def void(self, purges: list[Purge]) -> None:
        """Nothing more is promised of these."""
        if purges:
            self.note("void:", *purges)
            self.promises.void(purges)

    def become(self, store: LogStore) -> None:
        """Another server is the log's primary, with what it has."""
        store.on_append = self._appended_to(store)
        self.primary = store
        for purge in self.all_purges():
            if purge.is_void or purge.appended_at < 0:
                continue
            if self._is_covered(purge, store):
                purge.missing_since = None
            elif purge.missing_since is None:
                self._missing(purge)

    def _missing(self, purge: Purge) -> None:
        purge.missing_since = since = self.now
        self.note(f"{purge} is lost")

        def give_up() -> None:
            # Who knows of it and reads this log has appended it again, or breaks a promise.
            heirs = [each for each in self.processes if each.read_at > self.now - 0.3 and each.knows(purge)]
            if purge.missing_since == since and not purge.is_void and not heirs:
                self.void([purge])

        self.later(MAX_UNSYNCED, give_up)

    def _died_with_its_publisher(self, purge: Purge) -> bool:
        is_gone = purge.appended_at < 0 or purge.missing_since is not None
        return is_gone and not purge.is_void and not any(process.knows(purge) for process in self.processes)

    def _is_covered(self, purge: Purge, store: LogStore) -> bool:
        """Does the store have it, or distrust all that is older?"""
        position = purge.position
        if position is None or not store.uids().isdisjoint(purge.uids):
            return True
        nonces = {entry.record.position.nonce for entry in store.entries}
        if all(self.nonce_at[nonce] > purge.appended_at for nonce in nonces):
            return True
        first = store.entries[0].record
        is_same_epoch = first.position.nonce == position.nonce
        return is_same_epoch and (position.ms, position.seq) <= first.predecessor

    def _appended_to(self, store: LogStore) -> Callable[[str, Position], None]:
        def appended(uid: str, position: Position) -> None:
            purge = self.purges.get(uid)
            if purge is None:
                return
            purge.position, purge.appended_at = position, self.now
            self.note(f"{purge} is appended", "to the deposed server" if store is not self.primary else "")
            if store is not self.primary:
                self._missing(purge)
                return
            purge.missing_since = None
            at = self.now
            self.later(MAX_UNSYNCED, lambda: self._overdue(purge, at))

        return appended

    def _overdue(self, purge: Purge, appended_at: float) -> None:
        if purge.appended_at == appended_at and purge.missing_since is None:
            self.promises.overdue(purge)


@cache
def _config(scope: str, l1_ttl: str) -> Config:
    coalesce = {"scope": scope, "wait": "1s"}
    every = {"name": "all", "match": {"path": "/**"}, "jitter": 0, "early_refresh": True}
    return config(routes=[{**every, "coalesce": coalesce, "l1_ttl": l1_ttl}])
