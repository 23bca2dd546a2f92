from __future__ import annotations

from proxy.config.scalars import MemoryShare
from proxy.config.tiers import L1, L2


def test_l1_is_a_share_of_memory_and_l2_is_off_by_default() -> None:
    assert L1().max_bytes == MemoryShare(0.4)
    assert L2().url == "off"


def test_limits_are_read_with_their_units() -> None:
    tier = L1.model_validate({"max_entries": "010", "max_bytes": "64MiB", "max_entry_bytes": "1KiB"})

    assert (tier.max_entries, tier.max_bytes, tier.max_entry_bytes) == (10, 64 << 20, 1024)
