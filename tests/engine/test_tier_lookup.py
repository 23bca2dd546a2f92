"""Where a response is: under its key or a variant's, in either tier."""

from __future__ import annotations

from proxy.engine.tier_lookup import look_up, peek
from proxy.model import Forward, VaryRecord
from proxy.policy.cache_key import variant_key
from tests.support.engine_fakes import Engine, FakeL2
from tests.support.responses import NOW, entry
from tests.support.routing import SECRET, get

LANGUAGE = (b"accept-language",)
REQUEST = get(b"/", (b"Accept-Language", b"de"))


def engine_with_l2() -> tuple[Engine, FakeL2]:
    l2 = FakeL2()
    return Engine(l2=l2), l2


def test_nothing_is_found_in_an_empty_l1() -> None:
    engine = Engine()
    assert peek(engine.tiers, engine.lookup(REQUEST), NOW, secret=SECRET) is None


def test_a_response_is_found_under_its_key() -> None:
    engine = Engine()
    lookup = engine.lookup(REQUEST)
    held = engine.memory.put(lookup.key.digest, entry(), NOW)
    assert peek(engine.tiers, lookup, NOW, secret=SECRET) == (held, held.entry)
    assert lookup.forward is Forward.URI_MISS


def test_a_vary_record_leads_to_the_variant() -> None:
    engine = Engine()
    lookup = engine.lookup(REQUEST)
    key = variant_key(lookup.key.digest, LANGUAGE, REQUEST.fields, secret=SECRET)
    record = VaryRecord(LANGUAGE, (key,), NOW + 100)
    engine.memory.put(lookup.key.digest, record, NOW)
    held = engine.memory.put(key, entry(), NOW)
    assert peek(engine.tiers, lookup, NOW, secret=SECRET) == (held, held.entry)
    assert (lookup.record, lookup.entry_key, lookup.forward) == (record, key, Forward.VARY_MISS)


def test_a_record_where_a_variant_should_be_is_nothing() -> None:
    engine = Engine()
    lookup = engine.lookup(REQUEST)
    key = variant_key(lookup.key.digest, LANGUAGE, REQUEST.fields, secret=SECRET)
    record = VaryRecord(LANGUAGE, (key,), NOW + 100)
    engine.memory.put(lookup.key.digest, record, NOW)
    engine.memory.put(key, record, NOW)
    assert peek(engine.tiers, lookup, NOW, secret=SECRET) is None


async def test_l2_answers_under_the_key() -> None:
    engine, l2 = engine_with_l2()
    lookup = engine.lookup(REQUEST)
    assert await look_up(engine.tiers, lookup, NOW, secret=SECRET) is None
    l2.entries[lookup.key.digest] = entry()
    assert await look_up(engine.tiers, lookup, NOW, secret=SECRET) == entry()


async def test_a_vary_record_of_l2_is_kept_in_l1_and_leads_to_the_variant() -> None:
    engine, l2 = engine_with_l2()
    lookup = engine.lookup(REQUEST)
    primary = lookup.key.digest
    key = variant_key(primary, LANGUAGE, REQUEST.fields, secret=SECRET)
    record = VaryRecord(LANGUAGE, (key,), NOW + 100)
    l2.entries |= {primary: record, key: entry()}
    assert await look_up(engine.tiers, lookup, NOW, secret=SECRET) == entry()
    assert l2.asked == [primary, key]
    held = dict(engine.memory.entries()).get(primary)
    assert held is not None
    assert held.entry == record


async def test_a_record_where_l2_should_hold_a_variant_is_nothing() -> None:
    engine, l2 = engine_with_l2()
    lookup = engine.lookup(REQUEST)
    primary = lookup.key.digest
    key = variant_key(primary, LANGUAGE, REQUEST.fields, secret=SECRET)
    record = VaryRecord(LANGUAGE, (key,), NOW + 100)
    l2.entries |= {primary: record, key: record}
    assert await look_up(engine.tiers, lookup, NOW, secret=SECRET) is None


async def test_what_was_found_under_the_key_of_the_entry_is_not_asked_for_again() -> None:
    engine, l2 = engine_with_l2()
    lookup = engine.lookup(REQUEST)
    key = variant_key(lookup.key.digest, LANGUAGE, REQUEST.fields, secret=SECRET)
    found = await look_up(engine.tiers, lookup, NOW, secret=SECRET, found=entry())
    lookup.narrow(VaryRecord(LANGUAGE, (key,), NOW + 100), key)
    variant = await look_up(engine.tiers, lookup, NOW, secret=SECRET, found=entry(), under=key)

    assert (found, variant, l2.asked) == (entry(), entry(), [])


async def test_what_was_found_under_the_primary_key_is_of_no_use_for_a_variant() -> None:
    engine, l2 = engine_with_l2()
    lookup = engine.lookup(REQUEST)
    key = variant_key(lookup.key.digest, LANGUAGE, REQUEST.fields, secret=SECRET)
    lookup.narrow(VaryRecord(LANGUAGE, (key,), NOW + 100), key)

    assert await look_up(engine.tiers, lookup, NOW, secret=SECRET, found=entry()) is None
    assert l2.asked == [key]
