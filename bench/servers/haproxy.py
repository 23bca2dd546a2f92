"""HAProxy with its memory cache, one thread for the one core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.bodies import FAMILIES, LIFETIME_SECONDS
from bench.machine import free_ports, is_listening
from bench.processes import running
from bench.servers.server import MIB, Kind, Server, Setup, lacks, says_hit

_MOST_MIB = 4095
"""What `total-max-size` takes at most."""


@contextmanager
def start(home: Path, setup: Setup) -> Iterator[Server]:
    (port,) = free_ports(1)
    file = home / "haproxy.cfg"
    file.write_text(render(port=port, setup=setup), encoding="utf-8")
    with running(
        ["haproxy", "-db", "-f", file],
        cores=setup.cores,
        log=home / "log",
        is_ready=lambda: is_listening(port),
    ) as pid:
        yield Server("haproxy", port, pid, says_hit)


# The Content-Length of a 304 is allowed (RFC 9110 §8.6), but wrk would wait for that many bytes.
def render(*, port: int, setup: Setup) -> str:
    passed = " ".join(f"/{family.name}/" for family in FAMILIES if not family.is_stored)
    return f"""global
    nbthread {setup.workers}
    maxconn 4000
cache answers
    total-max-size {min(setup.max_bytes // MIB, _MOST_MIB)}
    max-object-size {MIB}
    max-age {LIFETIME_SECONDS}
defaults
    mode http
    timeout client 300s
    timeout server 30s
    timeout connect 5s
    timeout http-keep-alive 300s
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    acl is_passed path_beg {passed}
    use_backend passed if is_passed
    default_backend cached
backend cached
    http-request cache-use answers
    http-response cache-store answers
    http-response set-header X-Cache HIT if {{ res.cache_hit }}
    http-response del-header Content-Length if {{ status 304 }}
    server origin 127.0.0.1:{setup.origin_port}
backend passed
    server origin 127.0.0.1:{setup.origin_port}
"""


HAPROXY = Kind("haproxy", "HAProxy cache", partial(lacks, "haproxy", package="haproxy"), start)
