"""The API behind every server: nginx that answers from its configuration, on the load's core.

nginx, because the origin shares its core with the load: of what was tried it takes the least CPU for an
answer (a canned answer of a bare uvloop protocol takes a quarter more), so that the server under test
stays the limit. Delays come from its Lua module, without which the delayed families are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from bench.bodies import ETAG, FAMILIES, LIFETIME_SECONDS, Family
from bench.machine import free_ports, is_listening
from bench.processes import running
from bench.servers.nginx_base import CLIENTS, can_run_lua, render_main

_CHUNK = 1024
"""nginx takes at most 4 KiB in one word of its configuration: longer fillers are put together."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A running origin."""

    port: int

    def requests(self) -> int:
        """How many requests it has answered so far, without those that ask this."""
        with urlopen(f"http://127.0.0.1:{self.port}/requests", timeout=5) as answer:
            return int(answer.read())


@contextmanager
def origin(directory: Path, *, core: int) -> Iterator[Origin]:
    """An origin that answers, until the block ends."""
    (port,) = free_ports(1)
    home = directory / "origin"
    home.mkdir()
    file = home / "nginx.conf"
    file.write_text(render_origin(home, port=port, has_lua=can_run_lua()), encoding="utf-8")
    with running(
        ["nginx", "-c", file],
        cores=[core],
        log=home / "log",
        is_ready=lambda: is_listening(port),
    ):
        yield Origin(port)


def render_origin(home: Path, *, port: int, has_lua: bool) -> str:
    """The configuration: one location for each family, and one that counts."""
    families = [family for family in FAMILIES if has_lua or not family.delay_seconds]
    locations = "\n".join(map(_location, families))
    counting = _COUNTING if has_lua else ""
    server = f"""
    {_COUNTED if has_lua else ""}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        {CLIENTS}
{locations}
{counting}
    }}"""
    return render_main(home, server, has_lua=has_lua)


_COUNTED = "lua_shared_dict counts 1m;"
_COUNTING = """\
        location = /requests { content_by_lua_block {
            ngx.header["Cache-Control"] = "no-store"
            ngx.print(ngx.shared.counts:get("delayed") or 0)
        } }"""


def _location(family: Family) -> str:
    chunks, rest = divmod(len(family.filler), _CHUNK)
    control = f"max-age={LIFETIME_SECONDS}" if family.is_stored else "no-store"
    # Each chunk starts at the same place of the repeated text only if its length is a multiple of the text's.
    parts = [family.filler[_CHUNK * number : _CHUNK * (number + 1)] for number in range(chunks)]
    parts.append(family.filler[_CHUNK * chunks :] if rest else "")
    settings = "\n".join(f"            set $t{number} '{part}';" for number, part in enumerate(parts))
    text = "".join(f"${{t{number}}}" for number in range(len(parts)))
    return f"""
        location /{family.name}/ {{
            add_header Cache-Control {control};
            add_header ETag '{ETAG}';
{settings}
            {_delayed(family, text) if family.delay_seconds else _at_once(text)}
        }}"""


def _at_once(text: str) -> str:
    return f"""return 200 '{{"path": "$request_uri", "text": "{text}"}}';"""


def _delayed(family: Family, text: str) -> str:
    return f"""set $whole '{{"path": "$request_uri", "text": "{text}"}}';
            content_by_lua_block {{
                ngx.shared.counts:incr("delayed", 1, 0)
                ngx.sleep({family.delay_seconds})
                ngx.header["Content-Length"] = #ngx.var.whole
                ngx.print(ngx.var.whole)
            }}"""
