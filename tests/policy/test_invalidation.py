import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.invalidation import EVERYTHING, Selector, SelectorKind, parse_selectors

LIMIT = 5
KINDS = "urls, prefixes, patterns, tags, routes, everything"


def parse(body):
    return parse_selectors(body, limit=LIMIT)


def test_every_kind_is_read():
    body = {
        "urls": ["/a?b=c", "https://shop/a"],
        "prefixes": ["/static/"],
        "patterns": ["/products/*/image"],
        "tags": ["product:1"],
        "routes": [],
        "everything": False,
    }

    assert parse(body) == (
        Selector(SelectorKind.URL, "/a?b=c"),
        Selector(SelectorKind.URL, "https://shop/a"),
        Selector(SelectorKind.PREFIX, "/static/"),
        Selector(SelectorKind.PATTERN, "/products/*/image"),
        Selector(SelectorKind.TAG, "product:1"),
    )


@pytest.mark.parametrize(
    ("body", "selector"),
    [
        ({"everything": True}, EVERYTHING),
        ({"routes": ["product"]}, Selector(SelectorKind.ROUTE, "product")),
        ({"tags": ["catégorie"]}, Selector(SelectorKind.TAG, "catégorie")),
        ({"patterns": ["http://shop/café/*"]}, Selector(SelectorKind.PATTERN, "http://shop/café/*")),
        ({"prefixes": ["http://shop"]}, Selector(SelectorKind.PREFIX, "http://shop")),
    ],
)
def test_one_selector_is_read(body, selector):
    assert parse(body) == (selector,)


def test_a_selector_named_twice_counts_once():
    assert parse({"urls": ["/a"] * (LIMIT + 1)}) == (Selector(SelectorKind.URL, "/a"),)


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (None, [("", "expected an object, found nothing")]),
        ([], [("", "expected an object, found a list")]),
        ("all", [("", 'expected an object, found "all"')]),
        ({}, [("", f"nothing selected: expected at least one of {KINDS}")]),
        ({"url": ["/a"]}, [("url", "unknown field; did you mean urls?")]),
        ({"ttl": True}, [("ttl", "unknown field")]),
        ({"urls": "/a"}, [("urls", 'expected a list of strings, found "/a"')]),
        ({"urls": {}}, [("urls", "expected a list of strings, found an object")]),
        ({"urls": [7]}, [("urls[0]", "expected a string, found the number 7")]),
        ({"urls": [True]}, [("urls[0]", "expected a string, found true")]),
        ({"urls": ["/a", ""]}, [("urls[1]", "expected a value, found an empty string")]),
        ({"urls": ["a"]}, [("urls[0]", 'expected /path or http(s)://host/path, found "a"')]),
        ({"urls": ["/a b"]}, [("urls[0]", 'expected all but visible ASCII percent-encoded, found "/a b"')]),
        ({"urls": ["/é"]}, [("urls[0]", 'expected all but visible ASCII percent-encoded, found "/é"')]),
        (
            {"urls": ["/a\r\nb"]},
            [("urls[0]", 'expected all but visible ASCII percent-encoded, found "/a\\r\\nb"')],
        ),
        ({"urls": ["/a#b"]}, [("urls[0]", 'expected no fragment, found "/a#b"')]),
        ({"prefixes": ["a"]}, [("prefixes[0]", 'expected /path or http(s)://host/path, found "a"')]),
        ({"patterns": ["/a**"]}, [("patterns[0]", "expected ** to be a whole segment, found 'a**'")]),
        ({"patterns": ["a/*"]}, [("patterns[0]", 'expected /path or http(s)://host/path, found "a/*"')]),
        ({"tags": ["\ud800"]}, [("tags[0]", "expected text, found half a surrogate pair")]),
        ({"tags": ["a\x00"]}, [("tags[0]", "expected printable text, found 'a\\x00'")]),
        ({"tags": ["x" * 1025]}, [("tags[0]", "expected at most 1024 bytes, found 1025")]),
        ({"urls": ["/" + "x" * 8192]}, [("urls[0]", "expected at most 8192 bytes, found 8193")]),
        ({"everything": 1}, [("everything", "expected true or false, found the number 1")]),
        ({"everything": None}, [("everything", "expected true or false, found nothing")]),
        ({"tags": list("abcdef")}, [("", "expected at most 5 selectors, found 6")]),
        (
            {"urls": ["a"], "tags": [""], "all": 1},
            [
                ("urls[0]", 'expected /path or http(s)://host/path, found "a"'),
                ("tags[0]", "expected a value, found an empty string"),
                ("all", "unknown field"),
            ],
        ),
    ],
)
def test_all_faults_are_named(body, faults):
    assert parse(body) == faults


@pytest.mark.parametrize(
    "body", [{"tags": ["x" * 1024]}, {"urls": ["/" + "x" * 8191]}, {"tags": list("abcde")}]
)
def test_limits_are_inclusive(body):
    assert isinstance(parse(body), tuple)


def test_false_alone_selects_nothing():
    assert parse({"everything": False})[0][0] == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@given(JSON | st.dictionaries(st.sampled_from([kind.value for kind in SelectorKind]), JSON))
def test_any_body_gives_selectors_or_faults(body):
    parsed = parse(body)

    assert parsed
    assert isinstance(parsed, list) or all(isinstance(item, Selector) for item in parsed)
