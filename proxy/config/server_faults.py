"""What can be wrong with the process' own settings although each value by itself is right."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from proxy.config.addresses import Address
from proxy.config.faults import Finding
from proxy.config.nodes import Path
from proxy.config.schema import Config

_EVERY_HOST = frozenset({"0.0.0.0", "::"})
_TLS_KEYS = ("ca_file", "cert_file", "key_file", "server_name")


def more_workers_than_shares(config: Config) -> Iterator[Finding]:
    """Workers divide what the sidecar may use; each needs at least one of each."""
    for path, most in _divided(config):
        if config.workers > most:
            message = f"found {config.workers}, expected at most {'.'.join(map(str, path))} ({most})"
            yield Finding(message, (("workers",), path))


def _divided(config: Config) -> Iterator[tuple[Path, int]]:
    # Not the pool's connections: there are never fewer of them than places in flight.
    yield ("origin", "max_in_flight"), config.origin.max_in_flight
    yield ("limits", "connections"), config.limits.connections
    yield ("l1", "max_entries"), config.l1.max_entries


def same_address_twice(config: Config) -> Iterator[Finding]:
    """Each port has its own listener; port 0 is a different one each time."""
    taken: list[tuple[Path, Address]] = []
    for path, listen in _addresses(config):
        if listen is None or listen.port == 0:
            continue
        for earlier, other in taken:
            if _overlap(listen, other):
                message = f"found {listen}, expected another address than {'.'.join(map(str, earlier))}"
                yield Finding(message, (path, earlier))
                break
        taken.append((path, listen))


def _overlap(one: Address, other: Address) -> bool:
    hosts = {one.host, other.host}
    return one.port == other.port and (len(hosts) == 1 or not hosts.isdisjoint(_EVERY_HOST))


def _addresses(config: Config) -> Iterator[tuple[Path, Address | None]]:
    yield ("listen",), config.listen
    yield ("ops", "listen"), config.ops.listen
    yield ("admin", "listen"), config.admin.listen


def open_admin_port(config: Config) -> Iterator[Finding]:
    """Whoever reaches the admin port can empty the cache."""
    listen = config.admin.listen
    if listen is None or config.admin.token or is_loopback(listen.host):
        return
    message = f"found {listen} without a token, expected admin.token or an address on loopback"
    yield Finding(message, (("admin", "listen"), ("admin", "token")))


def is_loopback(host: str) -> bool:
    """Whether only this machine (or pod) reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def pool_bounds(config: Config) -> Iterator[Finding]:
    """What the pool can never give must not be promised."""
    origin, most = config.origin, config.origin.pool.max_connections
    limit = ("origin", "pool", "max_connections")
    if origin.max_in_flight > most:
        message = f"found {origin.max_in_flight}, expected at most origin.pool.max_connections ({most})"
        yield Finding(message, (("origin", "max_in_flight"), limit))
    if origin.pool.min_idle > most:
        message = f"found {origin.pool.min_idle}, expected at most origin.pool.max_connections ({most})"
        yield Finding(message, (("origin", "pool", "min_idle"), limit))


def tls_without_https(config: Config) -> Iterator[Finding]:
    """Settings that would silently do nothing, on connections that the operator thinks are encrypted."""
    scheme = config.origin.url.partition(":")[0]
    if scheme == "https":
        return
    for key in _TLS_KEYS:
        if getattr(config.origin.tls, key) is not None:
            message = f"found TLS settings for {scheme}:, expected an https:// origin.url"
            yield Finding(message, (("origin", "tls", key), ("origin", "url")))


def certificate_without_key(config: Config) -> Iterator[Finding]:
    """A client certificate needs both files."""
    tls = config.origin.tls
    for given, missing in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(tls, given) is not None and getattr(tls, missing) is None:
            message = f"found {given} alone, expected {missing} too"
            yield Finding(message, (("origin", "tls", given), ("origin", "tls", missing)))


def entry_larger_than_l1(config: Config) -> Iterator[Finding]:
    """An entry that fills L1 pushes everything else out."""
    total, entry = config.l1.max_bytes, config.l1.max_entry_bytes
    if not isinstance(total, int):
        return
    most = total // config.workers
    if entry > most:
        of_each = "" if config.workers == 1 else f" divided by {config.workers} workers"
        message = f"found {entry} bytes, expected at most l1.max_bytes{of_each} ({most} bytes)"
        yield Finding(message, (("l1", "max_entry_bytes"), ("l1", "max_bytes")))


SERVER_FAULTS = (
    more_workers_than_shares,
    same_address_twice,
    open_admin_port,
    pool_bounds,
    tls_without_https,
    certificate_without_key,
    entry_larger_than_l1,
)
