from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.container import l1_byte_budget, memory_limit_bytes, spool_byte_budget
from proxy.config.scalars import MemoryShare

MIB = 1 << 20

TREES = {
    "version 2, own namespace": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"},
        256 * MIB,
    ),
    "version 2, no limit": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, None),
    "version 2, the lowest of the groups above counts": (
        {
            "proc/self/cgroup": "0::/kubepods/pod1/app\n",
            "sys/fs/cgroup/kubepods/memory.max": "max",
            "sys/fs/cgroup/kubepods/pod1/memory.max": "134217728",
            "sys/fs/cgroup/kubepods/pod1/app/memory.max": "268435456",
        },
        128 * MIB,
    ),
    "version 2, the host's path in a container": (
        {"proc/self/cgroup": "0::/kubepods/pod1\n", "sys/fs/cgroup/memory.max": "134217728"},
        128 * MIB,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:cpu:/a\n4:memory:/docker/x\n",
            "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "134217728\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        128 * MIB,
    ),
    "version 1, the host's path in a container": (
        {
            "proc/self/cgroup": "4:cpu,memory:/docker/x\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n",
        },
        128 * MIB,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "4:memory:/\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        None,
    ),
    "path that leads out of the tree": (
        {"proc/self/cgroup": "0::/../../..\n", "sys/fs/cgroup/memory.max": "134217728"},
        128 * MIB,
    ),
    "garbage": ({"proc/self/cgroup": "x\n0::/\n", "sys/fs/cgroup/memory.max": "much"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("tree", "limit"), TREES.values(), ids=TREES)
def test_memory_limit_is_the_lowest_that_binds(
    tmp_path: Path, tree: dict[str, str], limit: int | None
) -> None:
    for name, content in tree.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    assert memory_limit_bytes(tmp_path) == limit


@pytest.mark.parametrize(
    ("limit", "container", "budget"),
    [
        (64 * MIB, 1 * MIB, 64 * MIB),
        (MemoryShare(0.4), None, 256 * MIB),
        (MemoryShare(0.4), 256 * MIB, 64 * MIB),
        (MemoryShare(0.4), 116 * MIB, 8 * MIB),
        (MemoryShare(0.4), 117 * MIB, int(0.4 * 21 * MIB)),
        (MemoryShare(0.4), 64 * MIB, 8 * MIB),
        (MemoryShare(1.0), 1024 * MIB, 928 * MIB),
    ],
)
def test_l1_gets_its_share_of_what_the_container_leaves(
    limit: int | MemoryShare, container: int | None, budget: int
) -> None:
    assert l1_byte_budget(limit, container) == budget


@given(share=st.floats(0, 1), container=st.none() | st.integers(0, 1 << 50))
def test_l1_has_always_some_room_and_never_more_than_there_is(share: float, container: int | None) -> None:
    budget = l1_byte_budget(MemoryShare(share), container)

    assert 8 * MIB <= budget <= max(container or 256 * MIB, 8 * MIB)


@pytest.mark.parametrize(
    ("limit", "container", "budget"),
    [
        (64 * MIB, None, 64 * MIB),
        (64 * MIB, 1024 * MIB, 64 * MIB),
        (64 * MIB, 196 * MIB, 40 * MIB),
        (64 * MIB, 64 * MIB, 8 * MIB),
        (1 * MIB, 64 * MIB, 1 * MIB),
    ],
)
def test_fetches_hold_no_more_than_the_container_spares(
    limit: int, container: int | None, budget: int
) -> None:
    assert spool_byte_budget(limit, container) == budget
