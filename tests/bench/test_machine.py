"""What is read from Linux of processes and cores."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

from bench.machine import (
    busy_share,
    cpu_seconds,
    family_of,
    free_ports,
    interpreter,
    is_listening,
    others_share,
    resident_bytes,
)

GONE = 2**22 + 1
"""No process has this id: the kernel's limit is below."""


def test_family_is_the_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        family = family_of(os.getpid())

    assert family[0] == os.getpid()
    assert child.pid in family


def test_this_process_has_used_time_and_memory() -> None:
    assert cpu_seconds([os.getpid()]) > 0
    assert resident_bytes([os.getpid()]) > 1 << 20


def test_process_that_is_gone_counts_for_nothing() -> None:
    assert cpu_seconds([GONE]) == 0
    assert resident_bytes([GONE]) == 0


def test_share_of_a_core_is_work_over_time() -> None:
    assert busy_share((100, 1000), (175, 1100)) == 0.75


@pytest.mark.parametrize(("own_ticks", "share"), [(75, 0.0), (50, 0.25), (80, 0.0)])
def test_what_others_took_of_a_core_is_what_is_left_of_its_work(own_ticks: int, share: float) -> None:
    own_seconds = own_ticks / os.sysconf("SC_CLK_TCK")

    assert others_share((100, 1000), (175, 1100), own_seconds=own_seconds) == share


def test_free_ports_differ_and_nobody_listens_there() -> None:
    ports = free_ports(3)

    assert len(set(ports)) == 3
    assert not any(map(is_listening, ports))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("'--prefix=/usr' '--enable-optimizations'", "with"), ("'--prefix=/usr'", "WITHOUT"), (None, "WITHOUT")],
)
def test_who_runs_is_told_how_its_python_was_built(
    monkeypatch: pytest.MonkeyPatch, arguments: str | None, said: str
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"CONFIG_ARGS": arguments}.get)

    assert interpreter() == f"CPython {sys.version.split()[0]}, built {said} optimizations (PGO)"
