"""All servers that can be measured, by name."""

from __future__ import annotations

from bench.servers.haproxy import HAPROXY
from bench.servers.nginx import NGINX
from bench.servers.nginx_lua import NGINX_LUA
from bench.servers.varnish import VARNISH

PEERS = {kind.name: kind for kind in (NGINX, VARNISH, HAPROXY, NGINX_LUA)}
