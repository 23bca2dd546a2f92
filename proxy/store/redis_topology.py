"""Which server has which key: always the same one, or whom a cluster or sentinels name.

Owns when they are asked: never by a request, never regularly, only once somebody has a doubt (a server that
fails, or that sends us elsewhere), and at most once in LOOK_SECONDS however many doubt.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import NamedTuple, Protocol

import structlog
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from proxy.observe.tasks import spawn
from proxy.store.redis_link import Failure, failure_of
from proxy.store.redis_url import place_of, server_group

LOOK_SECONDS = 0.5
FIND_SECONDS = 1.0
"""How long finding out may take: several servers may be asked that do not answer."""

_log = structlog.get_logger("sidecache.l2")


class Topology(Protocol):
    """What the stores must know of it."""

    is_slotted: bool
    """Keys of different slots cannot travel in one command."""
    version: int
    """Another one when the servers are others."""
    servers: frozenset[str]
    """The URLs of all that have keys."""

    def server_of(self, name: bytes) -> str | None:
        """The URL of the server that has the key; None while nobody knows."""

    def doubt(self) -> None:
        """Somebody was sent elsewhere, or got no answer: find out anew soon."""

    async def start(self) -> None:
        """Find out, for at most FIND_SECONDS; nobody need be there."""

    async def aclose(self) -> None:
        """Ask nobody any more."""


class OneServer:
    """All keys, for ever."""

    is_slotted = False
    version = 0

    def __init__(self, url: str) -> None:
        self._url = url
        self.servers = frozenset({url})

    def __repr__(self) -> str:
        return f"<OneServer {place_of(self._url)}>"

    def server_of(self, name: bytes) -> str | None:
        """The server."""
        return self._url

    def doubt(self) -> None:
        """There is nobody to ask."""

    async def start(self) -> None:
        """Known."""

    async def aclose(self) -> None:
        """Nothing runs."""


class Shards(NamedTuple):
    """Which server has which slots: `urls[i]` has those up to and with `lasts[i]`; None: nobody."""

    lasts: tuple[int, ...]
    urls: tuple[str | None, ...]

    @classmethod
    def whole(cls, url: str) -> Shards:
        """One server has all of them."""
        return cls((REDIS_CLUSTER_HASH_SLOTS - 1,), (url,))

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int, str]]) -> Shards:
        """First slot, last slot, URL; in any order, gaps belong to nobody."""
        lasts: list[int] = []
        urls: list[str | None] = []
        for first, last, url in sorted(ranges):
            if first > (lasts[-1] if lasts else -1) + 1:
                lasts.append(first - 1)
                urls.append(None)
            lasts.append(last)
            urls.append(url)
        return cls(tuple(lasts), tuple(urls))

    def url_of(self, slot: int) -> str | None:
        """Who has the slot."""
        index = bisect_left(self.lasts, slot)
        return self.urls[index] if index < len(self.urls) else None


_NOBODY = Shards((), ())


class Finder(Protocol):
    """Whoever can be asked for the servers."""

    async def find(self) -> Shards | Failure:
        """Who they are now."""

    async def aclose(self) -> None:
        """End what it has open."""


class FoundServers:
    """Servers that change. `finder` asks who they are; it may fail, then the last ones stay."""

    def __init__(
        self,
        finder: Finder,
        *,
        is_slotted: bool,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.is_slotted = is_slotted
        self.version = 0
        self.servers: frozenset[str] = frozenset()
        self._finder = finder
        self._clock = clock
        self._pause = pause
        self._shards = _NOBODY
        self._has_failed = False
        self._doubted = asyncio.Event()
        self._looker: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<FoundServers {_texts_of(self.servers)}>"

    def server_of(self, name: bytes) -> str | None:
        """Who had the slot when it was last found out."""
        url = self._shards.url_of(key_slot(name) if self.is_slotted else 0)
        if url is None:
            self.doubt()
        return url

    def doubt(self) -> None:
        """Look again soon."""
        self._doubted.set()

    async def start(self) -> None:
        """Look once, then whenever somebody doubts."""
        await self._look()
        self._looker = spawn("l2 topology", self._look_again())

    async def aclose(self) -> None:
        """Look no more."""
        if self._looker is not None:
            self._looker.cancel()
            await asyncio.wait({self._looker})
        await self._finder.aclose()

    async def _look_again(self) -> None:
        while True:
            await self._pause(LOOK_SECONDS)
            await self._doubted.wait()
            await self._look()

    async def _look(self) -> None:
        # Before the answer: what fails from here on may be news to it.
        self._doubted.clear()
        found = await self._found()
        if isinstance(found, Failure):
            self._note_failure(found)
            return
        self._has_failed = False
        if found != self._shards:
            self._shards = found
            self.servers = frozenset(url for url in found.urls if url is not None)
            self.version += 1
            _log.warning("L2 servers found", servers=_texts_of(self.servers))

    async def _found(self) -> Shards | Failure:
        try:
            async with asyncio.timeout(FIND_SECONDS):
                return await self._finder.find()
        except TimeoutError as error:
            return failure_of(error)

    def _note_failure(self, failure: Failure) -> None:
        self._doubted.set()
        if not self._has_failed:
            _log.warning("nobody says where L2 is", detail=failure.detail)
        self._has_failed = True


def topology_of(url: str) -> Topology:
    """What `l2.url` names. Raises StoreUnavailable for a faulty URL."""
    group = server_group(url)
    if group is None:
        return OneServer(url)
    if group.kind == "cluster":
        from proxy.store.redis_cluster import ClusterFinder  # noqa: PLC0415 - only who has a cluster pays

        return FoundServers(ClusterFinder(group), is_slotted=True)
    from proxy.store.redis_sentinel import SentinelFinder  # noqa: PLC0415 - likewise

    return FoundServers(SentinelFinder(group), is_slotted=False)


def _texts_of(urls: Iterable[str]) -> str:
    return ", ".join(sorted(place_of(url) for url in urls)) or "none"
