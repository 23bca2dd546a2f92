from proxy.fleet import recent
from proxy.fleet.recent import REMEMBERED_SECONDS, Recent
from proxy.policy.invalidation import Record
from tests.support.purging import position, url


def named(uid, ms=5, selectors=1):
    return Record(position(ms), (0, 0), uid, tuple(url(f"/{n}") for n in range(selectors)))


def test_the_last_sight_of_a_uid_counts():
    remembered = Recent()
    remembered.add(named("a", 5), at=0.0)
    remembered.add(named("b", 6), at=1.0)
    remembered.add(named("a", 7), at=2.0)

    assert [(record.uid, record.position.ms) for record in remembered] == [("b", 6), ("a", 7)]
    assert remembered.get("a").position.ms == 7
    assert remembered.get("c") is None


def test_records_are_forgotten_after_ten_minutes():
    remembered = Recent()
    remembered.add(named("a"), at=0.0)
    remembered.add(named("b"), at=1.0)
    remembered.add(named("c"), at=REMEMBERED_SECONDS)
    kept_to_the_end = len(remembered)
    remembered.add(named("d"), at=REMEMBERED_SECONDS + 0.5)

    assert kept_to_the_end == 3
    assert [record.uid for record in remembered] == ["b", "c", "d"]


def test_the_oldest_give_way_to_many_selectors(monkeypatch):
    monkeypatch.setattr(recent, "MOST_SELECTORS", 5)
    remembered = Recent()
    for uid in "abc":
        remembered.add(named(uid, selectors=2), at=0.0)
    remembered.add(named("c", selectors=3), at=0.0)

    assert [record.uid for record in remembered] == ["b", "c"]


def test_one_record_of_too_many_selectors_is_not_remembered(monkeypatch):
    monkeypatch.setattr(recent, "MOST_SELECTORS", 5)
    remembered = Recent()
    remembered.add(named("a", selectors=6), at=0.0)

    assert len(remembered) == 0
