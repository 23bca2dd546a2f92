"""Where a finished response is put, and how Vary records stay true and bounded."""

from __future__ import annotations

from proxy.engine.lookup import Lookup
from proxy.model import Outcome, StoredResponse, VaryRecord
from proxy.policy.cache_key import variant_key
from tests.support.engine_fakes import Engine, FakeL2
from tests.support.responses import NOW, entry
from tests.support.routing import SECRET, get


def asking(engine: Engine, language: bytes = b"de") -> Lookup:
    return engine.lookup(get(b"/", (b"Accept-Language", language), (b"Accept", language)))


def keep(engine: Engine, lookup: Lookup, *vary: bytes, **changes: float) -> StoredResponse:
    """Keep an entry that varies by these fields."""
    kept = entry(**changes)
    engine.keeper.keep(lookup, kept, vary, began_at=5.0)
    return kept


def key_of(lookup: Lookup, *names: bytes) -> bytes:
    return variant_key(lookup.key.digest, names, lookup.request.fields, secret=SECRET)


def record_of(engine: Engine, lookup: Lookup) -> VaryRecord:
    held = dict(engine.memory.entries()).get(lookup.key.digest)
    assert held is not None
    assert isinstance(held.entry, VaryRecord)
    return held.entry


def test_without_vary_the_response_is_under_its_key() -> None:
    engine = Engine(idle="7s")
    lookup = asking(engine)
    kept = keep(engine, lookup)
    held = dict(engine.memory.entries()).get(lookup.key.digest)
    assert held is not None
    assert (held.entry, held.idle, held.began_at) == (kept, 7.0, None)


def test_with_vary_it_is_beside_a_record_of_sorted_names() -> None:
    engine = Engine()
    lookup = asking(engine)
    kept = keep(engine, lookup, b"accept-language", b"accept")
    key = key_of(lookup, b"accept", b"accept-language")
    assert record_of(engine, lookup) == VaryRecord((b"accept", b"accept-language"), (key,), NOW + 1000)
    held = dict(engine.memory.entries()).get(key)
    assert held is not None
    assert held.entry == kept


def test_an_answer_without_vary_does_not_replace_a_live_record() -> None:
    engine = Engine()
    lookup = asking(engine)
    keep(engine, lookup, b"accept")
    before = record_of(engine, lookup)
    keep(engine, lookup)
    assert record_of(engine, lookup) is before


def test_names_join_a_live_record_and_its_variants_begin_anew() -> None:
    engine = Engine()
    lookup = asking(engine)
    keep(engine, lookup, b"accept")
    keep(engine, lookup, b"accept-language")
    names = (b"accept", b"accept-language")
    assert record_of(engine, lookup) == VaryRecord(names, (key_of(lookup, *names),), NOW + 1000)


def test_a_record_that_l1_lost_is_taken_from_the_lookup() -> None:
    engine = Engine()
    lookup = asking(engine)
    lookup.record = VaryRecord((b"accept",), (b"other",), NOW + 5000)
    keep(engine, lookup, b"accept")
    assert record_of(engine, lookup) == VaryRecord(
        (b"accept",), (b"other", key_of(lookup, b"accept")), NOW + 5000
    )


def test_a_record_lives_as_long_as_its_longest_variant() -> None:
    engine = Engine()
    keep(engine, asking(engine, b"a"), b"accept", expires_at=NOW + 10)
    keep(engine, asking(engine, b"b"), b"accept", expires_at=NOW + 20)
    keep(engine, asking(engine, b"c"), b"accept", expires_at=NOW + 15)
    assert record_of(engine, asking(engine)).expires_at == NOW + 20


def test_the_oldest_variant_gives_way() -> None:
    engine = Engine(max_variants=2)
    lookups = [asking(engine, language) for language in (b"a", b"b", b"c")]
    for lookup in lookups:
        keep(engine, lookup, b"accept")
    keys = [key_of(lookup, b"accept") for lookup in lookups]
    assert record_of(engine, lookups[0]).variants == tuple(keys[1:])
    assert [key not in engine.memory for key in keys] == [True, False, False]
    assert engine.metrics.l1_evictions.values[("size",)] == 1


def german(engine: Engine, lookup: Lookup) -> bytes:
    """Keep a German answer, and say under which key a request for German alone looks."""
    lines = entry().lines + b"Content-Language: de\r\n"
    engine.keeper.keep(lookup, entry(lines=lines), (b"accept-language",), began_at=5.0)
    asked = get(b"/", (b"Accept-Language", b"de")).fields
    return variant_key(lookup.key.digest, (b"accept-language",), asked, secret=SECRET)


def test_the_record_knows_the_newest_variant_of_each_language() -> None:
    engine = Engine()
    german(engine, asking(engine, b"en, de"))
    lookup = asking(engine, b"de, fr")
    alone = german(engine, lookup)
    assert record_of(engine, lookup).by_language == ((alone, key_of(lookup, b"accept-language")),)


def test_a_language_goes_with_its_variant() -> None:
    engine = Engine(max_variants=1)
    german(engine, asking(engine, b"en, de"))
    keep(engine, asking(engine, b"fr"), b"accept-language")
    assert record_of(engine, asking(engine)).by_language == ()


async def test_the_language_wanted_most_is_served_from_both_tiers() -> None:
    l2 = FakeL2()
    engine = Engine(l2=l2)
    german(engine, asking(engine, b"en, de"))
    question = get(b"/", (b"Accept-Language", b"fr;q=0.5, de"), (b"Accept", b"en, de"))
    hit = engine.flow.try_hit(question)
    assert hit is not None
    other = Engine(l2=l2)
    assert (hit.outcome, (await other.serve(question)).outcome) == (Outcome.HIT, Outcome.HIT_L2)
