"""sidecache, of this checkout or of another one: started by its own command, with every feature on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.machine import free_ports
from bench.processes import running
from bench.servers.server import Kind, Server, Setup

NAME = "sidecache"
CHECKOUT = Path(__file__).resolve().parents[2]
_HIT = "sidecache; hit"
_OK = 200


@contextmanager
def start(home: Path, setup: Setup, *, name: str = NAME, checkout: Path = CHECKOUT) -> Iterator[Server]:
    clients, ops, admin = free_ports(3)
    file = home / "sidecache.yaml"
    file.write_text(render(clients=clients, ops=ops, admin=admin, setup=setup), encoding="utf-8")
    with running(
        command(checkout, file),
        cores=setup.cores,
        log=home / "log",
        is_ready=lambda: is_ready(ops),
        directory=checkout,
    ) as pid:
        yield Server(name, clients, pid, says_hit, ops)


def command(checkout: Path, file: Path) -> list[str | Path]:
    return [checkout / ".venv/bin/sidecache", "serve", "--config", file]


def is_ready(ops_port: int) -> bool:
    """Does its start-up probe answer?"""
    connection = HTTPConnection("127.0.0.1", ops_port, timeout=1)
    try:
        connection.request("GET", "/startupz")
        return connection.getresponse().status == _OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def says_hit(fields: Mapping[str, str]) -> bool:
    return fields.get("cache-status", "").startswith(_HIT)


def render(*, clients: int, ops: int, admin: int, setup: Setup) -> str:
    """A configuration as a shop would write it: the routes that are measured stand behind others."""
    l2 = f"redis://127.0.0.1:{setup.redis_port}/0" if setup.redis_port else "off"
    # With 0s an L1 copy is never enough: L2 is asked first, each time.
    l1_ttl = "0s" if setup.is_l2_asked_first else "60s"
    return f"""listen: 127.0.0.1:{clients}
ops: {{listen: "127.0.0.1:{ops}"}}
admin: {{listen: "127.0.0.1:{admin}"}}
workers: {setup.workers}
drain: {{delay: 0s, timeout: 5s}}
origin: {{url: "http://127.0.0.1:{setup.origin_port}", slow_after: 1s}}
l1: {{max_entries: {setup.max_entries}, max_bytes: {setup.max_bytes}}}
l2: {{url: "{l2}"}}
logs: {{level: warning}}
defaults:
  l1_ttl: {l1_ttl}
  stale_while_revalidate: 30s
  stale_if_error: 1h
routes:
  - name: search
    match: {{path: /search, methods: [GET, HEAD]}}
    ttl: 30s
    key: {{query: {{include: [q, page], forward: keyed}}}}
  - name: profile
    match: {{path: "/users/{{id}}/profile"}}
    ttl: 1m
    identity: {{header: Authorization}}
  - name: cart
    match: {{path: "/cart/**"}}
    cache: false
  - name: passed
    match: {{path: "/passed/**"}}
    cache: false
  - name: item
    match: {{path: "/items/{{id}}"}}
    ttl: 5m
    negative: {{404: 30s, 410: 5m, errors: {{500: 1s}}}}
    tags: ["item:{{id}}"]
    bypass_when: {{headers: [X-Preview], cookies: [session]}}
  - name: delayed
    match: {{path: "/delayed/{{id}}"}}
    ttl: 5m
  - name: slow
    match: {{path: "/slow/{{id}}"}}
    ttl: 5m
  - name: small
    match: {{path: "/small/{{id}}"}}
    ttl: 1h
  - name: large
    match: {{path: "/large/{{id}}"}}
    ttl: 1h
"""


def kind_of(checkout: Path, *, name: str = NAME) -> Kind:
    """sidecache of a checkout, which has its own environment."""
    return Kind(name, name, partial(_missing, checkout), partial(start, name=name, checkout=checkout))


def _missing(checkout: Path) -> str | None:
    return None if (checkout / ".venv/bin/sidecache").exists() else f"make .venv/test.stamp in {checkout}"
