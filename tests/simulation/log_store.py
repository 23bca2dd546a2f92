"""The log on a Redis server, in memory: what the two scripts do, each in one step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from proxy.fleet.log import Draft, Id, LogFailure, Page, Roll
from proxy.model import Position
from proxy.policy.invalidation import Record

Appended = Callable[[str, Position], None]
NOBODY: Appended = lambda uid, position: None  # noqa: E731
FULL = LogFailure("OOM command not allowed")
NO_REPLICAS = LogFailure("NOREPLICAS Not enough good replicas to write")


@dataclass
class Entry:
    """A record, and what only the server's scripts look at."""

    record: Record
    master: int
    """The server's `master_replid` when it was added."""
    added_at: float
    """Virtual seconds, so that a follower can lag."""

    @property
    def id(self) -> Id:
        return self.record.position.ms, self.record.position.seq


@dataclass
class LogStore:
    """One server: a stream and a hash. `now` is virtual seconds, the server's own clock may step."""

    now: Callable[[], float]
    replid: int
    on_append: Appended = NOBODY
    entries: list[Entry] = field(default_factory=list)
    registrations: dict[str, str] = field(default_factory=dict)
    registered_at: dict[str, float] = field(default_factory=dict)
    last_id: Id = (0, 0)
    clock_offset: float = 1_000_000.0
    tick_ms: int = 1
    page_records: int = 500
    full_until: float = -1.0
    writes_until: float = float("inf")
    """From here on it has no replica and refuses writes (min-replicas-to-write)."""

    @property
    def now_ms(self) -> int:
        """The server's own clock."""
        return int((self.now() + self.clock_offset) * 1000) // self.tick_ms * self.tick_ms

    @property
    def tail(self) -> Position:
        return self.entries[-1].record.position

    @property
    def nonce(self) -> int | None:
        """Of its newest epoch; None: it is empty."""
        return self.entries[-1].record.position.nonce if self.entries else None

    def uids(self) -> set[str]:
        """Of all records that are there."""
        return {entry.record.uid for entry in self.entries}

    def poll(self, nonce: int, name: str, registration: str, after: Id | None) -> Page | LogFailure:
        """The script POLL."""
        refusal = self._begin(nonce)
        if refusal is not None:
            return refusal
        refusal = self._refusal()
        if refusal is None:
            self.registrations[name] = registration
            self.registered_at[name] = self.now()
        elif refusal is not FULL or name not in self.registrations:
            return refusal
        first = 0 if after is None else bisect_right(self.entries, after, key=lambda entry: entry.id)
        page = self.entries[first : first + self.page_records]
        last = page[-1].id if page else None
        records = [entry.record for entry in page]
        return Page(records, last, self.tail, self.now_ms, len(self.registrations))

    def append(
        self,
        nonce: int,
        drafts: Sequence[Draft],
        after: Id | None,
        at: Sequence[Position],
        *,
        roll_call: bool,
    ) -> Roll | LogFailure:
        """The script APPEND."""
        refusal = self._begin(nonce)
        if refusal is not None:
            return refusal
        present = {} if after is None else self._present(after)
        for position in at:
            found = next((e for e in self.entries if e.id == (position.ms, position.seq)), None)
            if found is not None:
                present.setdefault(found.record.uid, found.record.position)
        missing = [draft for draft in drafts if draft.uid not in present]
        refusal = self._refusal()
        is_refused = refusal is NO_REPLICAS if roll_call and not missing else bool(missing)
        if refusal is not None and is_refused:
            return refusal
        for draft in missing:
            present[draft.uid] = self._add(draft)
        places = tuple(present[draft.uid] for draft in drafts)
        roll = dict(self.registrations) if roll_call else {}
        return Roll(places, roll, len(self.registrations), self.tail)

    def forget(self, name: str, registration: str) -> None:
        """The script FORGET."""
        if self.registrations.get(name) == registration:
            self.leave(name)

    def leave(self, name: str) -> None:
        """HDEL."""
        self.registrations.pop(name, None)
        self.registered_at.pop(name, None)

    def trim(self, kept: int) -> list[str]:
        """Only the newest records stay; the uids of the others."""
        trimmed = [entry.record.uid for entry in self.entries[:-kept]]
        del self.entries[:-kept]
        return trimmed

    def flush(self, *, with_registrations: bool) -> None:
        """DEL of the stream, and of the hash; the server is the same."""
        self.entries.clear()
        self.last_id = (0, 0)
        if with_registrations:
            self.registrations.clear()
            self.registered_at.clear()

    def follower(self, replid: int, *, until: float) -> LogStore:
        """Another server that has received what was written here until then, promoted now."""
        entries = [entry for entry in self.entries if entry.added_at <= until]
        registered_at = {name: at for name, at in self.registered_at.items() if at <= until}
        registrations = {name: self.registrations[name] for name in registered_at}
        last_id = max([(0, 0), *(entry.id for entry in entries)])
        return replace(
            self,
            replid=replid,
            entries=entries,
            registrations=registrations,
            registered_at=registered_at,
            last_id=last_id,
            full_until=-1.0,
            writes_until=float("inf"),
        )

    def come_back(self, replid: int, *, until: float) -> LogStore:
        """This server, promoted again after others: its `master_replid` is a new one each time."""
        return self.follower(replid, until=until)

    def _refusal(self) -> LogFailure | None:
        if self.now() < self.full_until:
            return FULL
        return NO_REPLICAS if self.now() >= self.writes_until else None

    def _begin(self, nonce: int) -> LogFailure | None:
        newest = self.entries[-1] if self.entries else None
        if newest is not None and newest.master == self.replid:
            return None
        refusal = self._refusal()
        if refusal is None:
            number = newest.record.position.number + 1 if newest else 1
            self._put(number, nonce, Draft("", (), soft=False))
        return refusal

    def _present(self, after: Id) -> dict[str, Position]:
        first = bisect_right(self.entries, after, key=lambda entry: entry.id)
        return {entry.record.uid: entry.record.position for entry in self.entries[first:]}

    def _add(self, draft: Draft) -> Position:
        newest = self.entries[-1].record.position
        position = self._put(newest.number, newest.nonce, draft)
        self.on_append(draft.uid, position)
        return position

    def _put(self, number: int, nonce: int, draft: Draft) -> Position:
        before = self.entries[-1].id if self.entries else (0, 0)
        ms, seq = self.last_id
        self.last_id = max((self.now_ms, 0), (ms, seq + 1))
        position = Position(number, *self.last_id, nonce)
        record = Record(position, before, draft.uid, draft.selectors, draft.soft)
        self.entries.append(Entry(record, self.replid, self.now()))
        return position
