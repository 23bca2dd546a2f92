"""The classes of worlds: what goes wrong in each, and how often."""

from __future__ import annotations

from typing import NamedTuple

MIXED = (3.0, 12.0, 40.0)


class Kind(NamedTuple):
    """One class. `troubles` are functions of trouble.py, by name."""

    name: str
    troubles: tuple[str, ...] = ()
    seconds: float = 4.0
    """Virtual."""
    loss: float = 0.0
    """Of requests, of replies, and of requests that arrive too late: of each."""
    requests_per_second: float = 400.0
    purge_rates: tuple[float, ...] = (40.0,)
    """Purges per second, one of them for each world: in a quiet one nothing hides a purge that was missed."""
    soft_share: float = 0.2
    troubles_per_second: float = 2.0
    has_skew: bool = False
    """Wall clocks differ by up to 2 s, and the server's has ticks of 20 ms."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("basic"),
        Kind("trim", ("trim", "pause"), purge_rates=MIXED, troubles_per_second=6.0),
        Kind("restart", ("restart", "end"), purge_rates=MIXED),
        Kind("wait", ("pause", "cut"), loss=0.02, purge_rates=MIXED),
        Kind("join", ("join", "end", "restart"), purge_rates=MIXED),
        Kind("clock", ("clock", "trim"), has_skew=True),
        Kind(
            "flush", ("flush", "pause", "clock", "restart", "end"), purge_rates=MIXED, troubles_per_second=4.0
        ),
        Kind("failover", ("failover", "failover", "failback", "restart"), purge_rates=MIXED),
        Kind("lost", ("lossy failover", "lossy failover", "restart", "cut"), seconds=6.0, purge_rates=MIXED),
        Kind("split", ("split", "restart"), seconds=8.0, troubles_per_second=0.5, purge_rates=MIXED),
        Kind("origin", ("origin fails",), troubles_per_second=2.0, purge_rates=(40.0,), soft_share=0.6),
        Kind("soft", ("pause", "cut"), seconds=8.0, soft_share=0.9),
        Kind("l2", ("l2 evicts", "l2 is flushed", "l2 goes back", "cut"), purge_rates=MIXED),
        Kind("loss", ("server pauses", "server is full", "cut"), loss=0.05, purge_rates=MIXED),
        Kind(
            "mixed",
            (
                "trim",
                "pause",
                "restart",
                "end",
                "join",
                "cut",
                "clock",
                "flush",
                "failover",
                "failback",
                "lossy failover",
                "split",
                "l2 evicts",
                "l2 is flushed",
                "l2 goes back",
                "server pauses",
                "server is full",
                "origin fails",
            ),
            seconds=8.0,
            loss=0.01,
            purge_rates=MIXED,
            has_skew=True,
        ),
    )
}
