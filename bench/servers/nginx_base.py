"""What all configurations of nginx share: the origin's, the cache's, and the one with Lua and Redis."""

from __future__ import annotations

import os
from pathlib import Path

from bench.machine import most_open_files
from bench.servers.server import lacks

_MODULES = Path("/usr/lib/nginx/modules")
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
NGINX_PACKAGE = "nginx"
LUA_PACKAGES = "nginx libnginx-mod-http-lua lua-nginx-redis"

CLIENTS = """keepalive_requests 1000000000;
        keepalive_timeout 300s;"""
"""By default nginx closes a client's connection after 1,000 requests."""

UPSTREAM = """
    upstream origin {{
        server 127.0.0.1:{port};
        keepalive 512;
        keepalive_requests 1000000000;
    }}"""
TO_UPSTREAM = """proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;"""
"""Without these nginx opens a connection for each request."""


def missing_nginx() -> str | None:
    return lacks("nginx", package=NGINX_PACKAGE)


def can_run_lua() -> bool:
    return all((_MODULES / name).exists() for name in _LUA_MODULES)


def render_main(home: Path, http: str, *, has_lua: bool = False, workers: int = 1) -> str:
    """A whole nginx.conf around what stands in `http`."""
    modules = "\n".join(f"load_module {_MODULES / name};" for name in _LUA_MODULES) if has_lua else ""
    # A worker of another user could not read what root created in a private folder.
    user = "user root;" if os.geteuid() == 0 else ""
    folders = "\n    ".join(
        f"{kind}_temp_path {home / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{modules}
{user}
daemon off;
worker_processes {workers};
worker_rlimit_nofile {most_open_files()};
pid {home / "pid"};
error_log {home / "error.log"} error;
events {{
    worker_connections 16384;
    multi_accept on;
}}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    {folders}
{http}
}}
"""
