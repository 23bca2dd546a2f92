"""Room in the process for as many sockets as the limits promise.

Many systems allow 1,024 descriptors unless asked for more. With fewer than needed, clients are cut off as
they connect and the origin cannot be reached, while every limit of ours says that there is room.
"""

from __future__ import annotations

import resource

import structlog

from proxy.config.schema import Config

RESERVE = 256
"""For what is not counted: the ops and admin ports, Redis, files, the interpreter's own."""


_log = structlog.get_logger("sidecache")


def make_room(config: Config) -> None:
    """Allow what the configuration needs, or say that the system does not."""
    needed = descriptors_needed(config)
    allowed = allow_descriptors(needed)
    if allowed < needed:
        _log.warning("too few file descriptors", allowed=allowed, needed=needed, key="limits.connections")


def descriptors_needed(config: Config) -> int:
    """One for each client, each tunnel's other end, each connection of the pool, and a reserve."""
    limits = config.limits
    return limits.connections + limits.tunnels + config.origin.pool.max_connections + RESERVE


def allow_descriptors(needed: int) -> int:
    """Raise the process's own limit to `needed`, as far as the system lets it; what is allowed now."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return needed
    wanted = needed if most == resource.RLIM_INFINITY else min(needed, most)
    if wanted <= allowed:
        return allowed
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted
