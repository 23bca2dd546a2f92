from __future__ import annotations

from proxy.config.scalars import MemoryShare
from proxy.config.tiers import L1, L2, MOST_WARM_KEYS, Warm
from tests.support.configs import faults_of, loaded, warnings_of


def test_l1_is_a_share_of_memory_and_l2_is_off_by_default() -> None:
    assert L1().max_bytes == MemoryShare(0.4)
    assert L2().url == "off"


def test_limits_are_read_with_their_units() -> None:
    tier = L1.model_validate({"max_entries": "010", "max_bytes": "64MiB", "max_entry_bytes": "1KiB"})

    assert (tier.max_entries, tier.max_bytes, tier.max_entry_bytes) == (10, 64 << 20, 1024)


def test_nothing_is_warmed_by_default() -> None:
    assert Warm() == Warm.model_validate({"from": "off", "keys": 10_000, "timeout": "5s"})


def test_warming_is_read_with_its_units() -> None:
    warm = loaded("origin: {url: http://h}\nwarm: {from: l2, keys: 500, timeout: 250ms}").warm

    assert (warm.from_, warm.keys, warm.timeout) == ("l2", 500, 0.25)


def test_a_list_of_hot_keys_is_bounded() -> None:
    text = "origin: {url: http://h}\nwarm: {from: l2, keys: %d}\nl2: {url: redis://h, namespace: x}"

    assert faults_of(text % MOST_WARM_KEYS) == []
    assert [fault for fault in faults_of(text % (MOST_WARM_KEYS + 1)) if "at most 50000" in fault]
    assert warnings_of(text % MOST_WARM_KEYS) == []
