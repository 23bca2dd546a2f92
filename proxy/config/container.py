"""How much memory the container may use, and how much of it L1 gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxy.config.scalars import MemoryShare
from proxy.config.units import BYTES

OWN_BYTES = 96 * BYTES["MiB"]
"""What the process needs beside L1: the interpreter, our code, connections, fetches under way."""
LEAST_L1_BYTES = 8 * BYTES["MiB"]
SPOOL_SHARE = 0.4
LEAST_SPOOL_BYTES = 8 * BYTES["MiB"]
L1_BYTES_WITHOUT_LIMIT = 256 * BYTES["MiB"]

_UNLIMITED_BYTES = 1 << 60
"""cgroup v1 writes "no limit" as a number near 2**63."""


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """The lowest memory limit of the control groups that this process is in; None: there is none."""
    limits = [limit for file in _limit_files(root) if (limit := _limit(file)) is not None]
    return min(limits, default=None)


def l1_byte_budget(limit: int | MemoryShare, container_bytes: int | None) -> int:
    """The most bytes that L1 may hold: a size as it is, a share of what the container leaves."""
    if isinstance(limit, int):
        return limit
    if container_bytes is None:
        return L1_BYTES_WITHOUT_LIMIT
    return max(LEAST_L1_BYTES, int(limit.share * (container_bytes - OWN_BYTES)))


def spool_byte_budget(limit: int, container_bytes: int | None) -> int:
    """The most bytes that fetches under way may hold: `limit`, or less if the container is small."""
    if container_bytes is None:
        return limit
    spared = max(LEAST_SPOOL_BYTES, int(SPOOL_SHARE * (container_bytes - OWN_BYTES)))
    return min(limit, spared)


def _limit_files(root: Path) -> Iterator[Path]:
    """The limits of our own group and of all above it: any of them ends the process.

    Inside a container the group's path is often the host's and names nothing; its root is then our own group.
    """
    groups = root / "sys/fs/cgroup"
    for controllers, path in _memberships(root / "proc/self/cgroup"):
        if controllers == "":  # version 2
            yield from _upward(groups, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _upward(groups / "memory", path, "memory.limit_in_bytes")


def _memberships(file: Path) -> Iterator[tuple[str, str]]:
    """Lines like `5:cpu,memory:/kubepods/pod1` or `0::/`: the controllers and the group's path."""
    for line in (_text(file) or "").splitlines():
        _, _, membership = line.partition(":")
        controllers, colon, path = membership.partition(":")
        if colon:
            yield controllers, path


def _upward(mount: Path, path: str, name: str) -> Iterator[Path]:
    group = mount / path.lstrip("/")
    yield group / name
    while group != mount and mount in group.parents:
        group = group.parent
        yield group / name


def _limit(file: Path) -> int | None:
    """`max`, in version 2, is no limit."""
    text = (_text(file) or "").strip()
    is_limit = text.isascii() and text.isdigit() and int(text) < _UNLIMITED_BYTES
    return int(text) if is_limit else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
