import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.invalidation import EVERYTHING, Selector, SelectorKind
from proxy.policy.invalidation_index import DEFAULT_BOUNDS
from proxy.policy.selected import SLOTS, Bounds, Selected, keys_of
from tests.support.purging import entry, keyed, pattern, prefix, route, tag, url


def selected(*marked, bounds=DEFAULT_BOUNDS, floor=None):
    """Selectors with marks: instants, as they are the simpler kind."""
    made = Selected[float](keyed, bounds, floor)
    for selector, mark in marked:
        made.add(selector, mark)
    return made


def selects(made, stored, since=None):
    return made.selects(stored, keys_of(stored), since)


@pytest.mark.parametrize(
    ("selector", "hits", "misses"),
    [
        (url("/a"), [entry(b"/a"), entry(b"/a", host=b"other")], [entry(b"/a/"), entry(b"/ab")]),
        (url("/a?x=1"), [entry(b"/a"), entry(b"/a?x=1")], [entry(b"/a?x=2")]),
        (url("http://shop/a"), [entry(b"/a")], [entry(b"/a", host=b"other")]),
        (url("/caf\xe9"), [entry(b"/caf\xe9")], []),
        (prefix("/a"), [entry(b"/a"), entry(b"/ab?c"), entry(b"/a", host=b"other")], [entry(b"/b/a")]),
        (prefix("/a?b"), [entry(b"/a?bc")], [entry(b"/a?c"), entry(b"/a")]),
        (prefix("https://shop:443/"), [entry(b"/a")], [entry(b"/a", host=b"other")]),
        (pattern("/*/b"), [entry(b"/a/b"), entry(b"/a/b?c")], [entry(b"/a/b/c"), entry(b"/a//b")]),
        (pattern("http://shop/**"), [entry(b"/a/b")], [entry(b"/a/b", host=b"other")]),
        (tag("red"), [entry(tags=(b"blue", b"red"))], [entry(tags=(b"Red", b"redder")), entry()]),
        (tag("rot é"), [entry(tags=("rot é".encode(),))], []),
        (route("product"), [entry()], [entry(route="cart"), entry(tags=(b"product",), route="x")]),
        (EVERYTHING, [entry(), entry(host=b"other", route="x")], []),
    ],
)
def test_selector_names_entries(selector, hits, misses):
    made = selected((selector, 1.0))

    assert all(selects(made, stored) for stored in hits)
    assert not any(selects(made, stored) for stored in misses)


@pytest.mark.parametrize(
    "selector",
    [
        Selector(SelectorKind.URL, "what?"),
        Selector(SelectorKind.URL, "/€"),
        Selector(SelectorKind.PREFIX, ""),
        Selector(SelectorKind.PATTERN, "/a**"),
        Selector(SelectorKind.TAG, "\ud800"),
    ],
)
def test_a_selector_that_makes_no_sense_selects_everything(selector):
    assert selects(selected((selector, 1.0)), entry())


@pytest.mark.parametrize("selector", [url("/a"), prefix("/a"), pattern("/*"), EVERYTHING])
@pytest.mark.parametrize(("since", "is_selected"), [(None, True), (0.5, True), (1.0, False), (1.5, False)])
def test_only_marks_newer_than_the_entry_count(selector, since, is_selected):
    assert selects(selected((selector, 1.0)), entry(), since) is is_selected


@pytest.mark.parametrize("selector", [url("/a"), prefix("/a"), pattern("/*"), route("product")])
@pytest.mark.parametrize("marks", [(1.0, 2.0), (2.0, 1.0), (2.0, 2.0)])
def test_the_newest_mark_of_a_selector_counts_whatever_the_order(selector, marks):
    made = selected(*((selector, mark) for mark in marks))

    assert len(made) == 1
    assert selects(made, entry(), 1.5)
    assert not selects(made, entry(), 2.0)


def test_lists_are_searched_whatever_the_order_of_marks():
    made = selected((prefix("/a"), 2.0), (prefix("/b"), 1.0), (pattern("/c/*"), 3.0))

    assert selects(made, entry(b"/a"), 1.5)
    assert selects(made, entry(b"/b"), 0.5)
    assert not selects(made, entry(b"/b"), 1.5)
    assert selects(made, entry(b"/c/1"), 2.5)


def test_two_urls_of_one_key_keep_the_newer_mark():
    made = selected((url("/a?x=1"), 2.0), (url("/a?x=2"), 1.0))

    assert selects(made, entry(b"/a"), 1.5)


@pytest.mark.parametrize(("selector", "stored"), [(url("/a"), entry(b"/a")), (tag("x"), entry(tags=(b"x",)))])
def test_beyond_the_bound_the_oldest_narrow_selector_folds_into_a_slot(selector, stored):
    made = selected((selector, 1.0), (url("/new"), 2.0), bounds=Bounds(narrow=1))

    assert not selects(made, stored)
    assert made.may_select(stored, 0.5)
    assert not made.may_select(stored, 1.0)
    assert made.may_select(stored, None)
    assert made.floor is None
    assert (len(made), made.folded) == (1, 1)


def test_a_slot_is_of_a_path_whatever_host_and_query():
    made = selected((url("http://shop/a?b"), 1.0), (url("/new"), 2.0), bounds=Bounds(narrow=1))

    assert made.may_select(entry(b"/a?c", host=b"other"), 0.5)


def by_first_segment(_host, target):
    """Routes `orders` and `products`; nothing else is kept."""
    name = target.split(b"/")[1].decode()
    return ((name, target),) if name in {"orders", "products"} else ()


def flooded(*selectors, count=3 * SLOTS, template="/orders/{}"):
    """As many URLs as fill every slot, behind the given ones."""
    made = Selected(by_first_segment, Bounds(narrow=1))
    for selector in (*selectors, *(url(template.format(number)) for number in range(count))):
        made.add(selector, 1.0)
    made.add(tag("last"), 1.0)
    return made


def hits(made, template, since):
    """How many of as many targets as there are slots may have been selected."""
    return sum(made.may_select(entry(template % number), since) for number in range(SLOTS))


def test_a_flood_of_one_route_leaves_the_others_alone():
    made = flooded()

    assert hits(made, b"/orders/%d", 0.5) > 0.9 * SLOTS
    assert hits(made, b"/products/%d", 0.5) == 0
    assert 0.9 * SLOTS < made.folded <= SLOTS


def test_a_folded_url_is_found_by_our_routes_whatever_the_entry_was_stored_under():
    made = flooded(count=1, template="/orders/7")

    assert made.may_select(entry(b"/orders/7", route="of another policy"), 0.5)
    assert not made.may_select(entry(b"/products/7", route="orders"), 0.5)


def test_a_folded_url_that_no_route_keeps_concerns_all():
    made = flooded(count=1, template="/carts/7")

    assert made.may_select(entry(b"/carts/7"), 0.5)
    assert not made.may_select(entry(b"/carts/7"), 1.0)


def test_an_entry_that_no_route_keeps_is_looked_for_in_all_slots():
    assert hits(flooded(), b"/carts/%d", 0.5) > 0.9 * SLOTS


def test_under_other_routes_slots_concern_all():
    again = flooded().read_again(by_first_segment)

    assert hits(again, b"/products/%d", 0.5) > 0.9 * SLOTS
    assert hits(again, b"/products/%d", 1.0) == 0


def test_slots_of_many_routes_are_shared_rather_than_unbounded(monkeypatch):
    monkeypatch.setattr("proxy.policy.selected.MOST_SLOTS", 64)
    made = Selected(lambda host, target: ((host.decode(), target),), Bounds(narrow=1))
    for number in range(65):
        made.add(url(f"http://h{number}/x"), 1.0 + number)
    of_another_route = entry(b"/x", host=b"other")
    before = made.folded, made.may_select(of_another_route, 0.5)

    made.add(url("http://h65/x"), 66.0)

    assert before == (64, False)
    assert (made.folded, made.may_select(of_another_route, 64.5)) == (1, True)
    assert not made.may_select(of_another_route, 65.0)


def test_slots_keep_the_newest_mark_and_are_bounded():
    urls = [(url(f"/{number}"), float(number)) for number in range(3 * SLOTS)]
    made = selected(*urls, bounds=Bounds(narrow=1))

    assert made.folded <= SLOTS
    assert all(made.may_select(entry(b"/%d" % number), number - 0.5) for number in range(3 * SLOTS - 1))


@pytest.mark.parametrize("marks", [(1.0, 2.0), (2.0, 1.0)])
def test_a_slot_keeps_the_newer_of_two_marks(marks):
    made = selected(
        (url("/a?1"), marks[0]), (url("/a?2"), marks[1]), (url("/b"), 3.0), bounds=Bounds(narrow=1)
    )

    assert made.may_select(entry(b"/a?3"), 1.5)
    assert not made.may_select(entry(b"/a?3"), 2.0)


@pytest.mark.parametrize("selector", [prefix("/a"), pattern("/*"), route("r"), EVERYTHING])
def test_beyond_the_bound_the_oldest_broad_selector_raises_the_floor(selector):
    made = selected((selector, 1.0), (prefix("/new"), 2.0), bounds=Bounds(broad=1))

    assert made.floor == 1.0
    assert made.may_select(entry(b"/x"), 0.5)
    assert not made.may_select(entry(b"/x"), 1.0)
    assert made.may_select(entry(b"/x"), None)
    assert len(made) == 1


def test_the_floor_never_sinks():
    made = selected((prefix("/a"), 1.0), (prefix("/b"), 2.0), bounds=Bounds(broad=1), floor=5.0)

    assert made.floor == 5.0


def test_narrow_selectors_push_out_no_broad_ones():
    made = selected(
        (EVERYTHING, 1.0), *((url(f"/{n}"), 2.0) for n in range(5)), bounds=Bounds(narrow=2, broad=1)
    )

    assert made.floor is None
    assert selects(made, entry(), 0.5)


def test_what_is_older_can_be_forgotten():
    made = selected(
        (url("/a"), 1.0),
        (url("/b"), 2.0),
        (prefix("/c"), 1.0),
        (prefix("/d"), 2.0),
        (url("/e"), 3.0),
        floor=1.0,
    )
    made.forget(before=2.0)

    assert [selects(made, entry(target)) for target in (b"/a", b"/b", b"/c", b"/d", b"/e")] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert made.floor is None


def test_slots_and_a_newer_floor_are_forgotten_in_their_time():
    made = selected((url("/a"), 1.0), (url("/b"), 2.0), (url("/c"), 3.0), bounds=Bounds(narrow=1), floor=2.0)
    made.forget(before=2.0)

    assert made.folded == 1
    assert made.floor == 2.0


def test_forgetting_a_url_leaves_a_newer_one_of_the_same_key():
    made = selected((url("/a?x=1"), 1.0), (url("/a?x=2"), 2.0))
    made.forget(before=1.5)

    assert selects(made, entry(b"/a"), 1.5)


def test_other_routes_read_the_raw_selectors_again():
    made = selected((url("/a?x=1"), 1.0), (prefix("/b"), 2.0))
    again = made.read_again(lambda _host, target: (("product", target + b"&keyed"),))

    assert selects(again, entry(b"/a?x=1&keyed"), 0.5)
    assert not selects(again, entry(b"/a"), 0.5)
    assert selects(again, entry(b"/b"), 1.5)


def test_slots_and_floor_survive_other_routes():
    made = selected((url("/a?x"), 1.0), (url("/b"), 2.0), bounds=Bounds(narrow=1), floor=0.25)
    again = made.read_again(lambda _host, target: (("other", target),))

    assert again.may_select(entry(b"/a?y"), 0.5)
    assert again.floor == 0.25


MARKED = st.lists(
    st.tuples(
        st.sampled_from([url("/a"), url("/b"), tag("red"), prefix("/a"), route("product"), EVERYTHING]),
        st.integers(1, 9).map(float),
    ),
    max_size=8,
)
INSTANT = st.none() | st.integers(0, 10).map(float)


@given(MARKED, INSTANT, INSTANT, INSTANT, st.booleans())
def test_where_nothing_is_newer_nothing_is_selected(marked, floor, before, since, is_read_again):
    """Out of order, folded, forgotten or read again."""
    made = selected(*marked, bounds=Bounds(narrow=1, broad=1), floor=floor)
    if before is not None:
        made.forget(before=before)
    if is_read_again:
        made = made.read_again(keyed)
    stored = entry(b"/a", tags=(b"red",))
    latest = max([floor or 0.0, *(mark for _, mark in marked)])

    if made.latest is None or (since is not None and made.latest <= since):
        assert not selects(made, stored, since)
        assert not made.may_select(stored, since)
    assert made.latest is None or made.latest <= latest


def test_when_all_is_forgotten_nothing_is_left_to_compare():
    made = selected((EVERYTHING, 2.0), floor=1.0)
    assert made.latest == 2.0

    made.forget(before=3.0)

    assert made.latest is None
