"""nginx with proxy_cache.

Its best configuration: the cache in memory (a tmpfs) where there is one, files held open, connections to
the origin kept, nothing logged. sendfile stays off for bodies that fit a buffer: one write instead of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bodies import FAMILIES
from bench.machine import free_ports, is_listening, most_open_files
from bench.processes import running
from bench.servers.nginx_base import CLIENTS, TO_UPSTREAM, UPSTREAM, missing_nginx, render_main
from bench.servers.server import Kind, Server, Setup, says_hit

_KEYS_PER_MIB = 6000
"""nginx documents 8,000 keys in a MiB of its zone; the rest is room."""

_OPEN_FILES = most_open_files() - 4096
"""It holds open as many as the system lets it, less what connections need."""


@contextmanager
def start(home: Path, setup: Setup) -> Iterator[Server]:
    (port,) = free_ports(1)
    file = home / "nginx.conf"
    file.write_text(render(home, port=port, setup=setup), encoding="utf-8")
    with running(
        ["nginx", "-c", file],
        cores=setup.cores,
        log=home / "log",
        is_ready=lambda: is_listening(port),
    ) as pid:
        yield Server("nginx", port, pid, says_hit)


def render(home: Path, *, port: int, setup: Setup) -> str:
    zone = max(setup.max_entries // _KEYS_PER_MIB, 16)
    passed = "\n".join(
        f"        location /{family.name}/ {{ proxy_pass http://origin; {TO_UPSTREAM} }}"
        for family in FAMILIES
        if not family.is_stored
    )
    http = f"""
    proxy_cache_path {home / "cache"} levels=1:2 keys_zone=answers:{zone}m max_size=16g inactive=1d
                     use_temp_path=off;
    open_file_cache max={min(setup.max_entries, _OPEN_FILES)} inactive=1d;
    open_file_cache_valid 1d;
    open_file_cache_min_uses 1;
{UPSTREAM.format(port=setup.origin_port)}
    server {{
        listen 127.0.0.1:{port} backlog=4096{" reuseport" if setup.workers > 1 else ""};
        {CLIENTS}
        client_body_buffer_size 16k;
        location / {{
            proxy_pass http://origin;
            {TO_UPSTREAM}
            proxy_cache answers;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 10s;
            proxy_cache_lock_age 10s;
            proxy_buffer_size 8k;
            add_header X-Cache $upstream_cache_status;
        }}
{passed}
    }}"""
    return render_main(home, http, workers=setup.workers)


NGINX = Kind("nginx", "nginx proxy_cache", missing_nginx, start)
