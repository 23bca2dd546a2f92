"""The command `sidecache`: flags, output and exit codes; what happens is elsewhere.

0: done. 1: it ran and the answer is no (faults in a checked file, a purge that a replica lacks, not ready).
2: it could not run as told (unknown flag, faults in the configuration at start).
Each command imports what it runs: `purge` and `health` must not load a server.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from proxy import __version__
from proxy.config.units import duration_seconds

if TYPE_CHECKING:
    from proxy.admin import client

EXIT_NO = 1
EXIT_UNUSABLE = 2

_CREDENTIAL_VARIABLE = "SIDECACHE_ADMIN_TOKEN"
_CREDENTIAL_FILE_VARIABLE = "SIDECACHE_ADMIN_TOKEN_FILE"
_FLAG_DEFAULTS = {
    "listen": "0.0.0.0:8080",
    "ops": "0.0.0.0:9901",
    "admin": "127.0.0.1:9902",
    "profile": "safe",
}
NOT_NEEDED = ("brotli", "brotlicffi", "greenlet", "rich")
"""structlog and aiohttp load these where they are installed: 4 MiB a process, for what is not done here."""
_CONFIG_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
Command = Callable[..., None]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  sidecache serve --origin http://127.0.0.1:8000    in front of an API, no file needed
  sidecache serve -c sidecache.yaml                 with policies by route
  sidecache check sidecache.yaml                    every fault at once
  sidecache purge --url /products/7                 on every replica
""",
)
@click.version_option(__version__, prog_name="sidecache", message="%(prog)s %(version)s")
def main() -> None:
    """A caching sidecar for HTTP APIs: L1 in memory, L2 in Redis, policies by route from one YAML file."""


@main.command(
    epilog="""\b
Examples:
  sidecache serve -c sidecache.yaml
  sidecache serve --origin http://127.0.0.1:8000
  sidecache serve --origin unix:/run/api.sock --listen 127.0.0.1:3000 --ops off --admin off
"""
)
@click.option("-c", "--config", "file", type=_CONFIG_FILE, metavar="FILE", help="The configuration.")
@click.option("--origin", metavar="URL", help="No file: an RFC 9111 shared cache, L1 only, before this API.")
@click.option("--listen", metavar="ADDR", help="With --origin: where clients come in. [0.0.0.0:8080]")
@click.option("--ops", metavar="ADDR|off", help="With --origin: probes and metrics. [0.0.0.0:9901]")
@click.option("--admin", metavar="ADDR|off", help="With --origin: the operator's port. [127.0.0.1:9902]")
@click.option(
    "--profile",
    type=click.Choice(["safe", "rfc9111"]),
    help="With --origin: see docs/http-support.md. [safe]",
)
def serve(
    *,
    file: Path | None,
    origin: str | None,
    listen: str | None,
    ops: str | None,
    admin: str | None,
    profile: str | None,
) -> None:
    """Run the sidecar.

    Give either a file or an origin. Ends on SIGTERM or Ctrl-C, after draining; a second one ends it at once.
    The admin port's token comes from the file, or with --origin from SIDECACHE_ADMIN_TOKEN or ..._FILE.
    """
    from proxy.config.flags import defaults_for_origin
    from proxy.config.loading import Faults, load

    flags = {"listen": listen, "ops": ops, "admin": admin, "profile": profile}
    given = {name: value for name, value in flags.items() if value is not None}
    if (file is None) == (origin is None):
        raise click.UsageError("Give either --config FILE or --origin URL.")
    if file is not None and given:
        raise click.UsageError(
            f"--{next(iter(given))} goes with --origin; with --config it stands in the file."
        )
    if file is not None:
        loaded = load(file, environ=os.environ)
    else:
        loaded = defaults_for_origin(str(origin), token=_admin_token(), **{**_FLAG_DEFAULTS, **given})
    if isinstance(loaded, Faults):
        _end(str(loaded), EXIT_UNUSABLE)
    sys.exit(_server().serve(loaded, source=file))


@main.command(hidden=True)
def worker() -> None:
    """Be one of several workers, as `serve` says on standard input."""
    sys.exit(_server().work())


@main.command()
@click.argument("file", type=_CONFIG_FILE)
def check(file: Path) -> None:
    """List every fault of a configuration.

    Starts nothing. Exits 1 when there is a fault. Warnings are legal but dangerous.
    """
    from proxy.config.loading import Faults, load

    result = load(file, environ=os.environ)
    if isinstance(result, Faults):
        _end(f"{result}\n{_number(len(result.faults), 'fault')}", EXIT_NO)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{file}: no faults, {_number(len(result.warnings), 'warning')}")


@main.command()
def schema() -> None:
    """Print the configuration's JSON Schema, for editors.

    In VS Code: `sidecache schema > sidecache.schema.json`, then begin the YAML with
    `# yaml-language-server: $schema=sidecache.schema.json`.
    """
    from proxy.config.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"sidecache {__version__}")


def _server() -> ModuleType:
    """What serves, loaded without what is not needed for it."""
    for name in NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own way to say: not there
    from proxy import app

    return app


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, found {text!r}") from None


def _with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_at_admin_port = click.option(
    "--admin",
    envvar="SIDECACHE_ADMIN",
    default="http://127.0.0.1:9902",
    show_default=True,
    metavar="URL",
    help="The admin port of any replica; also SIDECACHE_ADMIN.",
)
_invalidating = _with_options(
    click.option("--url", "urls", multiple=True, metavar="URL", help="Exact, query included, all variants."),
    click.option("--prefix", "prefixes", multiple=True, metavar="PREFIX", help="Of path and query."),
    click.option("--pattern", "patterns", multiple=True, metavar="GLOB", help="As match.path: * and **."),
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="From the route or the answer."),
    click.option("--route", "routes", multiple=True, metavar="NAME", help="All that a route has stored."),
    click.option("--everything", is_flag=True, help="All there is."),
    click.option("--refresh", is_flag=True, help="Fetch the hottest of it again, in the background."),
    click.option("--dry-run", is_flag=True, help="Only count what one replica holds."),
    click.option(
        "--wait",
        "wait_seconds",
        default="2s",
        show_default=True,
        callback=_seconds,
        metavar="DURATION",
        help="How long to wait for the replicas to say that they have applied it.",
    ),
    _at_admin_port,
)
_at_ops_port = click.option(
    "--ops",
    envvar="SIDECACHE_OPS",
    default="http://127.0.0.1:9901",
    show_default=True,
    metavar="URL",
    help="The ops port; also SIDECACHE_OPS.",
)

_INVALIDATING_EPILOG = """\b
What starts with / is meant on every host, http(s)://host/... on one. Options can be repeated.
The token comes from SIDECACHE_ADMIN_TOKEN or SIDECACHE_ADMIN_TOKEN_FILE.
Exits 1 when it is not published, or a replica has not said in time that it applied it; names those, and
says what to do.

\b
Examples:
  sidecache {name} --url /products/7 --url '/products?page=1'
  sidecache {name} --prefix /products --dry-run
  sidecache {name} --tag product:7 --wait 5s
  kubectl exec deploy/shop -c sidecache -- sidecache {name} --everything
"""


@main.command(epilog=_INVALIDATING_EPILOG.format(name="purge"))
@_invalidating
def purge(**options: Any) -> None:
    """Remove what is stored, on every replica."""
    _invalidate(soft=False, **options)


@main.command(epilog=_INVALIDATING_EPILOG.format(name="invalidate"))
@_invalidating
def invalidate(**options: Any) -> None:
    """Make stale what is stored, everywhere.

    It may still be served: while it is refreshed, or when the origin fails.
    """
    _invalidate(soft=True, **options)


@main.command(
    epilog="""\b
A URL needs a host, or a header Host: what clients send is part of the key.
Lines of a file are URLs; - is standard input. Exits 1 when a fetch failed, or time was over before it.

\b
Examples:
  sidecache warm http://shop.example/products/7 http://shop.example/
  sidecache warm --file urls.txt --header 'Accept-Language: de' --concurrency 8
"""
)
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option("--file", type=click.File(encoding="utf-8"), metavar="FILE", help="More URLs, one a line.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="As clients send it.")
@click.option("--concurrency", default=4, show_default=True, metavar="N", help="Fetches at once.")
@click.option(
    "--timeout",
    "seconds",
    default="60s",
    show_default=True,
    callback=_seconds,
    metavar="DURATION",
    help="How long it may take; what is left then is skipped.",
)
@_at_admin_port
def warm(
    *,
    urls: tuple[str, ...],
    file: TextIO | None,
    headers: tuple[str, ...],
    concurrency: int,
    seconds: float,
    admin: str,
) -> None:
    """Fetch URLs into the cache of one replica, and into L2."""
    from proxy.admin import client

    wanted = [*urls, *(line.strip() for line in file or () if line.strip())]
    if not wanted:
        raise click.UsageError("Say what: URLs, or --file.")
    fields = _fields(headers)
    totals: Mapping[str, Any] = {}
    port = client.AdminPort(admin, _admin_token())
    for line in port.warm(wanted, headers=fields, concurrency=concurrency, seconds=seconds):
        if isinstance(line, client.Unreachable):
            _end(str(line), EXIT_NO)
        if isinstance(line, client.Reply):
            _end(line.detail, EXIT_NO)
        click.echo(client.warmed(line))
        totals = line
    if "total" not in totals:
        _end("The answer broke off: what is not listed may not have been fetched.", EXIT_NO)
    sys.exit(EXIT_NO if totals["failed"] or totals["skipped"] else 0)


def _fields(headers: Sequence[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for text in headers:
        name, colon, value = text.partition(":")
        if not colon:
            raise click.UsageError(f"--header: expected 'Name: value', found {text!r}")
        if name.strip() in fields:
            raise click.UsageError(f"--header: {name.strip()} is given more than once; join the values.")
        fields[name.strip()] = value.strip()
    return fields


@main.command()
@_at_ops_port
def health(ops: str) -> None:
    """Ask whether it is ready; exits 1 if not."""
    from proxy.admin import client

    _tell(client.health(ops))


@main.command()
@_at_ops_port
def drain(ops: str) -> None:
    """Turn readiness off, as preStop does.

    Undone after 5 minutes unless SIGTERM follows.
    """
    from proxy.admin import client

    _tell(client.drain(ops))


@main.command()
@click.option("--origin", metavar="URL", help="Your own API, instead of the example shop.")
def demo(origin: str | None) -> None:
    """Run it in front of the example shop.

    Prints the addresses and curl lines to try. Ctrl-C ends everything.
    Needs the source tree: the shop and its configuration are in it.
    """
    from proxy.demo import Unusable, run

    ended = run(origin=origin, serve=_server().serve, tell=click.echo)
    if isinstance(ended, Unusable):
        _end(str(ended), EXIT_UNUSABLE)
    sys.exit(ended)


def _invalidate(
    *,
    soft: bool,
    refresh: bool,
    dry_run: bool,
    wait_seconds: float,
    admin: str,
    **selectors: Sequence[str] | bool,
) -> None:
    from proxy.admin import client

    given = {field: values for field, values in selectors.items() if values}
    if not given:
        raise click.UsageError("Say what: --url, --prefix, --pattern, --tag, --route or --everything.")
    if refresh:
        given["refresh"] = True
    port = client.AdminPort(admin, _admin_token())
    reach = client.reach(port.invalidate(given, soft=soft, dry_run=dry_run, wait_seconds=wait_seconds))
    click.echo(reach.text, err=not reach.is_done)
    sys.exit(0 if reach.is_done else EXIT_NO)


def _tell(reply: client.Reply | client.Unreachable) -> None:
    """Print what a port said; 200 is a yes."""
    from proxy.admin import client

    if isinstance(reply, client.Unreachable):
        _end(str(reply), EXIT_NO)
    if reply.status != HTTPStatus.OK:
        _end(reply.detail, EXIT_NO)
    click.echo(reply.detail)


def _admin_token() -> str | None:
    """From the environment, or the file that it names."""
    token, name = os.environ.get(_CREDENTIAL_VARIABLE), os.environ.get(_CREDENTIAL_FILE_VARIABLE)
    if token or not name:
        return token or None
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{_CREDENTIAL_FILE_VARIABLE}: {error}") from None


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _end(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
