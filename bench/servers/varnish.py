"""Varnish: storage in memory, one thread pool for the one core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.bodies import FAMILIES
from bench.machine import free_ports, is_listening
from bench.processes import running
from bench.servers.server import MIB, Kind, Server, Setup, lacks, says_hit

_UNREAD = (
    *("ReqMethod", "ReqURL", "ReqProtocol", "ReqHeader", "ReqUnset", "ReqAcct", "ReqStart"),
    *("RespProtocol", "RespStatus", "RespReason", "RespHeader", "RespUnset", "VCL_call", "VCL_return"),
    *("BereqMethod", "BereqURL", "BereqProtocol", "BereqHeader", "BereqUnset", "BereqAcct"),
    *("BerespProtocol", "BerespStatus", "BerespReason", "BerespHeader", "BerespUnset"),
    *("Timestamp", "Begin", "End", "Link", "Hit", "HitMiss", "TTL", "Storage", "Length"),
)
"""Nobody reads its log in memory here, as nobody reads those of the others."""


@contextmanager
def start(home: Path, setup: Setup) -> Iterator[Server]:
    (port,) = free_ports(1)
    file = home / "answers.vcl"
    file.write_text(render(setup), encoding="utf-8")
    with running(
        command(home, file, port=port, setup=setup),
        cores=setup.cores,
        log=home / "log",
        is_ready=lambda: is_listening(port),
    ) as pid:
        yield Server("varnish", port, pid, says_hit)


def command(home: Path, file: Path, *, port: int, setup: Setup) -> list[str | Path]:
    parameters = {
        "thread_pools": setup.workers,
        "thread_pool_min": 200,
        "thread_pool_max": 2000,
        "timeout_idle": 300,
        "listen_depth": 4096,
        "vsl_mask": ",".join(f"-{tag}" for tag in _UNREAD),
    }
    return [
        *("varnishd", "-F", "-j", "none", "-n", home / "state", "-f", file),
        *("-a", f"127.0.0.1:{port}", "-s", f"malloc,{2 * setup.max_bytes // MIB}m"),
        *(word for name, value in parameters.items() for word in ("-p", f"{name}={value}")),
    ]


def render(setup: Setup) -> str:
    passed = " || ".join(f'req.url ~ "^/{family.name}/"' for family in FAMILIES if not family.is_stored)
    return f"""vcl 4.1;
backend default {{
    .host = "127.0.0.1";
    .port = "{setup.origin_port}";
}}
sub vcl_recv {{
    if (req.method != "GET" && req.method != "HEAD") {{ return (pass); }}
    if ({passed}) {{ return (pass); }}
    return (hash);
}}
sub vcl_deliver {{
    if (obj.hits > 0) {{
        set resp.http.X-Cache = "HIT";
    }} else {{
        set resp.http.X-Cache = "MISS";
    }}
}}
"""


VARNISH = Kind("varnish", "Varnish", partial(lacks, "varnishd", package="varnish"), start)
