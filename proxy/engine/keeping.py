"""Puts a finished response where look-ups find it: under its key, or a variant's beside a Vary record."""

from __future__ import annotations

from collections.abc import Callable

from proxy.engine.lookup import Lookup
from proxy.engine.protocols import Tiers
from proxy.model import StoredResponse, VaryRecord
from proxy.policy.cache_key import language_key, variant_key


class Keeper:
    """Writes entries into the tiers and keeps the Vary records (RFC 9111 §4.1) true and bounded."""

    def __init__(self, tiers: Tiers, *, secret: bytes, clock: Callable[[], float]) -> None:
        self._tiers = tiers
        self._secret = secret
        self._clock = clock

    def keep(
        self, lookup: Lookup, stored: StoredResponse, vary: tuple[bytes, ...], *, began_at: float
    ) -> None:
        """Store the response for this request's key, or for its variant."""
        now, primary, record = self._clock(), lookup.key.digest, lookup.record
        held = self._tiers.peek(primary, now)
        if held is not None and isinstance(held.entry, VaryRecord):
            record = held.entry
        # Names only ever join a live record: an answer without Vary (an error, say) must not
        # replace all variants, and two variants that name different fields must not take turns.
        if record is not None or vary:
            self._keep_variant(lookup, stored, vary, record, now=now, began_at=began_at)
        else:
            self._tiers.keep(primary, stored, now, idle=lookup.policy.idle, began_at=began_at)

    def _keep_variant(
        self,
        lookup: Lookup,
        stored: StoredResponse,
        vary: tuple[bytes, ...],
        record: VaryRecord | None,
        *,
        now: float,
        began_at: float,
    ) -> None:
        names = tuple(sorted({*vary, *(record.names if record else ())}))
        primary, asked = lookup.key.digest, lookup.request.fields
        key = variant_key(primary, names, asked, secret=self._secret)
        self._tiers.keep(key, stored, now, idle=lookup.policy.idle, began_at=began_at)
        updated = self._with_variant(record, names, key, stored.expires_at, lookup.policy.max_variants)
        alone = language_key(primary, names, asked, stored.fields(), secret=self._secret)
        updated = _with_language(updated, alone, key)
        if updated != record:
            self._tiers.keep(primary, updated, now, idle=None, began_at=began_at)

    def _with_variant(
        self, record: VaryRecord | None, names: tuple[bytes, ...], key: bytes, expires_at: float, limit: int
    ) -> VaryRecord:
        is_same = record is not None and record.names == names
        known, by_language = (record.variants, record.by_language) if record and is_same else ((), ())
        variants = known if key in known else (*known, key)
        for crowded_out in variants[:-limit]:
            self._tiers.drop(crowded_out, cause="size")
        if record is not None:
            expires_at = max(expires_at, record.expires_at)
        return VaryRecord(names, variants[-limit:], expires_at, by_language)


def _with_language(record: VaryRecord, alone: bytes | None, key: bytes) -> VaryRecord:
    """The newest variant of each language, as long as it is one of the variants."""
    newest = dict(record.by_language) | ({alone: key} if alone is not None else {})
    known = tuple((alone, variant) for alone, variant in newest.items() if variant in record.variants)
    return VaryRecord(record.names, record.variants, record.expires_at, known)
