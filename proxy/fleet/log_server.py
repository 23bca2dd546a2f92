"""The log on a Redis or Valkey server: a stream and a hash in one slot, worked on by two scripts.

Every exception of redis-py ends here. Knows the form of records and replies, not what they mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha1
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol, TypeVar

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from proxy.fleet import scripts
from proxy.fleet.log import Draft, Id, LogFailure, Page, Roll, Survey
from proxy.model import Position
from proxy.policy.invalidation import Record
from proxy.policy.selector_encoding import decode_selectors, encode_selectors

DEADLINE_SECONDS = 0.25
PAGE_RECORDS = 500
PAGE_BYTES = 256 * 1024
SURVEY_RECORDS = 1_000
"""So far a replica's lag is counted: reading as many takes the server 1.2 ms."""

_LARGEST_NUMBER = 2**53
_LARGEST_NONCE = 2**64

T = TypeVar("T")

# RedisClusterException is no RedisError; uvloop says RuntimeError when a closed transport is written to.
_FOREIGN = (RedisError, RedisClusterException, OSError, TimeoutError, RuntimeError)


class Retention(NamedTuple):
    """How much of the log is kept. What was trimmed makes older entries distrusted, never wrong."""

    seconds: float = 24 * 3600.0
    """At least the longest lifetime of an entry with its stale windows, or restarts find L2 distrusted."""
    most_records: int = 100_000
    """About 20 MB on the server."""


DEFAULT_RETENTION = Retention()


class _Script:
    """Sent by its digest; in full where the server does not know it yet."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        values = (*keys, *arguments)
        try:
            return await client.evalsha(self._digest, len(keys), *values)
        except NoScriptError:
            return await client.eval(self._text, len(keys), *values)


_APPEND = _Script(scripts.APPEND)
_POLL = _Script(scripts.POLL)
_SURVEY = _Script(scripts.SURVEY)
_FORGET = _Script(scripts.FORGET)


class Servers(Protocol):
    """Who keeps the log: another server after a failover, or when its slot moves."""

    def of(self, name: bytes) -> Redis | None:
        """A client of the server that has the key; None while nobody knows."""

    def doubt(self) -> None:
        """That server failed, or sent us elsewhere."""


class RedisLogServer:
    """One replica's way to the log. `nonce` gives 64 random bits for an epoch that may begin."""

    def __init__(
        self,
        servers: Servers,
        *,
        namespace: str,
        name: str,
        nonce: Callable[[], int],
        retention: Retention = DEFAULT_RETENTION,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._servers = servers
        # The braces put the hash into the slot of the stream.
        self._keys = (f"{namespace}:log", f"{{{namespace}:log}}:replicas")
        self._name = name
        self._nonce = nonce
        self._retention = retention
        self._deadline_seconds = deadline_seconds

    async def poll(self, after: Id | None, registration: str) -> Page | LogFailure:
        """What follows `after` (None: from the beginning), in the run that registers this replica (R16)."""
        first = "-" if after is None else f"({_text_of(after)}"
        arguments = (self._name, registration, first, PAGE_RECORDS, PAGE_BYTES)
        return await self._run(_POLL, arguments, _page_of)

    async def append(
        self,
        drafts: Sequence[Draft],
        *,
        after: Id | None,
        at: Sequence[Position] = (),
        roll_call: bool = False,
    ) -> Roll | LogFailure:
        """Append the drafts that are not there yet: neither at `at`, nor anywhere behind `after`."""
        arguments: list[str | bytes | int] = [
            int(self._retention.seconds * 1000),
            self._retention.most_records,
            _text_of(after) if after else "",
            int(roll_call),
        ]
        for draft, position in zip_longest(drafts, at):
            place = _text_of((position.ms, position.seq)) if position else ""
            arguments += [draft.uid, place, encode_selectors(draft.selectors, soft=draft.soft)]
        return await self._run(_APPEND, arguments, _roll_of)

    async def survey(self) -> Survey | LogFailure:
        """Who is registered, and what they lack. Changes nothing; for whoever looks, not for each poll."""
        answer = await self._timed(lambda client: _SURVEY.run(client, self._keys, (SURVEY_RECORDS,)))
        return _read(answer, _survey_of)

    async def forget(self, name: str, registration: str) -> LogFailure | None:
        """Remove a replica's registration, if it is still this one."""
        answer = await self._timed(lambda client: _FORGET.run(client, self._keys, (name, registration)))
        return answer if isinstance(answer, LogFailure) else None

    async def leave(self) -> LogFailure | None:
        """Remove our own registration."""
        answer = await self._timed(lambda client: client.hdel(self._keys[1], self._name))
        return answer if isinstance(answer, LogFailure) else None

    async def _run(
        self, script: _Script, arguments: Sequence[str | bytes | int], read: Callable[[Any], T]
    ) -> T | LogFailure:
        nonce = f"{self._nonce():x}"
        answer = await self._timed(lambda client: script.run(client, self._keys, (nonce, *arguments)))
        return _read(answer, read)

    async def _timed(self, call: Callable[[Redis], Any]) -> Any:
        client = self._servers.of(self._keys[0].encode())
        if client is None:
            return LogFailure("nobody knows the server")
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await call(client)
        except _FOREIGN as error:
            self._servers.doubt()
            return LogFailure(str(error) or type(error).__name__)


def _read(answer: Any, read: Callable[[Any], T]) -> T | LogFailure:
    if isinstance(answer, LogFailure):
        return answer
    try:
        return read(answer)
    except (TypeError, ValueError) as error:
        return LogFailure(f"a reply that no script of ours gives: {error}")


def _page_of(reply: Any) -> Page:
    entries, tail, server_ms, known = reply
    last = _id_of(entries[-1][0]) if entries else None
    return Page([record_of(*entry) for entry in entries], last, _position(*tail), int(server_ms), int(known))


def _roll_of(reply: Any) -> Roll:
    places, replicas, known, tail = reply
    positions = tuple(_position(*place) for place in places)
    return Roll(positions, _registrations(replicas), int(known), _position(*tail))


def _survey_of(reply: Any) -> Survey:
    ids, tail, replicas, server_ms = reply
    newest = tuple(_id_of(id_) for id_ in ids)
    place = _position(*tail) if tail else None
    return Survey(_registrations(replicas), newest, SURVEY_RECORDS, place, int(server_ms))


def _registrations(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [text.decode("utf-8", "replace") for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def record_of(id_: bytes, flat: Sequence[bytes]) -> Record | None:
    """An entry of the stream as a record; None for what nobody of ours has written."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        position = _position(id_, fields[b"n"], fields[b"e"])
        predecessor = _id_of(fields[b"p"])
        uid = fields[b"u"].decode()
    except (KeyError, ValueError):
        return None
    is_sound = 0 < position.number <= _LARGEST_NUMBER and 0 <= position.nonce < _LARGEST_NONCE
    if not is_sound:
        return None
    text = fields.get(b"t")
    selectors, soft = decode_selectors(text) if text else ((), False)
    return Record(position, predecessor, uid, selectors, soft)


def _position(id_: bytes, number: bytes, nonce: bytes) -> Position:
    return Position(int(number), *_id_of(id_), int(nonce, 16))


def _id_of(text: bytes) -> Id:
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


def _text_of(id_: Id) -> str:
    return f"{id_[0]}-{id_[1]}"
