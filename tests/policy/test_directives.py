from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import FieldLine, Fields
from proxy.policy.directives import (
    RequestDirectives,
    ResponseDirectives,
    request_directives,
    response_directives,
    vary_names,
)


def cache_control(*values: bytes) -> Fields:
    return Fields((b"Cache-Control", value) for value in values)


REQUESTS = [
    ([], RequestDirectives()),
    ([(b"Pragma", b"no-cache")], RequestDirectives(no_cache=True)),
    ([(b"Pragma", b"a, No-Cache=x")], RequestDirectives(no_cache=True)),
    ([(b"Pragma", b"unrecognised-extension")], RequestDirectives()),  # pragma-request-extension
    ([(b"Pragma", b"no-cache"), (b"Cache-Control", b"foo")], RequestDirectives()),
    ([(b"Pragma", b"no-cache"), (b"Cache-Control", b"")], RequestDirectives()),
    ([(b"Cache-Control", b"no-cache")], RequestDirectives(no_cache=True)),
    (
        [(b"Cache-Control", b"No-Store, ONLY-IF-CACHED")],
        RequestDirectives(no_store=True, only_if_cached=True),
    ),
    ([(b"Cache-Control", b"max-age=0")], RequestDirectives(max_age=0)),
    ([(b"Cache-Control", b"max-age=abc, min-fresh=, max-stale=x")], RequestDirectives()),
    ([(b"Cache-Control", b"max-age=5, max-age=3")], RequestDirectives(max_age=3)),
    ([(b"Cache-Control", b"min-fresh=5, min-fresh=7")], RequestDirectives(min_fresh=7)),
    ([(b"Cache-Control", b"max-stale")], RequestDirectives(max_stale=inf)),
    ([(b"Cache-Control", b"max-stale=")], RequestDirectives()),
    ([(b"Cache-Control", b"max-stale=9")], RequestDirectives(max_stale=9)),
    ([(b"Cache-Control", b"max-stale, max-stale=9")], RequestDirectives(max_stale=9)),
    ([(b"Cache-Control", b"stale-if-error=60")], RequestDirectives(stale_if_error=60)),
    (
        [(b"Cache-Control", b"no-cache"), (b"Cache-Control", b"max-age=1")],
        RequestDirectives(no_cache=True, max_age=1),
    ),
    ([(b"Cache-Control", b"max-age=7, " + b"x" * 54)], RequestDirectives(max_age=7)),
    ([(b"Cache-Control", b"max-age=7, " + b"x" * 53)], RequestDirectives(max_age=7)),
]
RESPONSES = [
    (b"", ResponseDirectives()),
    (b"public", ResponseDirectives(public=True)),
    (b"no-store", ResponseDirectives(no_store=True)),
    (b"No-StOrE", ResponseDirectives(no_store=True)),  # cc-resp-no-store-case-insensitive
    (b"no-cache", ResponseDirectives(no_cache=True)),
    (b'no-cache="a, B"', ResponseDirectives(no_cache_fields=frozenset({b"a", b"b"}))),
    (b"private", ResponseDirectives(private=True)),
    (b'private="a"', ResponseDirectives(private_fields=frozenset({b"a"}))),
    (b"must-revalidate", ResponseDirectives(must_revalidate=True)),
    (b"proxy-revalidate", ResponseDirectives(proxy_revalidate=True)),
    (b"must-understand", ResponseDirectives(must_understand=True)),
    (b"immutable", ResponseDirectives(immutable=True)),
    (b"max-age=5", ResponseDirectives(max_age=5)),
    (b"max-age=x", ResponseDirectives(max_age=0)),
    (b"s-maxage=5", ResponseDirectives(s_maxage=5)),
    (b"s-maxage=-5", ResponseDirectives(s_maxage=0, has_malformed_s_maxage=True)),
    (b"s-maxage=5, s-maxage", ResponseDirectives(s_maxage=0, has_malformed_s_maxage=True)),
    (b"stale-while-revalidate=5", ResponseDirectives(stale_while_revalidate=5)),
    (b"stale-while-revalidate=x", ResponseDirectives()),
    (b"stale-if-error=5", ResponseDirectives(stale_if_error=5)),
    (b"stale-if-error=x", ResponseDirectives()),
    (b'foo, bar=1, baz="no-store"', ResponseDirectives()),
]
CDN = b"CDN-Cache-Control"
SURROGATE = b"Surrogate-Control"
PRIVATE = (b"Cache-Control", b"private, max-age=3600")
OF_CACHE_CONTROL = ResponseDirectives(private=True, max_age=3600)


def targeted(**stated: Any) -> ResponseDirectives:
    return ResponseDirectives(is_targeted=True, **stated)


GOVERNING: list[tuple[list[FieldLine], ResponseDirectives]] = [
    ([PRIVATE, (CDN, b"max-age=60")], targeted(max_age=60)),
    ([PRIVATE, (CDN, b"max-age=99999999999")], targeted(max_age=2**31)),  # cdn-max-age-max-plus
    ([PRIVATE, (CDN, b"max-age=-1")], targeted(max_age=0)),
    ([PRIVATE, (CDN, b"no-store")], targeted(no_store=True)),  # cdn-no-store-cc-fresh
    ([PRIVATE, (CDN, b"foobar, max-age=3600")], targeted(max_age=3600)),  # cdn-max-age-extension
    ([PRIVATE, (CDN, b"max-age=60;x=1, no-cache")], targeted(max_age=60, no_cache=True)),
    ([PRIVATE, (CDN, b'no-cache="a, b"')], targeted(no_cache_fields=frozenset({b"a", b"b"}))),
    ([PRIVATE, (CDN, b'private="a"')], targeted(private_fields=frozenset({b"a"}))),
    ([PRIVATE, (CDN, b"max-age=1"), (CDN, b"public")], targeted(max_age=1, public=True)),
    (
        [PRIVATE, (CDN, b"s-maxage=1, stale-if-error=2, stale-while-revalidate=3")],
        targeted(s_maxage=1, stale_if_error=2, stale_while_revalidate=3),
    ),
    ([PRIVATE, (CDN, b"foo")], targeted()),  # cdn-remove-header
    ([PRIVATE, (CDN, b"foo=?0, bar=x, baz=(1 2)")], targeted()),
    ([PRIVATE, (CDN, b"max-age=60"), (SURROGATE, b"max-age=5")], targeted(max_age=60)),
    ([PRIVATE, (CDN, b"max-age= 60"), (SURROGATE, b"max-age=5")], targeted(max_age=5)),
    ([PRIVATE, (SURROGATE, b'content="ESI/1.0", max-age=5')], targeted(max_age=5)),
    ([PRIVATE, (SURROGATE, b"no-store")], targeted(no_store=True)),
    ([PRIVATE, (SURROGATE, b'content="ESI/1.0"')], OF_CACHE_CONTROL),
    ([PRIVATE, (SURROGATE, b"max-age=3600+600")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age=10000, &&&&&")], OF_CACHE_CONTROL),  # cdn-cc-invalid-sh-type-unknown
    ([PRIVATE, (CDN, b'max-age="10000"')], OF_CACHE_CONTROL),  # cdn-cc-invalid-sh-type-wrong
    ([PRIVATE, (CDN, b"max-age")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age=1.5")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age=60, no-store=?0")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age=60, no-store=1")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age=60, no-cache=a")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age=60, private=?0")], OF_CACHE_CONTROL),
    ([PRIVATE, (CDN, b"max-age =100")], OF_CACHE_CONTROL),  # cdn-max-age-space-before-equals
    ([PRIVATE, (CDN, b"MaX-aGe=3600")], OF_CACHE_CONTROL),  # cdn-max-age-case-insensitive
]
VARY: list[tuple[list[bytes], tuple[bytes, ...] | None]] = [
    ([], ()),
    ([b""], ()),
    ([b"Foo"], (b"foo",)),
    ([b"Foo, bar,Foo"], (b"bar", b"foo")),
    ([b" ,Foo ,", b"BAR\t"], (b"bar", b"foo")),
    ([b"*"], None),  # vary-syntax-star
    ([b"*, *"], None),  # vary-syntax-star-star
    ([b"*", b"*"], None),  # vary-syntax-star-star-lines
    ([b", *"], None),  # vary-syntax-empty-star
    ([b"", b"*"], None),  # vary-syntax-empty-star-lines
    ([b"*, Foo"], None),  # vary-syntax-star-foo
    ([b"Foo, *"], None),  # vary-syntax-foo-star
    ([b"Foo Bar"], None),
    ([b'"Foo"'], None),
    ([b"caf\xe9"], None),
]


@pytest.mark.parametrize(("lines", "directives"), REQUESTS)
def test_request_is_read(lines: list[FieldLine], directives: RequestDirectives) -> None:
    assert request_directives(Fields(lines)) == directives


@pytest.mark.parametrize(("value", "directives"), RESPONSES)
def test_response_is_read(value: bytes, directives: ResponseDirectives) -> None:
    assert response_directives(cache_control(value)) == directives


def test_all_lines_of_cache_control_count() -> None:
    directives = response_directives(cache_control(b"max-age=3600", b"s-maxage=1, no-cache"))

    assert directives == ResponseDirectives(max_age=3600, s_maxage=1, no_cache=True)


@pytest.mark.parametrize(("lines", "directives"), GOVERNING)
def test_first_valid_field_governs_alone(lines: list[FieldLine], directives: ResponseDirectives) -> None:
    assert response_directives(Fields(lines)) == directives


@pytest.mark.parametrize(("values", "names"), VARY)
def test_vary_names(values: list[bytes], names: tuple[bytes, ...] | None) -> None:
    assert vary_names(Fields((b"Vary", value) for value in values)) == names


@given(
    st.lists(st.tuples(st.sampled_from([b"Cache-Control", b"Pragma", CDN, SURROGATE, b"Vary"]), st.binary()))
)
def test_any_bytes_are_read(lines: list[FieldLine]) -> None:
    request_directives(Fields(lines))
    response_directives(Fields(lines))
    vary_names(Fields(lines))
