from __future__ import annotations

from proxy.config.changes import LIVE, NEEDS_RESTART, changed_keys, merged, needing_restart
from proxy.config.schema import Config
from proxy.config.section import known_keys
from tests.support.configs import config, route


def test_every_key_is_live_or_needs_a_restart() -> None:
    assert set(known_keys(Config)) == LIVE | NEEDS_RESTART
    assert not LIVE & NEEDS_RESTART


def test_equal_configurations_have_no_changes() -> None:
    assert changed_keys(config(), config()) == ()


def test_changed_keys_are_dotted_and_lists_are_one() -> None:
    old = config(routes=[route()])
    new = config(
        listen="0.0.0.0:1",
        origin={"url": "http://h", "pool": {"max_connections": "64"}},
        forwarded={"for": "set"},
        routes=[route(ttl="1m")],
    )

    changed = changed_keys(old, new)

    assert changed == (
        "listen",
        "origin.url",
        "origin.pool.max_connections",
        "origin.max_in_flight",
        "forwarded.for",
        "routes",
    )
    assert needing_restart(changed) == changed[:4]


def test_status_that_comes_or_goes_is_a_change() -> None:
    old, new = config(), config(defaults={"negative": {404: "1s"}})

    assert changed_keys(old, new) == changed_keys(new, old) == ("defaults.negative.404",)


def test_merged_configuration_keeps_what_needs_a_restart() -> None:
    old = config(secret="old", l1={"max_entries": 5})
    new = config(secret="new", l1={"max_entries": 6}, routes=[route()], unmatched="cache")

    both = merged(old, new)

    assert (both.secret, both.l1.max_entries) == ("old", 5)
    assert (both.routes, both.unmatched) == (new.routes, "cache")
