import re
from contextlib import nullcontext

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.config import patterns
from proxy.policy.globs import MAX_PATTERN_BYTES, PatternError, compile_glob

MATCHES = [
    ("/", b"/", {}),
    ("/a", b"/a", {}),
    ("/products/{id}", b"/products/42", {"id": "42"}),
    ("/products/{id}", b"/products/a;b.c", {"id": "a;b.c"}),
    ("/products/{id}", b"/products/caf%C3%A9", {"id": "caf%C3%A9"}),
    ("/{kind}/x/{id}", b"/p/x/1", {"kind": "p", "id": "1"}),
    ("/a/*/c", b"/a/b/c", {}),
    ("/reports/*.json", b"/reports/2024.json", {}),
    ("/reports/*.json", b"/reports/a.json.json", {}),
    ("/reports/*.json", b"/reports/.json", {}),
    ("/reports/{name}.json", b"/reports/a.json", {"name": "a"}),
    ("/{a}-{b}", b"/x-y-z", {"a": "x", "b": "y-z"}),
    ("/{a}{b}", b"/xyz", {"a": "x", "b": "yz"}),
    ("/*{id}", b"/xyz", {"id": "xyz"}),
    ("/v*-{id}-*.js", b"/v1-ab-c.js", {"id": "ab"}),
    ("/cart/**", b"/cart", {}),
    ("/cart/**", b"/cart/", {}),
    ("/cart/**", b"/cart/a", {}),
    ("/cart/**", b"/cart/a/b", {}),
    ("/**", b"/", {}),
    ("/**", b"/a/b/", {}),
    ("/**/x", b"/x", {}),
    ("/**/x", b"/a/b/x", {}),
    ("/a/**/b", b"/a/b", {}),
    ("/a/**/b", b"/a/b/b", {}),
    ("/a/**/{id}/**/z", b"/a/1/2/z", {"id": "1"}),
    ("/**/{x}-a/b/**/c", b"/1-a/1/2-a/b/c", {"x": "2"}),
    ("/**/**", b"/a", {}),
    ("/a/**/", b"/a/", {}),
    ("/a/**/", b"/a/b/", {}),
    ("/caf\u00e9/{id}", b"/caf%C3%A9/1", {"id": "1"}),
    ("/a b", b"/a%20b", {}),
    ("/%7euser/%c3", b"/~user/%C3", {}),
]
OTHERS = [
    ("/", b"/a"),
    ("/a", b"/a/"),
    ("/a/", b"/a"),
    ("/a", b"/A"),
    ("/products/{id}", b"/products"),
    ("/products/{id}", b"/products/"),
    ("/products/{id}", b"/products/1/2"),
    ("/a/*", b"/a/"),
    ("/a/*", b"/a"),
    ("/reports/*.json", b"/reports/a.jsonx"),
    ("/reports/*.json", b"/reports/a/b.json"),
    ("/reports/{name}.json", b"/reports/.json"),
    ("/x*", b"/ax"),
    ("/a*a", b"/a"),
    ("/{a}-{b}", b"/x-"),
    ("/{a}-{b}", b"/-x"),
    ("/{a}-x-{b}", b"/a-b"),
    ("/cart/**", b"/cartoon"),
    ("/cart/**", b"/"),
    ("/a/**/b", b"/a"),
    ("/a/**/b", b"/b"),
    ("/a/**/b/**/c", b"/a/c"),
    ("/a/**/b/c/**/d", b"/a/b/x/c/d"),
    ("/a/**/a", b"/a"),
    ("/a/**/", b"/a"),
]
REFUSED = {
    "": "starts with /",
    "a": "starts with /",
    "*": "starts with /",
    "/a\x00": "printable",
    "/a\n": "printable",
    "/\ud800": "printable",
    "/a?b": "without query",
    "/a#b": "fragment",
    "/a//b": "empty or dot segments",
    "//": "empty or dot segments",
    "/a/../b": "dot segments",
    "/a/.": "dot segments",
    "/a\\b": "backslashes",
    "/a%2fb": "escaped",
    "/a%2Eb": "escaped",
    "/a%zz": "broken escapes",
    "/a**": "whole segment",
    "/**b": "whole segment",
    "/a/***": "whole segment",
    "/**{id}": "whole segment",
    "/{}": "brace",
    "/{1}": "brace",
    "/{a b}": "brace",
    "/{a": "brace",
    "/a}": "brace",
    "/{{a}}": "brace",
    "/{a}/{a}": "each name once",
    "/{a}-{a}": "each name once",
    "/" + "a" * MAX_PATTERN_BYTES: "at most 1024 bytes, found 1025",
}


@pytest.mark.parametrize(("pattern", "path", "captured"), MATCHES)
def test_pattern_matches_and_captures(pattern: str, path: bytes, captured: dict[str, str]) -> None:
    glob = compile_glob(pattern)

    found = glob.matches(path)
    assert found is not None
    assert {name: part.decode() for name, part in found.groupdict().items()} == captured
    assert glob.names == captured.keys()
    assert glob.takes(path)


@pytest.mark.parametrize(("pattern", "path"), OTHERS)
def test_pattern_does_not_match(pattern: str, path: bytes) -> None:
    glob = compile_glob(pattern)

    assert (glob.takes(path), glob.matches(path)) == (False, None)


@pytest.mark.parametrize(("pattern", "said"), REFUSED.items())
def test_pattern_without_meaning_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(PatternError, match=re.escape(said)):
        compile_glob(pattern)


@pytest.mark.parametrize("pattern", [*REFUSED, *(pattern for pattern, *_ in MATCHES)])
def test_configuration_refuses_the_same_patterns(pattern: str) -> None:
    with nullcontext() if pattern not in REFUSED else pytest.raises(ValueError, match="expected"):
        patterns.checked(pattern)


@given(st.text("/a*{}.;%2eE5\u00e9 ", max_size=8).map("/".__add__))
def test_what_the_configuration_takes_compiles(pattern: str) -> None:
    try:
        patterns.checked(pattern)
    except ValueError:
        with pytest.raises(PatternError):
            compile_glob(pattern)
    else:
        assert compile_glob(pattern).pattern == pattern


def test_longest_pattern_is_taken() -> None:
    pattern = "/" + "a" * (MAX_PATTERN_BYTES - 1)

    assert compile_glob(pattern).takes(pattern.encode())


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("/a/b", b"a"),
        ("/", b""),
        ("/a/**", b"a"),
        ("/%7ea", b"~a"),
        ("/*", None),
        ("/a*", None),
        ("/**/a", None),
    ],
)
def test_first_literal_is_the_first_segment_of_all_matching_paths(pattern: str, first: bytes | None) -> None:
    assert compile_glob(pattern).first_literal == first


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/" + "*a" * 400 + "b", b"/" + b"a" * 60_000),
        ("/**/" + "a/**/" * 150 + "b", b"/a" * 30_000),
        ("/{x}a" + "*a" * 300 + "b", b"/" + b"a" * 60_000),
    ],
)
def test_hostile_path_is_refused_in_bounded_time(pattern: str, path: bytes) -> None:
    # With backtracking each of these would outlast the machine, let alone this test's timeout.
    glob = compile_glob(pattern)

    assert (glob.takes(path), glob.matches(path)) == (False, None)


TOKENS = st.sampled_from(["a", "b", "*", "{}"])
SEGMENTS = st.one_of(st.just("**"), st.lists(TOKENS, max_size=4).map("".join))
TEXTS = st.text("ab", max_size=4)


def matches_slowly(pattern: list[str], path: list[str]) -> bool:
    """All ways tried out."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(matches_slowly(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and is_segment(pattern[0], path[0]) and matches_slowly(pattern[1:], path[1:])


def is_segment(pattern: str, text: str) -> bool:
    has_wildcard = "*" in pattern or "{}" in pattern
    return bool(text or not has_wildcard) and is_text(pattern, text)


def is_text(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(is_text(pattern[1:], text[taken:]) for taken in range(len(text) + 1))
    if pattern.startswith("{}"):
        return any(is_text(pattern[2:], text[taken:]) for taken in range(1, len(text) + 1))
    return text[:1] == pattern[0] and is_text(pattern[1:], text[1:])


@given(st.lists(SEGMENTS, min_size=1, max_size=5), st.lists(TEXTS, min_size=1, max_size=6))
def test_agrees_with_trying_out_all_ways(segments: list[str], texts: list[str]) -> None:
    assume(all(segment == "**" or "**" not in segment for segment in segments) and "" not in segments[:-1])
    names = iter("vwxyz" * 4)
    numbered = iter(range(100))
    pattern = re.sub(r"\{\}", lambda _: f"{{{next(names)}{next(numbered)}}}", "/" + "/".join(segments))

    found = compile_glob(pattern).matches(("/" + "/".join(texts)).encode())

    assert (found is not None) == matches_slowly(segments, texts)
    if found is not None:
        assert len(found.groups()) == pattern.count("{")
        assert all(part and any(part.decode() in text for text in texts) for part in found.groups())
