"""`sidecache demo`: the example shop as a process of its own, the sidecar in front of it, and lines to try.

Owns the shop's process and the choice of free ports. Not for production: it needs the source tree.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from proxy.config.flags import defaults_for_origin
from proxy.config.loading import Faults, Loaded, load
from proxy.config.schema import Config

SOURCE_TREE = Path(__file__).resolve().parent.parent
EXAMPLE = SOURCE_TREE / "config.example.yaml"
SHOP = SOURCE_TREE / "examples" / "shop.py"

PORTS = {"SIDECACHE_PORT": 8080, "SIDECACHE_OPS_PORT": 9901, "SIDECACHE_ADMIN_PORT": 9902}
"""Variables of config.example.yaml and their defaults."""

START_SECONDS = 15.0
STOP_SECONDS = 5.0

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is no demo."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class Serve(Protocol):
    """Runs the sidecar until it is told to end; `app.serve`."""

    def __call__(self, loaded: Loaded, *, source: Path | None) -> int:
        """The exit code."""


def run(
    *,
    origin: str | None,
    serve: Serve,
    tell: Callable[[str], None],
    environ: MutableMapping[str, str] = os.environ,
) -> int | Unusable:
    """Run until Ctrl-C or SIGTERM, and leave no process behind; the sidecar's exit code."""
    if origin is None and not SHOP.exists():
        return Unusable("the example shop is in the source tree only: give --origin URL")
    with ExitStack() as ending:
        # Into the environment itself: a reload of the file must find the same values again.
        for name, port in PORTS.items():
            if name not in environ:
                environ[name] = str(ending.enter_context(claimed_port(port)))
        url = origin or ending.enter_context(shop())
        if isinstance(url, Unusable):
            return url
        loaded = _example(url, environ) if origin is None else _plain(url, environ)
        if isinstance(loaded, Faults):
            return Unusable(str(loaded))
        tell(guide(loaded.config, is_shop=origin is None))
        return serve(loaded, source=EXAMPLE if origin is None else None)


@contextmanager
def claimed_port(wanted: int) -> Iterator[int]:
    """The port, or any other of loopback where it is taken; no other demo gets it within the block.

    Seconds pass until the sidecar listens. Until then a UDP socket of the same number keeps a demo that
    starts meanwhile away: it excludes its like at once, and it ends with the process.
    """
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as claim:
        port = wanted
        while not _claims(claim, port):
            port = _any_free_port()
        yield port


def _claims(claim: socket.socket, port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
            claim.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((_LOOPBACK, 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def shop() -> Iterator[str | Unusable]:
    """The shop's URL; its process ends with the block, and with ours whatever happens to us."""
    command = [sys.executable, str(SHOP), "--port", "0", "--until-stdin-closes"]
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C in the terminal is for the sidecar, the shop answers while it drains.
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)  # noqa: S603 - our own script
    with process:
        try:
            yield _announced_url(process.stdout)
        finally:
            _end(process)


def _announced_url(output: IO[str] | None) -> str | Unusable:
    is_announced = output is not None and bool(select.select([output], [], [], START_SECONDS)[0])
    line = output.readline() if output is not None and is_announced else ""
    url = line.strip().rpartition(" ")[2]
    return url if url.startswith("http://") else Unusable("the example shop did not start")


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _example(url: str, environ: MutableMapping[str, str]) -> Loaded | Faults:
    environ["ORIGIN"] = url
    return load(EXAMPLE, environ=environ)


def _plain(url: str, environ: MutableMapping[str, str]) -> Loaded | Faults:
    """The example's routes are the shop's; before another API the origin's own directives decide."""
    listen, ops, admin = (f"{_LOOPBACK}:{environ[name]}" for name in PORTS)
    return defaults_for_origin(url, listen=listen, ops=ops, admin=admin, profile="safe")


def guide(config: Config, *, is_shop: bool) -> str:
    """The three addresses and what to try."""
    clients, admin = f"http://{config.listen}", f"http://{config.admin.listen}"
    lines = _shop_lines(clients, admin) if is_shop else _plain_lines(clients, admin)
    hint = " (X-Origin-Count counts the requests that reached the shop)" if is_shop else ""
    tried = "\n".join(f"\n  # {meaning}\n  {line}" for meaning, line in lines)
    return f"""\
sidecache in front of {config.origin.url}; Ctrl-C ends it

  clients  {clients}
  ops      http://{config.ops.listen}    /readyz /metrics
  admin    {admin}    /stats /entries /routes

Try in another terminal{hint}:
{tried}
"""


def _shop_lines(clients: str, admin: str) -> tuple[tuple[str, str], ...]:
    return (
        ("a miss, then a hit", _twice(f"{clients}/products/7")),
        ("a 404, remembered", _twice(f"{clients}/products/nothing")),
        (
            "takes a second; three seconds later stale, but at once, while one refresh runs",
            f"curl -si {clients}/slow/1; sleep 3; curl -si {clients}/slow/1",
        ),
        ("a purge, on every replica", _purge(admin, '{"tags": ["product:7"]}')),
        (
            "why: the outcome, the freshness left, the age",
            f"curl -s -o /dev/null -D - {clients}/products/7 | grep -iE 'cache|age|etag'",
        ),
    )


def _plain_lines(clients: str, admin: str) -> tuple[tuple[str, str], ...]:
    return (
        ("a miss, then a hit if the answer may be stored", _twice(f"{clients}/")),
        ("why: the outcome, the freshness left, the age", f"curl -s -o /dev/null -D - {clients}/"),
        ("what is stored", f"curl -s {admin}/entries"),
        ("a purge, on every replica", _purge(admin, '{"everything": true}')),
        ("how it goes", f"curl -s {admin}/stats"),
    )


def _twice(url: str) -> str:
    return f"curl -si {url}; curl -si {url}"


def _purge(admin: str, selectors: str) -> str:
    return f"curl -s {admin}/purge -H 'Content-Type: application/json' -d '{selectors}'"
