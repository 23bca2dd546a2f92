import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.invalidation import EVERYTHING, Selector, SelectorKind
from proxy.policy.selector_encoding import MOST_BYTES, batches, decode_selectors, encode_selectors

URL = Selector(SelectorKind.URL, "/a")
TAG = Selector(SelectorKind.TAG, "catégorie")

named = st.builds(
    Selector, st.sampled_from([kind for kind in SelectorKind if kind.value != "everything"]), st.text()
)
selectors = st.lists(named | st.just(EVERYTHING), min_size=1, unique=True)


@pytest.mark.parametrize(
    ("given_selectors", "soft", "text"),
    [
        ([URL], False, b'{"urls":["/a"]}'),
        (
            [URL, TAG, EVERYTHING],
            True,
            b'{"urls":["/a"],"tags":["cat\\u00e9gorie"],"everything":true,"soft":true}',
        ),
    ],
)
def test_text_is_json_in_the_words_of_the_admin_port(given_selectors, soft, text):
    assert encode_selectors(given_selectors, soft=soft) == text


@given(selectors, st.booleans())
def test_decoding_gives_back_what_was_encoded(given_selectors, soft):
    decoded, was_soft = decode_selectors(encode_selectors(given_selectors, soft=soft))

    assert set(decoded) == set(given_selectors)
    assert was_soft is soft


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"urls":"/a"}',
        b'{"urls":[7]}',
        b'{"cookies":["x"]}',
        b'{"everything":false}',
    ],
)
def test_what_cannot_be_read_selects_everything(text):
    assert decode_selectors(text) == ((EVERYTHING,), False)


def test_an_unknown_kind_selects_everything_beside_what_is_known():
    assert decode_selectors(b'{"urls":["/a"],"cookies":["x"],"soft":true}') == ((URL, EVERYTHING), True)


@given(st.binary())
def test_any_text_can_be_read(text):
    decode_selectors(text)


@given(st.lists(st.builds(Selector, st.just(SelectorKind.URL), st.text('aé"', max_size=9_000)), max_size=20))
def test_batches_keep_order_and_stay_small(given_selectors):
    groups = list(batches(given_selectors))

    assert [selector for group in groups for selector in group] == given_selectors
    assert all(len(group) == 1 or len(encode_selectors(group, soft=True)) <= MOST_BYTES for group in groups)


def test_a_batch_is_filled_before_the_next_begins():
    url = Selector(SelectorKind.URL, "/" + "x" * (MOST_BYTES // 4))

    assert [len(group) for group in batches([url] * 7)] == [3, 3, 1]


def test_no_selectors_make_no_batch():
    assert list(batches([])) == []
