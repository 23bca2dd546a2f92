"""The lists by which replicas tell each other what is hot: a few values in L2, each a list of one replica.

    head     magic, version, how many, CRC-32 of the rest
    rest     the keys, 16 bytes each; then the rates, four bytes each

Owns the names `<namespace>:e3:hot:0` to `hot:7`. Each write takes one of them by lot, so a fleet of any size
has eight lists. They hold digests only. Nothing here is an error to anybody: failures are counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine, Mapping, Sequence
from heapq import nlargest
from math import isfinite
from typing import Any, Protocol
from zlib import crc32

from proxy.observe.metrics import Metrics
from proxy.store.codec import KEY_BYTES, Garbage
from proxy.store.redis_client import GET_ALL, Command, Form
from proxy.store.redis_link import Failure, Fault

LISTS = 8
"""A new replica reads them all, one after the other, before it is ready."""
LIST_SECONDS = 3600
"""A list outlives the replica that wrote it by so much: what was hot an hour ago is better than nothing."""
MOST_KEYS = 65_000
"""Of one list: 1.3 MB, the most that `warm.keys` allows and what its writer has to spare."""

_SET: Form = ("SET", None, None, "PX", LIST_SECONDS * 1000)
_MAGIC = b"SdcH"
_VERSION = 1
_HEAD = struct.Struct(">4sBII")
_READ, _WRITE = "hot-list-read", "hot-list-write"


class Link(Protocol):
    """The way to one server of L2: with its deadline, behind its breaker."""

    def ask_all(
        self, operation: str, commands: Sequence[Command]
    ) -> Coroutine[Any, Any, list[object] | Failure]:
        """One reply a command, a Failure for one that failed; a Failure: all of them failed."""


class HotLists:
    """`link_of` gives the way to the server that has a name, None while nobody knows; `dice` in [0, 1)."""

    def __init__(
        self,
        link_of: Callable[[bytes], Link | None],
        *,
        prefix: bytes,
        metrics: Metrics,
        dice: Callable[[], float],
    ) -> None:
        self._link_of = link_of
        self._names = [b"%bhot:%d" % (prefix, number) for number in range(LISTS)]
        self._metrics = metrics
        self._dice = dice

    async def publish(self, rates: Mapping[bytes, float]) -> None:
        """Tell what is hot here: uses in a second, by key."""
        if not rates:
            return
        name = self._names[int(self._dice() * LISTS)]
        reply = await self._ask(_SET, name, encode(rates))
        self._count(_WRITE, reply.fault.value if isinstance(reply, Failure) else "stored")

    async def hottest(self, most: int) -> Sequence[bytes] | None:
        """The keys that all who told use most together, the hottest first; None: no list could be read.

        Where there is none, nobody has told anything: that is no key.
        """
        totals: dict[bytes, float] = {}
        failures = 0
        for name in self._names:
            reply = await self._ask(GET_ALL, name)
            if isinstance(reply, Failure):
                self._count(_READ, reply.fault.value)
                failures += 1
                continue
            for key, rate in self._read(reply).items():
                totals[key] = totals.get(key, 0.0) + rate
        if failures == LISTS:
            return None
        # Equally hot ones in the order of their keys: every reader has the same list.
        ranked = nlargest(most, totals.items(), key=lambda item: (item[1], item[0]))
        return [key for key, _ in ranked]

    async def _ask(self, form: Form, name: bytes, *words: bytes) -> object | Failure:
        link = self._link_of(name)
        if link is None:
            return Failure(Fault.BREAKER, "nobody knows the server")
        replies = await link.ask_all("hot-list", [(form, (name, *words))])
        return replies if isinstance(replies, Failure) else replies[0]

    def _read(self, reply: object) -> Mapping[bytes, float]:
        value = reply[0] if isinstance(reply, list) and reply else None
        if not isinstance(value, bytes):
            self._count(_READ, "miss")
            return {}
        rates = decode(value)
        if isinstance(rates, Garbage):
            self._count(_READ, "garbage")
            self._metrics.l2_garbage.add(rates.value)
            return {}
        self._count(_READ, "hit")
        return rates

    def _count(self, operation: str, result: str) -> None:
        self._metrics.l2_operations.add(operation, result)


def encode(rates: Mapping[bytes, float]) -> bytes:
    """The list as a value."""
    rest = b"".join(rates) + struct.pack(f">{len(rates)}f", *rates.values())
    return _HEAD.pack(_MAGIC, _VERSION, len(rates), crc32(rest)) + rest


def decode(data: bytes) -> Mapping[bytes, float] | Garbage:
    """Key -> rate. Never raises; memory is bounded by the data's length."""
    fault = _fault(data)
    if fault is not None:
        return fault
    count = (len(data) - _HEAD.size) // (KEY_BYTES + 4)
    end = _HEAD.size + count * KEY_BYTES
    keys = [data[start : start + KEY_BYTES] for start in range(_HEAD.size, end, KEY_BYTES)]
    rates = struct.unpack_from(f">{count}f", data, end)
    if not all(map(_is_rate, rates)):
        return Garbage.MALFORMED
    return dict(zip(keys, rates, strict=True))


def _fault(data: bytes) -> Garbage | None:
    if not data.startswith(_MAGIC):
        return Garbage.MAGIC
    if len(data) < _HEAD.size:
        return Garbage.TRUNCATED
    _, version, count, checksum = _HEAD.unpack_from(data)
    if version != _VERSION:
        return Garbage.VERSION
    if count > MOST_KEYS:
        return Garbage.MALFORMED
    if len(data) != _HEAD.size + count * (KEY_BYTES + 4):
        return Garbage.TRUNCATED
    return None if crc32(memoryview(data)[_HEAD.size :]) == checksum else Garbage.CHECKSUM


def _is_rate(rate: float) -> bool:
    return isfinite(rate) and rate >= 0
