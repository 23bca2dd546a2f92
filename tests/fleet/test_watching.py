import pytest

from proxy.fleet.watching import Watches
from tests.support.purging import entry, keyed, tag, url


@pytest.mark.parametrize(
    ("selector", "is_untouched"), [(url("/a"), False), (tag("t"), False), (url("/b"), True), (tag("u"), True)]
)
def test_what_concerns_the_entry_is_noticed(selector, is_untouched):
    watches = Watches()
    with watches.begin(entry(tags=(b"t",))) as watch:
        watches.note([selector], keyed)

        assert watch.is_untouched is is_untouched


def test_what_was_noticed_is_not_forgotten():
    watches = Watches()
    with watches.begin(entry()) as watch:
        watches.note([url("/a")], keyed)
        watches.note([url("/b")], keyed)

        assert not watch.is_untouched


def test_what_nobody_knows_concerns_every_entry():
    watches = Watches()
    with watches.begin(entry()) as watch:
        watches.note_all()

        assert not watch.is_untouched


def test_nothing_is_noticed_after_the_end():
    watches = Watches()
    with watches.begin(entry()) as watch:
        pass
    watches.note([url("/a")], keyed)
    watches.note_all()

    assert watch.is_untouched
    assert len(watches) == 0


def test_each_watch_is_of_its_own_entry():
    watches = Watches()
    with watches.begin(entry(b"/a")) as one, watches.begin(entry(b"/b")) as other:
        watches.note([url("/b")], keyed)

        assert (one.is_untouched, other.is_untouched) == (True, False)
