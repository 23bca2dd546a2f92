"""Who has applied what: acknowledgements of one invalidation, and registrations of the dead (R16, R19).

Decides from what replicas registered; asks nobody. Never by the server's clock, which may jump.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from proxy.fleet.log import Registration
from proxy.model import Position


class Reach(NamedTuple):
    """How many replicas are registered, and which of them have not applied a record."""

    known: int
    missing: tuple[str, ...]

    @property
    def acknowledged(self) -> int:
        """Those that have."""
        return self.known - len(self.missing)


def reach_of(target: Position, replicas: Mapping[str, str], is_in_log: Callable[[Position], bool]) -> Reach:
    """Which registrations reach `target`. One of an epoch that the log does not have says nothing."""
    missing = [name for name, text in replicas.items() if not _has_reached(text, target, is_in_log)]
    return Reach(len(replicas), tuple(sorted(missing)))


def _has_reached(text: str, target: Position, is_in_log: Callable[[Position], bool]) -> bool:
    position = Registration.decode(text).position
    return position is not None and is_in_log(position) and position >= target


class Census:
    """Notices registrations that no longer change. `silent_seconds` is our own monotonic time."""

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._seen: dict[str, tuple[str, float]] = {}

    def silent(self, replicas: Mapping[str, str], *, now: float) -> dict[str, str]:
        """Those that stayed the same for longer than any replica trusts the log without reading it."""
        seen: dict[str, tuple[str, float]] = {}
        for name, text in replicas.items():
            known = self._seen.get(name)
            seen[name] = known if known is not None and known[0] == text else (text, now)
        self._seen = seen
        return {name: text for name, (text, since) in seen.items() if now - since > self._silent_seconds}
