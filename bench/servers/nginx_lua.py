"""nginx with Lua and Redis: what teams write who want a shared cache behind nginx.

Its best configuration: LuaJIT in the worker, one GET for an answer, connections to Redis and to the
origin kept, the body stored as it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bodies import LIFETIME_SECONDS
from bench.machine import free_ports, is_listening
from bench.processes import running
from bench.servers.nginx_base import (
    CLIENTS,
    LUA_PACKAGES,
    TO_UPSTREAM,
    UPSTREAM,
    can_run_lua,
    missing_nginx,
    render_main,
)
from bench.servers.server import Kind, Server, Setup, says_hit

_DRIVER = Path("/usr/share/lua/5.1/nginx/redis.lua")


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
        yield Server("nginx-lua", port, pid, says_hit)


def render(home: Path, *, port: int, setup: Setup) -> str:
    answer = _ANSWER.format(redis=setup.redis_port, seconds=LIFETIME_SECONDS)
    http = f"""
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    init_by_lua_block {{ redis = require "nginx.redis" }}
{UPSTREAM.format(port=setup.origin_port)}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        {CLIENTS}
        location /origin/ {{
            internal;
            rewrite ^/origin(/.*)$ $1 break;
            proxy_pass http://origin;
            {TO_UPSTREAM}
        }}
        location / {{ content_by_lua_block {{{answer}}} }}
    }}"""
    return render_main(home, http, has_lua=True, workers=setup.workers)


_ANSWER = """
            local client = redis:new()
            client:set_timeout(1000)
            local path = ngx.var.uri
            local body
            if client:connect("127.0.0.1", {redis}) then
                body = client:get(path)
            end
            ngx.header["X-Cache"] = "HIT"
            if not body or body == ngx.null then
                local answer = ngx.location.capture("/origin" .. path)
                body = answer.body
                ngx.status = answer.status
                ngx.header["X-Cache"] = "MISS"
                if answer.status == 200 then
                    client:setex(path, {seconds}, body)
                end
            end
            client:set_keepalive(60000, 512)
            ngx.header["Content-Length"] = #body
            ngx.print(body)
        """


def missing() -> str | None:
    is_there = missing_nginx() is None and can_run_lua() and _DRIVER.exists()
    return None if is_there else f"apt-get install {LUA_PACKAGES}"


NGINX_LUA = Kind("nginx-lua", "nginx + Lua + Redis", missing, start)
