"""What stands on an L2: the store, the log that replicas share, leases, and the server where it is our own.

The only module of the assembly that loads redis: a process without L2 does not import it.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable

from redis.asyncio import Redis

from proxy.config.tiers import L2
from proxy.fleet.leases import MOST_CLAIMS, Leases
from proxy.fleet.log_server import RedisLogServer
from proxy.fleet.overview import Overview
from proxy.fleet.redis_log import RedisLog
from proxy.model import Entry
from proxy.observe.metrics import Metrics
from proxy.policy.selected import Keyed
from proxy.store.embedded import EmbeddedServer
from proxy.store.redis import RedisStore
from proxy.store.redis_client import connect
from proxy.store.redis_servers import PerServer
from proxy.store.redis_topology import Topology, topology_of
from proxy.store.supervision import Supervisor

LOG_TIMEOUT_SECONDS = 1.0
"""A read of the log holds up no request, so it may take longer than a look-up in L2."""


class SharedTier:
    """Of one process: `build` and `start` it, end it with `aclose`, then `disconnect`.

    `known` has what L1 holds of a key.
    """

    def __init__(self, config: L2, metrics: Metrics, *, known: Callable[[bytes], Entry | None]) -> None:
        self._config = config
        self._metrics = metrics
        self._known = known
        self._embedded: EmbeddedServer | None = None
        self._supervisor: Supervisor | None = None
        self._topology: Topology | None = None
        self._log_clients: PerServer[Redis] | None = None
        self.store: RedisStore | None = None
        self.leases: Leases | None = None
        self.log: RedisLog | None = None
        self.overview: Overview | None = None

    async def build(self, *, replica: str, keyed: Keyed) -> tuple[RedisStore, RedisLog]:
        """Store and log. Raises StoreUnavailable; what was made by then can be ended."""
        url, is_private = self._config.url, self._config.url == "embedded"
        if is_private:
            self._embedded = EmbeddedServer()
            await self._embedded.start()
            self._supervisor = Supervisor(self._embedded, self._metrics)
            url = self._embedded.url
        self._topology = topology = topology_of(url)
        self.store = store = self._make_store(topology)
        if not is_private:
            self.leases = Leases(
                store.link_of,
                reading_of=lambda key: store.reading(key, together=MOST_CLAIMS),
                namespace=self._config.namespace,
                token=lambda: secrets.token_bytes(8),
            )
            self._metrics.gauges.update(self.leases.gauges())
        self._log_clients = PerServer(topology, lambda url: connect(url, timeout=LOG_TIMEOUT_SECONDS))
        server = RedisLogServer(
            self._log_clients,
            namespace=self._config.namespace,
            name=replica,
            nonce=lambda: secrets.randbits(64),
        )
        self.log = log = self._make_log(server, keyed)
        self.overview = Overview(replica, server, log)
        return store, log

    def _make_store(self, topology: Topology) -> RedisStore:
        config = self._config
        store = RedisStore(
            topology,
            namespace=config.namespace,
            timeout=config.timeout,
            metrics=self._metrics,
            known=self._known,
        )
        self._metrics.gauges.update(store.gauges())
        return store

    def _make_log(self, server: RedisLogServer, keyed: Keyed) -> RedisLog:
        return RedisLog(
            server,
            keyed=keyed,
            max_unsynced=self._config.max_unsynced,
            when_unsynced=self._config.when_unsynced,
            metrics=self._metrics,
            bits=lambda: secrets.randbits(64),
            dice=random.random,
        )

    async def start(self) -> None:
        """The servers first, then what asks them."""
        if self._supervisor is not None:
            self._supervisor.start()
        if self._topology is not None:
            await self._topology.start()
        if self.store is not None:
            await self.store.start()

    async def aclose(self) -> None:
        """What is written is written; nothing is asked any more."""
        for part in (self.log, self.leases, self.store):
            if part is not None:
                await part.aclose()

    async def disconnect(self) -> None:
        """Connections, then the server that is ours."""
        for part in (self._log_clients, self._topology, self._supervisor):
            if part is not None:
                await part.aclose()
        if self._embedded is not None:
            await self._embedded.stop()
