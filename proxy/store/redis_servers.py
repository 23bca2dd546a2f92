"""Something for each server that has keys of ours: made when needed, closed when the server has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from proxy.observe.tasks import spawn
from proxy.store.redis_topology import Topology


class Closing(Protocol):
    """What can be closed, in bounded time."""

    async def aclose(self) -> None:
        """End it."""


T = TypeVar("T", bound=Closing)


class PerServer(Generic[T]):
    """`make` is given the server's URL."""

    def __init__(self, topology: Topology, make: Callable[[str], T]) -> None:
        self._topology = topology
        self._make = make
        self._made: dict[str, T] = {}
        self._version = topology.version
        self.doubt = topology.doubt

    def __repr__(self) -> str:
        return f"<PerServer {list(self._made.values())!r}>"

    @property
    def is_complete(self) -> bool:
        """It is known who has which key."""
        return bool(self._topology.servers)

    def of(self, name: bytes) -> T | None:
        """That of the server which has the key; None while nobody knows."""
        if self._version != self._topology.version:
            self._leave()
        url = self._topology.server_of(name)
        if url is None:
            return None
        made = self._made.get(url)
        return self._made_for(url) if made is None else made

    def all(self) -> Iterator[T]:
        """Those of all servers that are known."""
        if self._version != self._topology.version:
            self._leave()
        for url in self._topology.servers:
            yield self._made.get(url) or self._made_for(url)

    async def aclose(self) -> None:
        """Close them."""
        while self._made:
            _, made = self._made.popitem()
            await made.aclose()

    def _made_for(self, url: str) -> T:
        made = self._made[url] = self._make(url)
        return made

    def _leave(self) -> None:
        self._version = self._topology.version
        for url in self._made.keys() - self._topology.servers:
            spawn("l2 server left", self._made.pop(url).aclose())
