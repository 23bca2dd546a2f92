"""What differs between two configurations, and which of it can be applied without a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.config.schema import Config

LIVE = frozenset(
    {"defaults", "routes", "unmatched", "logs", "forwarded", "x_cache_status", "data_purge", "drain"}
)
"""Keys that a reload applies: they are read anew for every request, or when they are needed."""
NEEDS_RESTART = frozenset(
    {
        "listen",  # sockets are bound once
        "ops",
        "admin",
        "workers",
        "origin",  # connections and their pool are made from it
        "l1",  # bounds of what is held already
        "l2",
        "warm",  # over once it is ready; others are told from the start on
        "limits",  # bounds of connections that are open already
        "plain_lane",  # connections that are open have it or not
        "profile",  # decides what is stored, and entries stored under the other one would stay
        "secret",  # keys would change, and every entry under them
        "secret_file",
    }
)


def merged(old: Config, new: Config) -> Config:
    """The new configuration, but the old values of what only a restart applies."""
    return new.model_copy(update={key: getattr(old, key) for key in NEEDS_RESTART})


def changed_keys(old: Config, new: Config) -> tuple[str, ...]:
    """Dotted keys whose values differ, in the schema's order; a list is one value."""
    return tuple(_differences(_dump(old), _dump(new)))


def needing_restart(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the dotted keys that a reload leaves as they were."""
    return tuple(key for key in keys if key.partition(".")[0] in NEEDS_RESTART)


def _dump(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True)


def _differences(old: dict[str, Any], new: dict[str, Any], above: str = "") -> Iterator[str]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{above}{key}.")
        else:
            yield f"{above}{key}"
