"""Wrong orders by name, and the class of worlds in which each breaks a promise.

Each replaces a method or two, of the product or of the simulated servers, while a world runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partialmethod
from typing import Any, NamedTuple

from proxy.engine.fetching import Fetcher
from proxy.engine.origin_flow import OriginFlow
from proxy.engine.request_flow import RequestFlow
from proxy.fleet.log_copy import LogCopy
from proxy.fleet.reader import Reader, _FullRead
from proxy.fleet.redis_log import RedisLog
from proxy.fleet.trust import Trust
from proxy.policy.invalidation_index import Index, Modes
from proxy.store.tiered import TieredStore
from tests.simulation import wrong_orders
from tests.simulation.log_store import LogStore
from tests.simulation.process import SharedTier, SimulatedServer

Patch = tuple[type, str, Any]


class Mutant(NamedTuple):
    """One wrong order."""

    name: str
    kind: str
    patches: Sequence[Patch]
    first_seed: int = 0
    """Of the worlds that are tried; where it is known to be caught, so that tests are quick."""


@contextmanager
def in_force(mutant: Mutant | None) -> Iterator[None]:
    """While the context lasts; None: the product as it is."""
    patches = mutant.patches if mutant else ()
    before = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in patches]
    for owner, name, wrong in patches:
        setattr(owner, name, wrong)
    try:
        yield
    finally:
        for owner, name, right in before:
            setattr(owner, name, right)


MUTANTS = (
    Mutant(
        "naive",
        "basic",
        [
            (LogCopy, "accept", wrong_orders.drop_what_is_named),
            (LogCopy, "judge", wrong_orders.always_alive),
            (LogCopy, "judge_held", wrong_orders.always_alive),
        ],
    ),
    Mutant("born at the response", "basic", [(Fetcher, "_received", wrong_orders.received_and_born)]),
    Mutant(
        "304 born at the response", "basic", [(Fetcher, "_not_modified", wrong_orders.not_modified_and_born)]
    ),
    Mutant(
        "a clock as position",
        "clock",
        [
            (LogCopy, "accept", wrong_orders.keep_page),
            (LogCopy, "_born", partialmethod(wrong_orders.server_time, seq=2**62)),
        ],
        first_seed=86,
    ),
    Mutant(
        "a clock that steps as position",
        "clock",
        [
            (LogCopy, "accept", wrong_orders.keep_page),
            (LogCopy, "_born", partialmethod(wrong_orders.server_time, ms=-1, seq=2**62)),
        ],
        first_seed=91,
    ),
    Mutant("a follower joins any fetch", "basic", [(OriginFlow, "_validity", wrong_orders.always_alive)]),
    Mutant("tags are not asked of a fetch", "basic", [(OriginFlow, "_validity", wrong_orders.without_tags)]),
    Mutant("back-fill unchecked", "basic", [(RequestFlow, "_use", wrong_orders.l2_unjudged)]),
    Mutant(
        "back-fill checked too early",
        "basic",
        [
            (RequestFlow, "_use", wrong_orders.l2_judged_early),
            (SharedTier, "read", wrong_orders.judged_at_the_server),
        ],
    ),
    Mutant("back-fill with a new born", "basic", [(TieredStore, "back_fill", wrong_orders.own_birth)]),
    Mutant("soft hides hard", "basic", [(Modes, "add", wrong_orders.newest_wins)]),
    Mutant("a hit is checked once", "basic", [(LogCopy, "judge_held", wrong_orders.asked_once)]),
    Mutant(
        "restart trusts L2 with an empty index",
        "restart",
        [(LogCopy, "_judge", wrong_orders.l2_before_any_read)],
    ),
    Mutant("no floor", "trim", [(_FullRead, "_begin_at", wrong_orders.no_floor)], first_seed=8),
    Mutant("gap unnoticed", "trim", [(Reader, "_gap_before", wrong_orders.any_record)], first_seed=8),
    Mutant("fork accepted", "flush", [(Reader, "_gap_before", wrong_orders.fork_behind)], first_seed=5),
    Mutant("old epochs kept", "failover", [(Index, "replace", wrong_orders.keep_epochs)], first_seed=1),
    Mutant(
        "checks outlive a full read",
        "failover",
        [(Index, "replace", wrong_orders.keep_checks)],
        first_seed=96,
    ),
    Mutant(
        "no epoch at a failover", "failover", [(LogStore, "follower", wrong_orders.same_master)], first_seed=2
    ),
    Mutant("the cursor jumps to own records", "basic", [(Reader, "note_own", wrong_orders.jump)]),
    Mutant("lost records are forgotten", "lost", [(_FullRead, "has_lost", wrong_orders.lost_nothing)]),
    Mutant("no limit of trust", "wait", [(Trust, "completed", wrong_orders.for_ever)]),
    Mutant("complete too early", "wait", [(RedisLog, "_until_acknowledged", wrong_orders.early_complete)]),
    Mutant(
        "acknowledged before it is applied",
        "basic",
        [(LogStore, "poll", wrong_orders.acknowledged_when_read)],
    ),
    Mutant("read before registered", "join", [(SimulatedServer, "poll", wrong_orders.read_then_register)]),
    Mutant(
        "registrations expire by the server",
        "wait",
        [(LogStore, "append", wrong_orders.expired_by_the_server)],
    ),
    Mutant(
        "a young epoch knows all replicas", "flush", [(LogCopy, "knows_all_replicas", wrong_orders.knows_all)]
    ),
    Mutant("a deposed master takes writes", "split", [(LogStore, "_refusal", wrong_orders.never_refuses)]),
)

RARE_MUTANTS = (
    Mutant("the reply's time as sync", "wait", [(Trust, "completed", wrong_orders.from_the_reply_on)]),
    Mutant("a timer takes trust back", "wait", [(LogCopy, "accept", wrong_orders.timer_flag)]),
    Mutant("no grace", "lost", [(Trust, "completed", wrong_orders.without_grace)]),
    Mutant("ids without epochs acknowledge", "flush", [(LogCopy, "reach_of", wrong_orders.bare_ids)]),
    Mutant("a run id as the server's name", "failover", [(LogStore, "come_back", wrong_orders.same_run)]),
    Mutant(
        "publishers append again, nobody else",
        "lost",
        [
            (LogCopy, "published", wrong_orders.note_published),
            (LogCopy, "_note_rebuilt", wrong_orders.publishers_only),
        ],
    ),
)
"""Those that chance hardly ever tells from the right order: histories.py does."""


def mutant_named(name: str | None) -> Mutant | None:
    """None: none is wanted."""
    return next(mutant for mutant in (*MUTANTS, *RARE_MUTANTS) if mutant.name == name) if name else None
