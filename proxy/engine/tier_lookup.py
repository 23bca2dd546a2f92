"""Where a response is: in L1, in L2, directly under its key or under a variant's."""

from __future__ import annotations

from proxy.engine.lookup import Lookup
from proxy.engine.protocols import Tiers
from proxy.model import NOT_ASKED, Found, Held, NotAsked, StoredResponse, VaryRecord
from proxy.policy.cache_key import selected_variant


def peek(tiers: Tiers, lookup: Lookup, now: float, *, secret: bytes) -> tuple[Held, StoredResponse] | None:
    """This replica's copy; no waiting."""
    held = tiers.peek(lookup.entry_key, now)
    if held is not None and isinstance(held.entry, VaryRecord):
        _narrow(lookup, held.entry, secret)
        held = tiers.peek(lookup.entry_key, now)
    if held is None or isinstance(held.entry, VaryRecord):
        return None
    return held, held.entry


async def look_up(
    tiers: Tiers,
    lookup: Lookup,
    now: float,
    *,
    secret: bytes,
    found: Found = NOT_ASKED,
    under: bytes | None = None,
) -> StoredResponse | None:
    """L2's copy; at most two look-ups, each batched with those of its tick.

    `found` is what L2 had under the key `under` (None: the primary one); of no use where another is the
    entry's, as L1 knows a Vary record by now.
    """
    if isinstance(found, NotAsked) or lookup.entry_key != (under or lookup.key.digest):
        found = await tiers.look_up(lookup.entry_key)
    entry = found
    if isinstance(entry, VaryRecord):
        tiers.back_fill(lookup.key.digest, entry, now, idle=None)
        _narrow(lookup, entry, secret)
        entry = await tiers.look_up(lookup.entry_key)
    return None if isinstance(entry, VaryRecord) else entry


def _narrow(lookup: Lookup, record: VaryRecord, secret: bytes) -> None:
    fields = lookup.request.fields
    lookup.narrow(record, selected_variant(lookup.key.digest, record, fields, secret=secret))
