from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy import targets
from proxy.policy.targets import canonical_path, decode_unreserved
from tests.support.targets import UNSAFE_TARGETS

CANONICAL = {
    b"/": b"/",
    b"/a/b": b"/a/b",
    b"/a/": b"/a/",
    b"/a?b=//../%2f\\": b"/a",
    b"/a?": b"/a",
    b"/%61%5F%7e%2D": b"/a_~-",
    b"/caf%c3%a9": b"/caf%C3%A9",
    b"/%2561": b"/%2561",
    b"/a%20b%2C%3a%40": b"/a%20b%2C%3A%40",
    b"/.well-known/x": b"/.well-known/x",
    b"/a/...": b"/a/...",
    b"/a/..b/c.": b"/a/..b/c.",
    b"/a!$&'()*+,=:@|^`{}[]<>\"": b"/a!$&'()*+,=:@|^`{}[]<>\"",
}
DECEPTION_THAT_STAYS_ITSELF = {
    # Web cache deception by suffix (D1): the path is not that of another resource, so no other route matches.
    b"/account/x.css": b"/account/x.css",
    b"/account;x.css": b"/account;x.css",
    b"/account/.css": b"/account/.css",
}


@pytest.mark.parametrize(("target", "expected"), {**CANONICAL, **DECEPTION_THAT_STAYS_ITSELF}.items())
def test_safe_target_has_a_canonical_path(target: bytes, expected: bytes) -> None:
    assert canonical_path(target) == expected


@pytest.mark.parametrize("target", UNSAFE_TARGETS)
def test_ambiguous_target_has_none(target: bytes) -> None:
    assert canonical_path(target) is None


@pytest.mark.parametrize("byte", b"/\\.;?#\x00\r\n")
def test_each_dangerous_byte_is_unsafe_in_any_spelling_of_its_escape(byte: int) -> None:
    upper, lower = b"%%%02X" % byte, b"%%%02x" % byte

    for escape in (upper, lower, upper.replace(b"%", b"%25"), lower.replace(b"%", b"%2525")):
        assert canonical_path(b"/a" + escape + b"b") is None
        assert canonical_path(b"/a?b=" + escape) == b"/a"


def test_an_escaped_dot_is_never_decoded() -> None:
    assert decode_unreserved(b"%2e%41%2f") == b"%2EA%2F"


@given(st.text("aA~.%2eE5fF/;?", max_size=12).map(lambda text: b"/" + text.encode()))
def test_a_canonical_path_is_its_own_canonical_path(target: bytes) -> None:
    path = canonical_path(target)

    if path is not None and b"%" not in path:
        assert canonical_path(path) == path


@given(st.text("a_~-./;%5Cc\\#", max_size=12).map(lambda text: b"/" + text.encode()))
def test_a_plain_path_is_what_a_closer_look_makes_of_it(target: bytes) -> None:
    with mock.patch.object(targets, "_is_plain", return_value=None):
        seen = canonical_path(target)

    assert canonical_path(target) == seen


@given(st.binary(max_size=20))
def test_no_canonical_path_resolves_to_another_one(target: bytes) -> None:
    path = canonical_path(b"/" + target)

    if path is not None:
        inner = path.split(b"/")[1:]
        assert b"" not in inner[:-1]
        assert not {b".", b".."} & set(inner)
        assert b"\\" not in path
