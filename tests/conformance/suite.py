"""The public HTTP cache test suite: fetched or found, its server started, its cases run through a proxy.

Nothing of it is part of this repository. Two layouts are known: the npm release's, whose scripts stand at
the top, and the public repository's newer one, whose scripts stand in `test-engine/`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.outcomes import Case
from tests.support.valkey import free_port

PACKAGE = "http-cache-tests"
RELEASE = "0.4.5"
INSTALL_SECONDS = 300
START_SECONDS = 20
RUN_SECONDS = 170
"""One run of all cases: the suite itself takes about 15 s, most of it its own pauses."""
HERE = Path(__file__).parent


class SuiteUnavailable(Exception):
    """The suite cannot be had or run here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A checkout of the suite, ready to run."""

    root: Path
    scripts: Path
    """Where its `cli.mjs` and `server/` are."""
    is_release: bool

    @property
    def name(self) -> str:
        """What it is called in the lists of known failures."""
        return RELEASE if self.is_release else "newer"

    def cases(self) -> list[Case]:
        """All cases, as the suite itself describes them."""
        described = _node(HERE / "describe.mjs", str(self.root), cwd=self.root, environ={}, seconds=60)
        return [Case(**case) for case in json.loads(described)]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The URL of its origin, until the block ends."""
        port = free_port()
        environ = self._environ(port=str(port), protocol="http", pidfile=os.devnull)
        command = [_tool("node"), str(self.scripts / "server" / "server.mjs")]
        process = subprocess.Popen(
            command, cwd=self.root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            assert process.stdout is not None
            is_heard = select.select([process.stdout], [], [], START_SECONDS)[0]
            if not is_heard or b"istening" not in process.stdout.readline():
                raise SuiteUnavailable(f"its server did not start: {command}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.communicate()

    def run(self, url: str) -> dict[str, object]:
        """Case -> True, or what went wrong, with the proxy at `url`."""
        environ = self._environ(base=url, id="")
        script = ("--no-warnings", self.scripts / "cli.mjs")
        printed = _node(*script, cwd=self.root, environ=environ, seconds=RUN_SECONDS)
        begin = printed.index("{\n") if "{\n" in printed else 0
        results: dict[str, object] = json.loads(printed[begin:])
        return results

    def _environ(self, **values: str) -> dict[str, str]:
        """What npm would set for its scripts: the package's own settings, and these before them."""
        manifest = json.loads((self.root / "package.json").read_text(encoding="utf-8"))
        settings = {f"npm_package_config_{key}": value for key, value in manifest.get("config", {}).items()}
        given = {f"npm_config_{key}": value for key, value in values.items()}
        blank = {"npm_package_config_id": ""} if values.get("id") == "" else {}
        return {**os.environ, **settings, **given, **blank}


def find(folder: str | None, *, into: Path) -> Suite:
    """The checkout in `folder`, or else the release, installed below `into` unless it is there."""
    if folder is not None:
        return _found(Path(folder).resolve())
    root = into / "node_modules" / PACKAGE
    manifest = root / "package.json"
    is_there = manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["version"] == RELEASE
    if not is_there:
        into.mkdir(exist_ok=True)
        print(f"installing {PACKAGE} {RELEASE} into {into.name}/", flush=True)
        _npm("install", "--no-save", "--omit=dev", f"{PACKAGE}@{RELEASE}", cwd=into)
    return _found(root)


def _found(root: Path) -> Suite:
    engine = root / "test-engine"
    scripts = engine if engine.is_dir() else root
    if not (scripts / "cli.mjs").is_file():
        raise SuiteUnavailable(f"expected a checkout of the cache tests in {root}, found no cli.mjs there")
    if engine.is_dir() and not (root / "node_modules").is_dir():
        _npm("install", cwd=root)
    return Suite(root, scripts, is_release=not engine.is_dir())


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SuiteUnavailable(f"{name} is not here; install Node.js 18 or newer, which brings it")
    return path


def _npm(command: str, *arguments: str, cwd: Path) -> None:
    quiet = ("--no-audit", "--no-fund", "--prefix", str(cwd))
    _run([_tool("npm"), command, *arguments, *quiet], cwd=cwd, environ={}, seconds=INSTALL_SECONDS)


def _node(*arguments: str | Path, cwd: Path, environ: dict[str, str], seconds: float) -> str:
    return _run([_tool("node"), *map(str, arguments)], cwd=cwd, environ=environ, seconds=seconds)


def _run(command: list[str], *, cwd: Path, environ: dict[str, str], seconds: float) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **environ}, capture_output=True, timeout=seconds, check=True
        )
    except subprocess.CalledProcessError as error:
        raise SuiteUnavailable(f"{command[1:3]} failed: {error.stderr.decode(errors='replace')}") from error
    except subprocess.TimeoutExpired as error:
        raise SuiteUnavailable(f"{command[1:3]} did not end within {seconds} s") from error
    return done.stdout.decode()
