"""What the benchmark reads from Linux: cores, free ports, CPU time and memory of processes."""

from __future__ import annotations

import os
import platform
import resource
import socket
import sysconfig
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_STATE_AND_LATER = 2
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12
"""Fields of /proc/PID/stat, counted from the state on: what stands before may hold blanks."""


def two_cores() -> tuple[int, int]:
    """The core for the server and the core for the load; SystemExit where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two cores: one for the server, one for the load")
    return cores[0], cores[1]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free just now, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = []
    for probe in probes:
        with closing(probe):
            ports.append(int(probe.getsockname()[1]))
    return ports


def is_listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def interpreter() -> str:
    """The Python that runs this, and ours of this checkout; builds differ by a tenth."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    build = "with" if "--enable-optimizations" in arguments else "WITHOUT"
    return (
        f"{platform.python_implementation()} {platform.python_version()}, built {build} optimizations (PGO)"
    )


def most_open_files() -> int:
    """How many descriptors a process may have here."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def family_of(pid: int) -> list[int]:
    """The process and all that descend from it."""
    parents = {
        int(folder.name): parent
        for folder in _PROC.iterdir()
        if folder.name.isdigit() and (parent := _parent_of(folder)) is not None
    }
    family = [pid]
    for member in family:
        family.extend(child for child, parent in parents.items() if parent == member)
    return family


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of these processes so far, in user and in kernel mode; 0 for one that is gone."""
    ticks = 0
    for pid in pids:
        fields = _stat(_PROC / str(pid))
        ticks += int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS]) if fields else 0
    return ticks / _TICKS


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory of these processes; what several of them share counts once (proportional set size).

    Of one alone, all of it: what it shares with this very program is its own where nothing else runs.
    """
    family = tuple(pids)
    what = "Rss:" if len(family) == 1 else "Pss:"
    return sum(_bytes_of(pid, what) for pid in family)


def _bytes_of(pid: int, what: str) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith(what)]
    return sum(kibibytes) * 1024


def _parent_of(folder: Path) -> int | None:
    fields = _stat(folder)
    return int(fields[_PARENT]) if fields else None


def _stat(folder: Path) -> list[str]:
    try:
        text = (folder / "stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + _STATE_AND_LATER :].split()


def core_ticks(core: int) -> tuple[int, int]:
    """Ticks of a core so far: those that it worked, and all."""
    line = next(line for line in (_PROC / "stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, idle, waiting, *others = map(int, line.split()[1:9])
    worked = user + nice + system + sum(others)
    return worked, worked + idle + waiting


def busy_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Which part of the time between two readings a core worked."""
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def others_share(before: tuple[int, int], after: tuple[int, int], *, own_seconds: float) -> float:
    """Which part of that time it worked for anybody but those who took `own_seconds` of CPU."""
    own_ticks = own_seconds * _TICKS
    return max(0.0, (after[0] - before[0] - own_ticks) / max(after[1] - before[1], 1))
