"""Renders the charts with the real helm, versions 3 and 4."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import ROOT, output, run, tool

HELMS = ("helm3", "helm4")
KUBERNETES = ("1.27", "1.29", "1.33", "1.36")
NEWEST = KUBERNETES[-1]
FIRST_WITH_NATIVE_SIDECARS = 29
VALUE_FILES = sorted(path.name for path in (ROOT / "charts/sidecache/ci").glob("*-values.yaml"))
Document = dict[str, Any]


def built_charts(folder: Path) -> Path:
    """A copy of charts/ with the library in its place; the checkout stays as it is."""
    charts = folder / "charts"
    shutil.copytree(ROOT / "charts", charts, ignore=shutil.ignore_patterns("*.tgz"))
    output(tool("helm4"), "dependency", "build", charts / "sidecache")
    return charts


def has_native_sidecars(kubernetes: str) -> bool:
    """Whether an init container may run on."""
    return int(kubernetes.partition(".")[2]) >= FIRST_WITH_NATIVE_SIDECARS


def template(
    chart: Path, *flags: str, helm: str = "helm4", kubernetes: str = NEWEST, release: str = "demo"
) -> str:
    """What helm renders, as text."""
    command = [tool(helm), "template", release, chart, "--namespace", "prod"]
    return output(*command, "--kube-version", f"{kubernetes}.0", *flags)


def documents(chart: Path, *flags: str, **given: Any) -> list[Document]:
    """What helm renders, object by object."""
    return [document for document in yaml.safe_load_all(template(chart, *flags, **given)) if document]


def refusal(chart: Path, *flags: str, helm: str = "helm4", kubernetes: str = NEWEST) -> str:
    """Why helm renders nothing."""
    command = [tool(helm), "template", "demo", chart, "--kube-version", f"{kubernetes}.0", *flags]
    done = run(*command)
    assert done.returncode != 0, done.stdout
    return done.stderr


def values(name: str) -> list[str]:
    """Flags for one of the value files, with which the chart renders on every Kubernetes."""
    return ["--values", str(ROOT / "charts/sidecache/ci" / name)]


def with_mode_for(kubernetes: str) -> list[str]:
    """Flags that choose classic mode where native sidecars are unknown."""
    return [] if has_native_sidecars(kubernetes) else ["--set", "sidecache.mode=classic"]
