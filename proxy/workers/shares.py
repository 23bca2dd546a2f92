"""What one of several workers may use of what the configuration allows the whole sidecar.

Bounds protect the origin and the container, which do not care how many processes we are: a worker gets its
part of each. What bounds a single entry, request or connection stays as it is.
"""

from __future__ import annotations

from typing import Any, TypeVar

from proxy.config.container import L1_BYTES_WITHOUT_LIMIT, l1_byte_budget, spool_byte_budget
from proxy.config.schema import Config
from proxy.config.section import Section
from proxy.config.units import BYTES

S = TypeVar("S", bound=Section)

SUPERVISOR_BYTES = 64 * BYTES["MiB"]
"""Of the container: the supervisor's own process."""


def part(total: int, index: int, count: int) -> int:
    """The parts of all workers make the total; the first ones take what cannot be divided."""
    return total // count + (index < total % count)


def worker_config(config: Config, index: int, *, container_bytes: int | None, l2_url: str) -> Config:
    """The configuration of worker `index` of `config.workers`; `l2_url` is where the private server is."""
    share = _Share(index, config.workers)
    container = None if container_bytes is None else (container_bytes - SUPERVISOR_BYTES) // config.workers
    origin = config.origin
    return _with(
        config,
        l1=_with(
            config.l1, max_entries=share(config.l1.max_entries), max_bytes=_l1_bytes(config, share, container)
        ),
        l2=_with(config.l2, url=l2_url),
        limits=_with(
            config.limits,
            connections=share(config.limits.connections),
            tunnels=share(config.limits.tunnels),
            spool=spool_byte_budget(share(config.limits.spool), container),
        ),
        origin=_with(
            origin,
            max_in_flight=share(origin.max_in_flight),
            pool=_with(
                origin.pool,
                max_connections=share(origin.pool.max_connections),
                min_idle=share(origin.pool.min_idle),
            ),
            queue=_with(origin.queue, size=share(origin.queue.size)),
        ),
    )


class _Share:
    def __init__(self, index: int, count: int) -> None:
        self._index = index
        self._count = count

    def __call__(self, total: int) -> int:
        return part(total, self._index, self._count)


def _l1_bytes(config: Config, share: _Share, container: int | None) -> int:
    limit = config.l1.max_bytes
    if isinstance(limit, int):
        return share(limit)
    return share(L1_BYTES_WITHOUT_LIMIT) if container is None else l1_byte_budget(limit, container)


def _with(section: S, **changes: Any) -> S:
    return section.model_copy(update=changes)
