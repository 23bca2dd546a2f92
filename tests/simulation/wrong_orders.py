"""Methods of the product done wrongly, for mutants.py to put in their places."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Any

from proxy.engine.fetching import Fetcher
from proxy.engine.origin_flow import OriginFlow
from proxy.engine.request_flow import RequestFlow
from proxy.fleet.log import Id, LogFailure, Page, Registration, Roll
from proxy.fleet.log_copy import LogCopy
from proxy.fleet.reach import Reach, reach_of
from proxy.fleet.reader import Progress, Reader, Rebuild, _FullRead
from proxy.fleet.redis_log import RedisLog
from proxy.fleet.trust import Trust
from proxy.model import Held, Position, StoredResponse, Validity
from proxy.observe.tasks import spawn
from proxy.policy.invalidation import Record
from proxy.policy.invalidation_index import Contents, Index, Modes
from proxy.store.tiered import TieredStore
from tests.simulation.log_store import LogStore
from tests.simulation.process import MAX_UNSYNCED, SharedTier, SimulatedServer

ALIVE, DEAD = Validity.ALIVE, Validity.DEAD


# What the product does, for the mutants that add to it.
_accept, _judge, _born = LogCopy.accept, LogCopy._judge, LogCopy._born
_use, _not_modified, _received = RequestFlow._use, Fetcher._not_modified, Fetcher._received
_back_fill = TieredStore.back_fill
_completed, _note_own, _poll, _append = (
    Trust.completed,
    Reader.note_own,
    SimulatedServer.poll,
    SimulatedServer.append,
)
_replace, _read = Index.replace, SharedTier.read
_store_poll, _store_append = LogStore.poll, LogStore.append
_published, _note_rebuilt = LogCopy.published, LogCopy._note_rebuilt
_judge_held, _begin_at = LogCopy.judge_held, _FullRead._begin_at


def always_alive(self: Any, *_given: Any, **_named: Any) -> Validity:
    return ALIVE


def drop_what_is_named(self: LogCopy, page: Page, *, sent_at: float) -> Progress:
    """The naive way: a purge empties the tiers, and what comes later is stored."""
    progress = _accept(self, page, sent_at=sent_at)
    if progress.seen:
        self.process.tiers._memory.clear()
        self.process.world.l2.clear()
    return progress


async def received_and_born(self: Fetcher, flight: Any, lookup: Any, base: Any, response: Any) -> Any:
    flight.capture = self._log.capture()
    return await _received(self, flight, lookup, base, response)


async def not_modified_and_born(self: Fetcher, flight: Any, lookup: Any, base: Any, response: Any) -> Any:
    flight.capture = self._log.capture()
    return await _not_modified(self, flight, lookup, base, response)


def server_time(self: LogCopy, *, ms: int = 0, seq: int) -> Position | None:
    born = _born(self)
    page = getattr(self, "newest_page", None)
    if born is None or page is None or page.records or page.tail.nonce != born.nonce:
        return born
    self.latest = max(born, getattr(self, "latest", born), born._replace(ms=page.server_ms + ms, seq=seq))
    return self.latest


def keep_page(self: LogCopy, page: Page, *, sent_at: float) -> Progress:
    self.newest_page = page  # type: ignore[attr-defined]
    return _accept(self, page, sent_at=sent_at)


def without_tags(self: OriginFlow, flight: Any, ending: Any, arrived_version: int) -> Validity:
    """Late requests join unless a key, a prefix, ... says no: tags are unknown when they come."""
    return self._log.judge(ending.stored.but(tags=()), began_at=flight.capture.began_at)


def l2_unjudged(
    self: RequestFlow, lookup: Any, stored: Any, validity: Validity, tier: str, now: float
) -> Any:
    return _use(self, lookup, stored, ALIVE if tier == "l2" else validity, tier, now)


def judged_at_the_server(self: SharedTier, key: bytes) -> Any:
    entry = _read(self, key)
    if isinstance(entry, StoredResponse):
        early = self._process.__dict__.setdefault("early", {})
        early[id(entry)] = self._process.log.judge(entry)
    return entry


def l2_judged_early(
    self: RequestFlow, lookup: Any, stored: Any, validity: Validity, tier: str, now: float
) -> Any:
    early = self._shared._shared._process.__dict__.get("early", {})
    judged = early.get(id(stored), validity) if tier == "l2" else validity
    return _use(self, lookup, stored, judged, tier, now)


def l2_before_any_read(self: LogCopy, entry: StoredResponse, *given: Any, **named: Any) -> Validity:
    return _judge(self, entry, *given, **named) if self.index.was_read else ALIVE


def own_birth(self: TieredStore, key: bytes, entry: Any, now: float, *, idle: float | None) -> Held:
    if isinstance(entry, StoredResponse):
        entry = entry.but(born=self._shared._process.log.capture().born)
    return _back_fill(self, key, entry, now, idle=idle)


def newest_wins(self: Modes, selectors: Any, mark: Any, *, soft: bool) -> None:
    hides, hidden = (self.soft, self.hard) if soft else (self.hard, self.soft)
    for selector in selectors:
        hides.add(selector, mark)
        if selector in hidden._narrow:
            hidden._drop(hidden._narrow.pop(selector))
        if selector in hidden._broad:
            hidden._drop(hidden._broad.pop(selector))


def asked_once(self: LogCopy, held: Held) -> Validity:
    return ALIVE if held.version >= 0 else _judge_held(self, held)


def from_the_reply_on(self: Trust, *, sent_at: float, now: float, epoch_age: float) -> bool:
    return _completed(self, sent_at=now, now=now, epoch_age=epoch_age)


def for_ever(self: Trust, *, sent_at: float, now: float, epoch_age: float) -> bool:
    begun = _completed(self, sent_at=sent_at, now=now, epoch_age=epoch_age)
    self.until = inf
    return begun


def without_grace(self: Trust, *, sent_at: float, now: float, epoch_age: float) -> bool:
    _completed(self, sent_at=sent_at, now=now, epoch_age=epoch_age)
    self.grace_until = -inf
    return False


def timer_flag(self: LogCopy, page: Page, *, sent_at: float) -> Progress:
    """Trust is a flag, which a timer takes back: it runs behind what has waited for a stopped process."""
    progress = _accept(self, page, sent_at=sent_at)
    if progress.is_complete:
        self.polled = page  # type: ignore[attr-defined]
        spawn("timer", _take_back(self, page, self.trust.until - self.process.clock()))
        self.trust.until = inf
    return progress


async def _take_back(copy: Any, page: Page, seconds: float) -> None:
    await copy.process.travel(seconds)
    await asyncio.sleep(0.001)
    if copy.polled is page:
        copy.trust.until = -inf


def note_published(self: LogCopy, draft: Any, position: Position) -> None:
    self.__dict__.setdefault("own", set()).add(draft.uid)
    _published(self, draft, position)


def publishers_only(self: LogCopy, progress: Progress, cause: Rebuild, now: float) -> None:
    """Lost records are appended again by who appended them first, and by nobody else."""
    own = self.__dict__.get("own", set())
    lost = tuple(record for record in progress.lost if record.uid in own)
    _note_rebuilt(self, progress._replace(lost=lost), cause, now)


def any_record(self: Reader, record: Record | None) -> Rebuild | None:
    return None if record is not None else Rebuild.GAP


def fork_behind(self: Reader, record: Record | None) -> Rebuild | None:
    """Whatever names a predecessor that was read already follows."""
    if record is None or self.cursor is None:
        return Rebuild.GAP
    return None if record.predecessor <= (self.cursor.ms, self.cursor.seq) else Rebuild.GAP


def no_floor(self: _FullRead, record: Record) -> None:
    _begin_at(self, record)
    self.contents = self._index.empty(None)


def keep_epochs(self: Index, contents: Contents) -> None:
    contents.nonces |= self._contents.nonces
    _replace(self, contents)


def keep_checks(self: Index, contents: Contents) -> None:
    """What was checked before a full read counts after it."""
    _replace(self, contents)
    self.generation = 0


def jump(self: Reader, record: Record, *, now: float) -> None:
    _note_own(self, record, now=now)
    if self._full_read is None:
        self.cursor = record.position


def lost_nothing(self: _FullRead, record: Record) -> bool:
    return False


def bare_ids(self: LogCopy, position: Position, replicas: Mapping[str, str], tail: Position) -> Reach:
    return reach_of(position, replicas, lambda _: True)


def knows_all(self: LogCopy, tail: Position) -> bool:
    return True


async def early_complete(self: RedisLog, drafts: Any, places: Any, wait: float) -> Any:
    patient, self._max_unsynced = self._max_unsynced, MAX_UNSYNCED / 4
    try:
        return await _until_acknowledged(self, drafts, places, wait)
    finally:
        self._max_unsynced = patient


_until_acknowledged = RedisLog._until_acknowledged


def acknowledged_when_read(
    self: LogStore, nonce: int, name: str, registration: str, after: Id | None
) -> Page | LogFailure:
    """The server notes what it hands out, not what was applied."""
    page = _store_poll(self, nonce, name, registration, after)
    if isinstance(page, Page) and page.records and page.records[-1] is not None:
        self.registrations[name] = Registration(page.records[-1].position, 1).encode()
    return page


async def read_then_register(self: SimulatedServer, after: Id | None, registration: str) -> Page | LogFailure:
    name, self._process.name = self._process.name, "nobody"
    page = await _poll(self, after, registration)
    self._process.name = name
    store = self._world.store_of(self._process)
    store.leave("nobody")
    if after is not None:
        await _poll(self, after, registration)
    return page


def expired_by_the_server(
    self: LogStore, nonce: int, drafts: Any, after: Id | None, at: Any, *, roll_call: bool
) -> Roll | LogFailure:
    """Registrations have a time to live, half of max_unsynced, on the server's clock."""
    for name, at_ms in list(self.registered_at.items()):
        if self.now() - at_ms > MAX_UNSYNCED / 2:
            self.leave(name)
    return _store_append(self, nonce, drafts, after, at, roll_call=roll_call)


def never_refuses(self: LogStore) -> None:
    return None


def same_run(self: LogStore, replid: int, *, until: float) -> LogStore:
    """The server is told by its run id, which it keeps when it is deposed and promoted again."""
    return _follower(self, self.replid, until=until)


def same_master(self: LogStore, replid: int, *, until: float) -> LogStore:
    """The server is told by a run id that follows it, or not at all: a failover begins no epoch."""
    return _follower(self, self.replid, until=until)


_follower = LogStore.follower
