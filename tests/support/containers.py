"""Builds and runs images with buildah, podman and runc: no registry, and none of the system's own storage.

The official base image cannot be had without a registry: a stand-in of the same Debian with the same Python
is made from Debian packages. Wheels are downloaded outside, so that the build itself needs no network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from scripts.deploy_tools import TOOLS
from tests.support.tools import NOT_PROVED, ROOT, output, run, tool

BASE = "localhost/sidecache-base:stand-in"
IMAGE = "localhost/sidecache:test"
EMBEDDED = "localhost/sidecache:embedded"
PYTHON = "3.13"
DEBIAN = "trixie"
BUILD_SECONDS = 300
NEEDED = ("buildah", "podman", "runc", "mmdebstrap")
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")

_RUNTIME = """#!/bin/sh
exec {python} - {runc} "$@" <<'END'
# Where root may not raise limits, runc cannot set those that podman asks for.
import json, os, sys
runtime, *words = sys.argv[1:]
for flag, word in zip(words, words[1:]):
    name = {{"--bundle": word + "/config.json", "--process": word}}.get(flag)
    if name:
        with open(name) as file:
            config = json.load(file)
        process = config.get("process", config)
        process.pop("rlimits", None)
        process.pop("oomScoreAdj", None)
        with open(name, "w") as file:
            json.dump(config, file)
os.execv(runtime, [runtime, *words])
END
"""


class Engine:
    """Podman and buildah with storage of their own below `folder`; `close` leaves nothing."""

    def __init__(self, folder: Path) -> None:
        for name in NEEDED:
            tool(name)
        if os.geteuid() != 0:
            pytest.skip(f"{NOT_PROVED}images and pods: running containers needs root here")
        self._folder = folder
        self._graph = folder / "graph"
        runtime = folder / "runtime"
        runtime.write_text(_RUNTIME.format(python=sys.executable, runc=tool("runc")))
        runtime.chmod(0o755)
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self._graph}"\nrunroot = "{folder / "run"}"\n'
        )
        (folder / "containers.conf").write_text(
            '[engine]\nruntime = "plain"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'[engine.runtimes]\nplain = ["{runtime}"]\n'
        )
        self._environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
        }

    def podman(self, *words: str | Path, seconds: float = 60) -> str:
        """What podman prints; it must succeed."""
        return output("podman", *words, seconds=seconds, env=self._environment)

    def try_podman(self, *words: str | Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Podman, whatever its exit code."""
        return run("podman", *words, seconds=seconds, env=self._environment)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Podman in the background; it is the caller's to wait for."""
        command = ["podman", *map(str, words)]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)

    def buildah(self, *words: str | Path, seconds: float = BUILD_SECONDS) -> str:
        """What buildah prints; it must succeed."""
        return output("buildah", *words, seconds=seconds, env=self._environment)

    def need_base(self) -> None:
        """The stand-in for the official Python image; where not even that runs, nothing is said of ours."""
        try:
            self._make_base()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            why = " ".join(str(error).split())[-200:]
            pytest.skip(f"{NOT_PROVED}images and pods: no container runs on this machine: {why}")

    def _make_base(self) -> None:
        archive = TOOLS / f"{DEBIAN}.tar"
        if not archive.exists():
            packages = "--include=ca-certificates,python3,python3-venv"
            partial = archive.with_suffix(".partial.tar")
            output("mmdebstrap", "--variant=apt", packages, DEBIAN, partial, seconds=BUILD_SECONDS)
            partial.rename(archive)
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, archive, "/")
        link = "ln -s /usr/bin/python3 /usr/local/bin/python"
        self.buildah("run", "--isolation", "chroot", container, "--", "sh", "-c", link)
        self.buildah("commit", "--quiet", container, BASE)
        self.buildah("rm", container)
        version = self.podman("run", "--rm", "--pull=never", "--network=none", BASE, "python", "--version")
        assert version.startswith(f"Python {PYTHON}."), version

    def build(self, tag: str, *flags: str) -> None:
        """The Dockerfile as it is, with wheels from a folder."""
        settings = self._folder / "pip.conf"
        settings.write_text("[global]\nno-index = true\nfind-links = /packages\n")
        given = [f"--volume={wheels()}:/packages:ro", f"--volume={settings}:/etc/pip.conf:ro"]
        how = ["--isolation=chroot", "--pull-never", "--network=host", "--layers", f"--build-arg=BASE={BASE}"]
        self.buildah("build", "--quiet", *how, *given, *flags, "--tag", tag, ROOT)

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman knows of a container or an image."""
        found: list[dict[str, Any]] = json.loads(self.podman("inspect", name))
        return found[0]

    @contextmanager
    def running(self, *flags: str | Path, image: str = IMAGE) -> Iterator[str]:
        """A container; the block gets its id."""
        name = self.podman("run", "--detach", "--pull=never", *flags, image).strip()
        try:
            yield name
        finally:
            self.try_podman("rm", "--force", "--time=0", name)

    def wait_for_log(self, name: str, text: str, seconds: float = 30) -> None:
        """Until the container has said so."""
        end = time.monotonic() + seconds
        while True:
            said = self.try_podman("logs", name)
            if text in said.stdout + said.stderr:
                return
            assert time.monotonic() < end, f"{name} never said {text!r}: {said}"
            time.sleep(0.1)

    def close(self) -> None:
        """End and remove everything."""
        for words in (("pod", "rm", "--force", "--time=0", "--all"), ("rm", "--force", "--time=0", "--all")):
            self.try_podman(*words)
        with suppress(AssertionError):
            self.buildah("rm", "--all")
        run("umount", self._graph / "overlay")
        shutil.rmtree(self._folder, ignore_errors=True)


def wheels() -> Path:
    """A folder with a wheel for each line of the lock of the embedded image, which holds the plain one's."""
    lock = ROOT / "requirements" / "run.lock"
    folder = TOOLS / f"wheels-{sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        download(lock, partial)
        partial.rename(folder)
    return folder


def download(lock: Path, folder: Path, *platforms: str) -> None:
    """Wheels only, by hash, for the image's Python; nothing is built from source."""
    flags = ["--only-binary=:all:", "--no-deps", "--require-hashes", f"--python-version={PYTHON}"]
    flags += [f"--platform={platform}" for platform in platforms]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    output(*pip, *flags, "--dest", folder, "--requirement", lock, seconds=BUILD_SECONDS)
