"""The house's rules, read off the code: imports point down, policy is pure, modules are tested and small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent

_BELOW_ENGINE = frozenset({"config", "model", "policy", "observe"})
ALLOWED = {
    "": frozenset[str](),
    "config": frozenset[str](),
    "model": frozenset({"config"}),
    "observe": frozenset({"config", "model"}),
    "policy": frozenset({"config", "model"}),
    "children": frozenset[str](),
    "store": _BELOW_ENGINE | {"children"},
    "fleet": _BELOW_ENGINE,
    "engine": _BELOW_ENGINE,
    "net": _BELOW_ENGINE | {"engine"},
    "admin": _BELOW_ENGINE | {"net.wire"},
    "end_signals": frozenset[str](),
    "workers": _BELOW_ENGINE | {"children"},
    "app": _BELOW_ENGINE | {"store", "fleet", "engine", "net", "admin", "end_signals", "workers"},
    "demo": frozenset({"config"}),
    "cli": frozenset({"app", "config", "demo", "admin.client"}),
    "__main__": frozenset({"cli"}),
}
"""Layer -> what it may import of ours, beside itself; `net.wire` is that one module. The package itself (""),
which holds the version, is everybody's."""

IMPURE = frozenset({"asyncio", "time", "random", "os", "socket", "logging", "aiohttp", "redis"})
PURE_LAYERS = frozenset({"policy", "model"})
"""The clock and the dice are arguments; what happens outside is the caller's."""

WITHOUT_TEST = {
    "proxy/__main__.py": "two lines that the tests of the command run",
    "proxy/app/alone.py": "tests/e2e/ runs it: whole processes in front of real APIs",
    "proxy/app/member.py": "tests/e2e/test_workers.py runs it: whole processes in front of real APIs",
    "proxy/app/process.py": "tests/e2e/ runs it: whole processes in front of real APIs",
    "proxy/app/shared_tier.py": "tests/e2e/ runs it: whole processes on real Redis servers",
    "proxy/app/warming.py": "tests/fleet/test_warm.py runs it: whole processes on a real Redis server",
    "proxy/store/unavailable.py": "an exception: tested where it is raised",
    "proxy/app/serving.py": "tests/e2e/ runs it: whole processes in front of real APIs",
    "proxy/app/supervisor.py": "tests/e2e/test_workers.py runs it: whole processes in front of real APIs",
    "proxy/admin/protocols.py": "declares what is tested where it is implemented and used",
    "proxy/engine/protocols.py": "declares what is tested where it is implemented and used",
    "proxy/net/protocols.py": "declares what is tested where it is implemented and used",
}
"""Module -> why no file of its own tests it. An `__init__.py` holds names only."""

MOST_LINES = 400


def modules() -> list[PurePosixPath]:
    """All modules of the product, relative to the repository."""
    return sorted(PurePosixPath(path.relative_to(ROOT).as_posix()) for path in (ROOT / "proxy").rglob("*.py"))


def source_of(module: PurePosixPath) -> str:
    return (ROOT / module).read_text(encoding="utf-8")


def layer_of(module: PurePosixPath) -> str:
    """The folder or file right below `proxy/`; the package itself is ""."""
    below = PurePosixPath(module).with_suffix("").parts[1]
    return "" if below == "__init__" else below


def imported_names(module: PurePosixPath, source: str) -> Iterator[str]:
    """Every dotted name that is imported anywhere in the module, relative imports resolved."""
    package = module.with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join((*parents, *([node.module] if node.module else [])))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_faults(module: PurePosixPath, source: str) -> list[str]:
    """What the module imports and may not."""
    layer = layer_of(module)
    faults = []
    for name in imported_names(module, source):
        top, _, below = name.partition(".")
        is_upward = top == "proxy" and not _may_import(layer, below)
        is_impure = layer in PURE_LAYERS and top in IMPURE
        if is_upward or is_impure:
            faults.append(f"{module} is {layer or 'the package'}, yet imports {name}")
    return faults


def _may_import(layer: str, below: str) -> bool:
    """May the layer import this name below `proxy`?"""
    target = below.partition(".")[0]
    is_own = target in {layer, "", "__version__"}
    return is_own or any(f"{below}.".startswith(f"{allowed}.") for allowed in ALLOWED[layer])


def file_that_tests(module: PurePosixPath) -> PurePosixPath:
    """Where the tests of a module are: the same place below tests/."""
    return PurePosixPath("tests", *module.parts[1:-1], f"test_{module.name}")


def test_imports_point_down_and_policy_is_pure() -> None:
    faults = [fault for module in modules() for fault in import_faults(module, source_of(module))]

    assert not faults, "\n".join(faults)


def test_every_layer_is_in_the_table() -> None:
    assert {layer_of(module) for module in modules()} <= ALLOWED.keys()


def test_layers_have_an_order() -> None:
    below = {layer: {name.partition(".")[0] for name in allowed} for layer, allowed in ALLOWED.items()}

    TopologicalSorter(below).prepare()  # raises CycleError


def test_only_app_knows_the_classes_of_store_fleet_net_and_admin() -> None:
    concrete = {"store", "fleet", "net", "admin"}
    knowing = {layer for layer, below in ALLOWED.items() if below & concrete}

    assert knowing == {"app"}


def test_every_module_has_its_test_file() -> None:
    tested = [
        module for module in modules() if module.name != "__init__.py" and str(module) not in WITHOUT_TEST
    ]
    missing = [
        f"{module} has no {test}"
        for module in tested
        if not (ROOT / (test := file_that_tests(module))).exists()
    ]

    assert not missing, "\n".join(missing)


def test_exceptions_are_modules_that_have_no_test_file() -> None:
    exceptions = [PurePosixPath(name) for name in WITHOUT_TEST]
    stale = [
        str(module)
        for module in exceptions
        if not (ROOT / module).exists() or (ROOT / file_that_tests(module)).exists()
    ]

    assert not stale


def test_packages_hold_no_logic() -> None:
    faults = [
        f"{module} holds {type(node).__name__}"
        for module in modules()
        if module.name == "__init__.py"
        for node in ast.parse(source_of(module)).body
        if not isinstance(node, ast.Expr | ast.Assign | ast.ImportFrom)
    ]

    assert not faults, "\n".join(faults)


def test_no_module_is_too_long() -> None:
    lengths = {module: len(source_of(module).splitlines()) for module in modules()}
    faults = [
        f"{module} has {lines} lines, at most {MOST_LINES}"
        for module, lines in lengths.items()
        if lines > MOST_LINES
    ]

    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source", "faults"),
    [
        ("proxy/policy/x.py", "import time", ["proxy/policy/x.py is policy, yet imports time"]),
        (
            "proxy/policy/x.py",
            "from time import time",
            ["proxy/policy/x.py is policy, yet imports time.time"],
        ),
        (
            "proxy/policy/x.py",
            "def f():\n import os.path",
            ["proxy/policy/x.py is policy, yet imports os.path"],
        ),
        ("proxy/policy/x.py", "import re\nfrom proxy.model import Fields\nfrom proxy.policy import y", []),
        ("proxy/model.py", "import random", ["proxy/model.py is model, yet imports random"]),
        ("proxy/net/x.py", "import asyncio, time\nfrom proxy.engine.protocols import Log", []),
        (
            "proxy/engine/x.py",
            "import proxy.net.wire",
            ["proxy/engine/x.py is engine, yet imports proxy.net.wire"],
        ),
        (
            "proxy/engine/x.py",
            "from proxy import store",
            ["proxy/engine/x.py is engine, yet imports proxy.store"],
        ),
        (
            "proxy/engine/x.py",
            "from ..fleet import log",
            ["proxy/engine/x.py is engine, yet imports proxy.fleet.log"],
        ),
        ("proxy/engine/x.py", "from . import y\nfrom .y import z\nfrom ..model import Body", []),
        ("proxy/engine/x.py", "from proxy import __version__", []),
        (
            "proxy/engine/x.py",
            "if TYPE_CHECKING:\n from proxy.store.memory import Memory",
            ["proxy/engine/x.py is engine, yet imports proxy.store.memory.Memory"],
        ),
        ("proxy/admin/x.py", "from proxy.net.wire import head\nfrom proxy.net import wire", []),
        (
            "proxy/admin/x.py",
            "from proxy.net import wires",
            ["proxy/admin/x.py is admin, yet imports proxy.net.wires"],
        ),
        (
            "proxy/admin/x.py",
            "from proxy.engine import y",
            ["proxy/admin/x.py is admin, yet imports proxy.engine.y"],
        ),
        ("proxy/app/x.py", "from proxy.store.memory import Memory\nfrom proxy.net.pool import Pool", []),
        (
            "proxy/app/x.py",
            "from proxy.cli import main",
            ["proxy/app/x.py is app, yet imports proxy.cli.main"],
        ),
        (
            "proxy/cli.py",
            "from proxy.net.pool import Pool",
            ["proxy/cli.py is cli, yet imports proxy.net.pool.Pool"],
        ),
        (
            "proxy/__init__.py",
            "from proxy.model import Body",
            ["proxy/__init__.py is the package, yet imports proxy.model.Body"],
        ),
    ],
)
def test_fault_is_named(module: str, source: str, faults: list[str]) -> None:
    assert import_faults(PurePosixPath(module), source) == faults


@pytest.mark.parametrize(
    ("module", "test"),
    [("proxy/policy/routes.py", "tests/policy/test_routes.py"), ("proxy/app/x.py", "tests/app/test_x.py")],
)
def test_tests_mirror_the_house(module: str, test: str) -> None:
    assert file_that_tests(PurePosixPath(module)) == PurePosixPath(test)
